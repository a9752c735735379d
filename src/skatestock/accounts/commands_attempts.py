"""Growing delays against guessing, counted before a password is looked at, so that a burst gains nothing.

Two counts: of an e-mail address at one network address, and of that network address for all e-mail
addresses. There is none of an e-mail address alone: a stranger elsewhere could lock its owner out for ever.
Unknown e-mail addresses are counted like known ones.
"""

import hashlib
from datetime import datetime, timedelta
from typing import NamedTuple

from skatestock.accounts.errors import AttemptsExhaustedError
from skatestock.accounts.model import parse_address
from skatestock.database.pool import Connection

LONGEST_DELAY_SECONDS = 900
FORGOTTEN_AFTER = timedelta(days=1)
PAIR_FREE, ADDRESS_FREE, SIGN_UPS_FREE = 5, 20, 20
"""So many attempts are free; the next one waits a second, and each further one twice as long."""

# $3: how many are free. Nothing is returned, and nothing counted, while the delay lasts.
_RESERVE = f"""
INSERT INTO sign_in_attempts AS known (key, failures, failed_at, open_at) VALUES ($1, 1, $2, $2)
ON CONFLICT (key) DO UPDATE SET (failures, failed_at, open_at) = (
    SELECT now.failures, $2, $2 + make_interval(secs => CASE WHEN now.failures < $3 THEN 0
        ELSE least({LONGEST_DELAY_SECONDS}, power(2, least(now.failures - $3, 20))) END)
    FROM (SELECT CASE WHEN known.failed_at < $4 THEN 1 ELSE known.failures + 1 END) AS now (failures)
)
WHERE known.open_at <= $2
RETURNING open_at
"""  # noqa: S608 - a constant of ours
_FIND_OPEN_AT = "SELECT open_at FROM sign_in_attempts WHERE key = $1"
_FORGET = "DELETE FROM sign_in_attempts WHERE key = $1"
# The delay goes only where it is still this attempt's: another one may have been counted since.
_TAKE_BACK = """
UPDATE sign_in_attempts SET failures = greatest(failures - 1, 0),
    open_at = CASE WHEN open_at = $3 THEN least(open_at, $2) ELSE open_at END
WHERE key = $1
"""


class Counter(NamedTuple):
    """What attempts are counted under, and how many are free."""

    key: bytes
    free: int


class Reserved(NamedTuple):
    """An attempt that was counted, and until when that closes its count."""

    key: bytes
    open_at: datetime


def count_address(address: str) -> Counter:
    """Name the count of all sign-ins from one network address."""
    return Counter(_key("address", parse_address(address)), ADDRESS_FREE)


def count_pair(email: str, address: str) -> Counter:
    """Name the count of the sign-ins with one e-mail address from one network address."""
    return Counter(_key("pair", email, parse_address(address)), PAIR_FREE)


def count_sign_ups(address: str) -> Counter:
    """Name the count of the sign-ups from one network address."""
    return Counter(_key("sign-up", parse_address(address)), SIGN_UPS_FREE)


async def reserve_attempt(connection: Connection, now: datetime, *counters: Counter) -> tuple[Reserved, ...]:
    """Count an attempt as failed before it is made; raises AttemptsExhaustedError while a delay lasts.

    Within a transaction: an attempt that one count refuses is counted by none. The counters come in the same
    order everywhere, so that no two attempts wait for each other.
    """
    reserved = []
    for key, free in counters:
        open_at = await connection.fetchval(_RESERVE, key, now, free, now - FORGOTTEN_AFTER)
        if open_at is None:
            closed_until: datetime = await connection.fetchval(_FIND_OPEN_AT, key) or now
            raise AttemptsExhaustedError(closed_until, now)
        reserved.append(Reserved(key, open_at))
    return tuple(reserved)


async def take_back_attempt(connection: Connection, now: datetime, *reserved: Reserved) -> None:
    """Count an attempt no more, because nobody looked at its password or it succeeded."""
    for key, open_at in reserved:
        await connection.execute(_TAKE_BACK, key, now, open_at)


async def forgive_attempt(connection: Connection, now: datetime, address: Reserved, pair: Reserved) -> None:
    """Take back what a sign-in that succeeded was counted as, and all failures of this pair before it."""
    await take_back_attempt(connection, now, address)
    await connection.execute(_FORGET, pair.key)


def _key(*parts: str) -> bytes:
    """Hash what is counted: of an e-mail address that nobody has here, nothing readable is kept."""
    return hashlib.sha256("\0".join(parts).encode()).digest()
