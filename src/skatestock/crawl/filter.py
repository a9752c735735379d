"""The unchanged-filter: says which listings differ from their last state on the log (decision 4).

Unchanged means equal to the *last* fingerprint, never "seen before". The cache of a shop is one hash,
`skatestock:fingerprints:{shop}`: listing id to 32 bytes, and fields that no listing id can equal:

- the owner, the crawl that works with the hash: every read and write asks for it, so a crawl that was
  overtaken, a server that was restarted or a hash that was evicted is neither believed nor written to;
- the end marker, the crawl that left the hash in good order;
- one for each page that may be asked for conditionally (`conditional`), as trustworthy as the rest.

A crawl trusts the hash only if the server still is the process (`run_id`) and the marker still is the crawl
that its predecessor recorded *elsewhere*, durably. It takes the marker away at its start and puts it back at
its end, if every write succeeded. A crash, a flush, a restart, a restored snapshot or a lost write therefore
end in distrust, and the last states are asked of the catalogue instead.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from skatestock.crawl.bloom import SeenListings
from skatestock.crawl.conditional import KnownPage
from skatestock.crawl.ports import LastFingerprints
from skatestock.events.model import ListingObserved
from skatestock.telemetry.logs import get_logger
from skatestock.vocabulary.time import utc_now

FilterState = Mapping[str, str]
"""What is recorded durably between two crawls of a shop: `run_id` and `crawl_id`."""

_OWNER = "\x00owner"
_MARKER = "\x00end"
# Valkey answers a time-out and a broken connection with errors of redis-py, or of the operating system.
_AWAY = (RedisError, OSError, TimeoutError)

# KEYS: hash. ARGV: owner field, crawl id, then field and value by turns. Writes nothing for another's hash.
_WRITE_SCRIPT = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
for place = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
return 1
"""
# KEYS: hash. ARGV: owner field, crawl id, marker field, the marker that must stand there ('' for none).
# Takes the hash over; one that is not trusted is emptied.
_TAKE_OVER_SCRIPT = """
local trusted = ARGV[4] ~= '' and redis.call('HGET', KEYS[1], ARGV[3]) == ARGV[4]
if trusted then redis.call('HDEL', KEYS[1], ARGV[3]) else redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return trusted and 1 or 0
"""

_log = get_logger(__name__)


class _OvertakenError(RedisError):
    """The hash is not, or no longer, ours."""


class UnchangedFilter:
    """The filter of one crawl of one shop."""

    def __init__(
        self, client: Redis | None, shop: str, crawl_id: str, fallback: LastFingerprints | None
    ) -> None:
        self._client = client
        self._shop = shop
        self._key = fingerprints_key(shop)
        self._crawl_id = crawl_id
        self._fallback = fallback
        self._run_id: str | None = None
        self._seen = SeenListings(shop)
        # Listings of this crawl whose last state is not known: to the Bloom filter they may be new.
        self._unknown: set[str] = set()
        self._recorded: dict[str, bytes] = {}
        self.trusted = False
        """Whether the last states come from the cache; otherwise they come from the fallback."""

    @classmethod
    async def open(
        cls,
        client: Redis | None,
        shop: str,
        crawl_id: str,
        state: FilterState | None,
        fallback: LastFingerprints,
        *,
        believe_nothing: bool = False,
        now: datetime | None = None,
    ) -> Self:
        """Begin a crawl's filtering with what the shop's last crawl left behind.

        With `believe_nothing` neither the cache nor the fallback is believed, whatever they say.
        """
        opened = cls(client, shop, crawl_id, None if believe_nothing else fallback)
        await opened._take_over(None if believe_nothing else state)
        opened._seen = await SeenListings.open(opened._client, shop, now or utc_now())
        if not opened.trusted:
            # Asked of no listing yet: whether anybody can vouch is decided before this crawl says anything.
            await opened._ask_fallback([])
        return opened

    async def find_changed(self, observations: Sequence[ListingObserved]) -> list[ListingObserved]:
        """Return those that differ from their listing's last state, in their order; one round trip."""
        known = await self._fetch_known([event.listing_id for event in observations])
        self._unknown.update(listing_id for listing_id, last in known.items() if last is None)
        return [event for event in observations if known.get(event.listing_id) != event.fingerprint]

    async def find_known_page(self, number: int, reading: str, now: datetime) -> KnownPage | None:
        """Find what a page said when it was last read, if a 304 for it would mean that nothing changed.

        None without a cache that is trusted.
        """
        if not self.trusted or self._client is None:
            return None
        try:
            field = page_field(number)
            value = (await self._read([field]))[field]
            if value is None:
                return None
            page = msgspec.msgpack.decode(value, type=KnownPage)
            if not page.still_stands(reading, now, await self._read(page.listing_ids)):
                return None
        except msgspec.DecodeError:
            # Another version of ours wrote it in another form.
            return None
        except _AWAY as error:
            self._give_up(error)
            return None
        if not self._seen.is_whole:
            await self._seen.record(page.listing_ids)
        return page

    async def record(
        self,
        observations: Sequence[ListingObserved],
        changed: Sequence[ListingObserved],
        number: int = 0,
        page: KnownPage | None = None,
    ) -> None:
        """Remember a page's states, after the log has acknowledged those that changed.

        One round trip, and one more where listings are new to the Bloom filter. `page` is what to remember of
        the page of that number as a whole; None where that is nothing.
        """
        self._recorded.update((event.listing_id, event.fingerprint) for event in changed)
        # A cache that is being rebuilt needs the unchanged ones too.
        to_write = changed if self.trusted else observations
        pairs = [part for event in to_write for part in (event.listing_id, event.fingerprint)]
        if page is not None:
            pairs += (page_field(number), msgspec.msgpack.encode(page))
        if self._client is None:
            return
        try:
            if pairs:
                await self._write(pairs)
        except _AWAY as error:
            self._give_up(error)
        else:
            await self._record_seen(observations)

    async def close(self, *, complete: bool) -> dict[str, str] | None:
        """End in good order; return what to record durably, or None: then the next crawl trusts nothing.

        Not to be called when the log may hold an event of this crawl that was not recorded here. A cache that
        was being rebuilt is whole only after a complete crawl.
        """
        if self._client is None or self._run_id is None or not (self.trusted or complete):
            return None
        await self._seen.close(complete=complete)
        try:
            await self._write([_MARKER, self._crawl_id])
            # Asked last: had the server been replaced before the marker was written, this would show it.
            if await self._fetch_run_id(self._client) != self._run_id:
                return None
        except _AWAY as error:
            self._warn(error)
            return None
        return {"run_id": self._run_id, "crawl_id": self._crawl_id}

    async def _take_over(self, state: FilterState | None) -> None:
        if self._client is None:
            return
        try:
            self._run_id = await self._fetch_run_id(self._client)
            same_server = state is not None and state.get("run_id") == self._run_id
            marker = state.get("crawl_id", "") if state is not None and same_server else ""
            answer = await cast(
                Any,
                self._client.eval(_TAKE_OVER_SCRIPT, 1, self._key, _OWNER, self._crawl_id, _MARKER, marker),
            )
            self.trusted = answer == 1
        except _AWAY as error:
            self._warn(error)
            self._client = None

    async def _fetch_known(self, listing_ids: Sequence[str]) -> Mapping[str, bytes | None]:
        """Find the last state of each listing, None where it is not known."""
        if self.trusted and self._client is not None:
            try:
                return await self._read(listing_ids)
            except _AWAY as error:
                self._give_up(error)
        # What this crawl has said itself is later than anything that others know.
        earlier = [listing_id for listing_id in listing_ids if listing_id not in self._recorded]
        asked = await self._ask_fallback(earlier) if earlier else {}
        known = {**asked, **self._recorded}
        return {listing_id: known.get(listing_id) for listing_id in listing_ids}

    async def _ask_fallback(self, listing_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Ask for the last states of those that may have any; of no listings, whether anybody vouches."""
        if self._fallback is None:
            return {}
        perhaps = await self._seen.find_perhaps_seen(listing_ids)
        if listing_ids and not perhaps:
            return {}
        known = await self._fallback.fetch(self._shop, perhaps)
        if known is None:
            _log.info("filter_without_past", shop=self._shop, crawl_id=self._crawl_id)
        return known or {}

    async def _record_seen(self, observations: Sequence[ListingObserved]) -> None:
        listing_ids = [event.listing_id for event in observations]
        if self._seen.is_whole:
            listing_ids = [listing_id for listing_id in listing_ids if listing_id in self._unknown]
        await self._seen.record(listing_ids)

    async def _read(self, fields: Sequence[str]) -> Mapping[str, bytes | None]:
        assert self._client is not None
        values = await cast(Any, self._client.hmget(self._key, [_OWNER, *fields]))
        if values[0] != self._crawl_id.encode():
            raise _OvertakenError("the cache does not belong to this crawl")
        return dict(zip(fields, values[1:], strict=True))

    async def _write(self, pairs: Sequence[str | bytes]) -> None:
        assert self._client is not None
        arguments = (_OWNER, self._crawl_id, *pairs)
        if await cast(Any, self._client.eval(_WRITE_SCRIPT, 1, self._key, *arguments)) != 1:
            raise _OvertakenError("the cache does not belong to this crawl")

    def _give_up(self, error: Exception) -> None:
        # For the rest of the crawl: a cache that failed once may have lost a write.
        self._warn(error)
        self._client = None
        self.trusted = False

    async def _fetch_run_id(self, client: Redis) -> str:
        return str((await cast(Any, client.info("server")))["run_id"])

    def _warn(self, error: Exception) -> None:
        _log.warning("filter_cache_away", shop=self._shop, crawl_id=self._crawl_id, error=str(error))


def fingerprints_key(shop: str) -> str:
    """Return the key of a shop's hash."""
    return f"skatestock:fingerprints:{shop}"


def page_field(number: int) -> str:
    """Return the field of a shop's hash that keeps what one page said."""
    return f"\x00page:{number}"
