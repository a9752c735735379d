"""Which listings were surely never seen: a Bloom filter, where the last fingerprints are not at hand.

A crawl that cannot believe its cache must ask the catalogue for each listing's last state. Of a listing that
nobody ever saw the catalogue knows nothing, and this filter says so without being asked.

Why every use of it is exact (decision 4). It has two answers. "Never seen" makes the crawl *say* the listing
without comparing; "perhaps seen" leaves the comparison with its last fingerprint to whoever knows that. No
answer ever makes a crawl keep silent. So whatever is wrong with the filter (flushed, evicted, restored from
an old snapshot, a write lost, bits of others set by chance) leads to a repeated event or to one question
more, and never to a lost change. Nothing here therefore needs the care that the fingerprints get.

To make a lost filter cheap besides, "never seen" is said only of a shop that a complete crawl has entered
whole. That is noted as one more member of the filter itself, so it goes when the filter goes. Listings leave
only by rotation: a generation that is full or old is followed by a new one, and answers beside it until the
next rotation. Every crawl enters into the newest generation what it sees, until its shop is whole in it.

Where the server has the commands `BF.*` they are used; elsewhere a bit field of our own.
"""

import secrets
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from struct import Struct
from typing import Any, Protocol, Self, TypeVar, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from skatestock.telemetry.logs import get_logger

CAPACITY = 1_000_000
"""Listings that one generation holds at its false-positive rate."""
FALSE_POSITIVE_RATE = 0.01
BITS = 9_600_000
"""ln(1 / 0.01) / ln(2)^2 = 9.585 bits a listing: then, when it is full, half of the bits are set."""
PROBES = 7
"""9.6 ln 2, rounded: what makes the rate least for that size."""
MAX_AGE = timedelta(days=30)
"""So old a generation is followed by a new one: listings that are gone for good leave after twice this."""

STATE_KEY = "skatestock:{seen}"
"""Names the generations; the braces keep all keys of the filter in one slot of a cluster."""

_LIFE_SECONDS = int(2 * MAX_AGE.total_seconds()) + 86400
_DIGESTS = Struct("<QQ")
_PLACES = Struct(f"<{PROBES}I")
# Beyond it Lua cannot hand all members to one command.
_MEMBERS_AT_ONCE = 1000
_WHOLE = ""
"""Stands in a listing's place for the shop as a whole; no listing's id is empty."""

# KEYS: state. ARGV: the state that was read ('' for none), the one to follow it, seconds. Of two crawls that
# rotate at once the later takes over the earlier's.
_ROTATE_SCRIPT = """
local state = redis.call('GET', KEYS[1])
if (state or '') ~= ARGV[1] then return state end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return ARGV[2]
"""
# KEYS: generations. ARGV: bits to look at for each member, their places as little-endian words. One answer a
# member and generation, generation by generation.
_FIND_BITS_SCRIPT = """
local probes, places, answers = tonumber(ARGV[1]), ARGV[2], {}
for _, key in ipairs(KEYS) do
  for first = 1, #places, 4 * probes do
    local found = 1
    for at = first, first + 4 * probes - 1, 4 do
      if redis.call('GETBIT', key, (struct.unpack('<I4', places, at))) == 0 then
        found = 0
        break
      end
    end
    answers[#answers + 1] = found
  end
end
return answers
"""
# KEYS: generation. ARGV: seconds that it lives on, places, bytes of the whole. Made in one piece, because a
# string that grows by SETBIT takes nearly twice as much.
_SET_BITS_SCRIPT = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], string.rep('\\0', ARGV[3])) end
for at = 1, #ARGV[2], 4 do redis.call('SETBIT', KEYS[1], (struct.unpack('<I4', ARGV[2], at)), 1) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""
# KEYS: generations. ARGV: members.
_FIND_MEMBERS_SCRIPT = """
local answers = {}
for _, key in ipairs(KEYS) do
  for _, answer in ipairs(redis.call('BF.MEXISTS', key, unpack(ARGV))) do
    answers[#answers + 1] = tonumber(answer) or (answer and 1 or 0)
  end
end
return answers
"""
# KEYS: generation. ARGV: seconds that it lives on, capacity, false-positive rate, members.
_ADD_MEMBERS_SCRIPT = """
redis.call('BF.INSERT', KEYS[1], 'CAPACITY', ARGV[2], 'ERROR', ARGV[3], 'ITEMS', unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""

_AWAY = (RedisError, OSError, TimeoutError)
_Answer = TypeVar("_Answer")

_log = get_logger(__name__)


class Generations(msgspec.Struct, frozen=True, kw_only=True):
    """What the server keeps of the filter as a whole."""

    newest: str
    """The key of the generation that members are added to."""
    before: str | None
    """The one that answers beside it."""
    began_at: datetime
    native: bool
    """Whether the generations are made by `BF.*`."""

    @property
    def keys(self) -> list[str]:
        """Return the keys of the generations that answer, newest first."""
        return [self.newest] if self.before is None else [self.newest, self.before]

    def is_old(self, now: datetime) -> bool:
        """Tell whether a new generation is due; a clock that was set back makes none."""
        return now - self.began_at >= MAX_AGE


class SeenListings:
    """The Bloom filter as one crawl of one shop uses it; a server that fails makes it know nothing."""

    def __init__(self, shop: str) -> None:
        self._shop = shop
        self._store: _Store | None = None
        self.knows_shop = False
        """Whether "never seen" means anything here."""
        self.is_whole = False
        """Whether the newest generation has every listing of the shop that was ever recorded."""

    @classmethod
    async def open(cls, client: Redis | None, shop: str, now: datetime) -> Self:
        """Find the generations that answer, and begin a new one where that is due."""
        opened = cls(shop)
        if client is not None:
            await opened._bearing_failure(opened._find_generations(client, now))
        return opened

    async def find_perhaps_seen(self, listing_ids: Sequence[str]) -> list[str]:
        """Return those that may have been seen, in their order; the others never were. One round trip."""
        if not (self.knows_shop and listing_ids and self._store is not None):
            return list(listing_ids)
        answers = await self._bearing_failure(self._store.find(self._members(listing_ids)))
        if answers is None:
            return list(listing_ids)
        return [listing_id for listing_id, found in zip(listing_ids, answers, strict=True) if any(found)]

    async def record(self, listing_ids: Sequence[str]) -> None:
        """Remember listings as seen; idempotent. One round trip."""
        if self._store is not None and listing_ids:
            await self._bearing_failure(self._store.add(self._members(listing_ids)))

    async def close(self, *, complete: bool) -> None:
        """Note, after a complete crawl that recorded all it saw, that the shop is whole in the filter."""
        if complete and not self.is_whole:
            await self.record([_WHOLE])

    async def _find_generations(self, client: Redis, now: datetime) -> None:
        try:
            state = await cast(Awaitable[bytes | None], client.get(STATE_KEY))
            store = await _open_newest(client, state, now)
            (found,) = await store.find(self._members([_WHOLE]))
        except ResponseError:
            # What stands there is not what the state says: the next crawl begins anew.
            await cast(Any, client.delete(STATE_KEY))
            raise
        self._store = store
        self.is_whole, self.knows_shop = found[0], any(found)

    async def _bearing_failure(self, asking: Awaitable[_Answer]) -> _Answer | None:
        try:
            return await asking
        except _AWAY as error:
            _log.warning("seen_listings_away", shop=self._shop, error=str(error))
            self._store, self.knows_shop, self.is_whole = None, False, False
            return None

    def _members(self, listing_ids: Iterable[str]) -> list[str]:
        return [f"{self._shop}\0{listing_id}" for listing_id in listing_ids]


class _Store(Protocol):
    """The generations as the server keeps them."""

    async def find(self, members: Sequence[str]) -> list[tuple[bool, ...]]:
        """Tell of each member whether each generation, newest first, may have it."""

    async def add(self, members: Sequence[str]) -> None:
        """Add members to the newest generation."""

    async def is_full(self) -> bool:
        """Tell whether the newest generation holds what it is made for."""


class BitFields:
    """Generations that are bit fields of our own: `PROBES` bits a member, by double hashing."""

    def __init__(self, client: Redis, keys: Sequence[str]) -> None:
        self._client = client
        self._keys = keys

    async def find(self, members: Sequence[str]) -> list[tuple[bool, ...]]:
        """Tell of each member whether each generation, newest first, may have it."""
        places = place_members(members)
        asking = self._client.eval(_FIND_BITS_SCRIPT, len(self._keys), *self._keys, PROBES, places)
        answers = await cast(Any, asking)
        return _by_member(answers, len(members))

    async def add(self, members: Sequence[str]) -> None:
        """Add members to the newest generation."""
        arguments = (self._keys[0], _LIFE_SECONDS, place_members(members), BITS // 8)
        await cast(Any, self._client.eval(_SET_BITS_SCRIPT, 1, *arguments))

    async def is_full(self) -> bool:
        """Tell whether half of the newest generation's bits are set."""
        count: int = await cast(Any, self._client).execute_command("BITCOUNT", self._keys[0])
        return 2 * count > BITS


class NativeFilters:
    """Generations that are the server's own Bloom filters."""

    def __init__(self, client: Redis, keys: Sequence[str]) -> None:
        self._client = client
        self._keys = keys

    async def find(self, members: Sequence[str]) -> list[tuple[bool, ...]]:
        """Tell of each member whether each generation, newest first, may have it."""
        found: list[tuple[bool, ...]] = []
        for part in _in_parts(members):
            asking = self._client.eval(_FIND_MEMBERS_SCRIPT, len(self._keys), *self._keys, *part)
            found += _by_member(await cast(Any, asking), len(part))
        return found

    async def add(self, members: Sequence[str]) -> None:
        """Add members to the newest generation, which is made if it is not there."""
        head = (self._keys[0], _LIFE_SECONDS, CAPACITY, FALSE_POSITIVE_RATE)
        for part in _in_parts(members):
            await cast(Any, self._client.eval(_ADD_MEMBERS_SCRIPT, 1, *head, *part))

    async def is_full(self) -> bool:
        """Tell whether the newest generation has as many members as it was made for."""
        count: int = await cast(Any, self._client).execute_command("BF.CARD", self._keys[0])
        return count >= CAPACITY


def place_members(members: Iterable[str]) -> bytes:
    """Compute the places of the members' bits, `PROBES` little-endian words for each.

    Double hashing over the halves of a 128-bit digest; the step is odd, so that no place repeats at once.
    """
    places = []
    for member in members:
        first, step = _DIGESTS.unpack(blake2b(member.encode(), digest_size=_DIGESTS.size).digest())
        step |= 1
        places.append(_PLACES.pack(*[(first + probe * step) % BITS for probe in range(PROBES)]))
    return b"".join(places)


def _read_state(state: bytes | None) -> Generations | None:
    try:
        return None if state is None else msgspec.json.decode(state, type=Generations)
    except msgspec.DecodeError:
        # Another version of ours wrote it in another form.
        return None


async def _open_newest(client: Redis, state: bytes | None, now: datetime) -> _Store:
    """Open the generations that the state names, after beginning a new one where that is due."""
    generations = _read_state(state)
    if generations is not None and not generations.is_old(now):
        store = _open_store(client, generations)
        if not await store.is_full():
            return store
    return _open_store(client, await _rotate(client, state, generations, now))


async def _rotate(
    client: Redis, state: bytes | None, generations: Generations | None, now: datetime
) -> Generations:
    native = await has_native_filters(client)
    before = generations.newest if generations is not None and generations.native == native else None
    newest = f"{STATE_KEY}:{secrets.token_hex(8)}"
    following = Generations(newest=newest, before=before, began_at=now, native=native)
    arguments = (state or b"", msgspec.json.encode(following), _LIFE_SECONDS)
    answer = await cast(Any, client.eval(_ROTATE_SCRIPT, 1, STATE_KEY, *arguments))
    return _read_state(answer) or following


def _open_store(client: Redis, generations: Generations) -> _Store:
    return (NativeFilters if generations.native else BitFields)(client, generations.keys)


async def has_native_filters(client: Redis) -> bool:
    """Tell whether the server has Bloom filters of its own."""
    # Named in one piece: redis-py would otherwise read the answer as that of COMMAND alone.
    (described,) = await cast(Any, client).execute_command("COMMAND INFO", "BF.INSERT")
    return described is not None


def _by_member(answers: Sequence[int], count: int) -> list[tuple[bool, ...]]:
    """Turn answers that stand generation by generation into one tuple for each of so many members."""
    return [tuple(answer == 1 for answer in answers[place::count]) for place in range(count)]


def _in_parts(members: Sequence[str]) -> Iterable[Sequence[str]]:
    return (members[at : at + _MEMBERS_AT_ONCE] for at in range(0, len(members), _MEMBERS_AT_ONCE))
