"""Passwords: hashed with argon2id, in threads of their own, so many at a time and no more."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from skatestock.accounts.common_passwords import find_weakness
from skatestock.accounts.errors import PasswordRefusedError, PasswordsBusyError

MIN_CHARACTERS, MAX_CHARACTERS = 10, 256
"""At most 1024 bytes, since no character has more than four."""

# OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
_AT_ONCE = 2
_MOST_WAITING = 32

_Result = TypeVar("_Result")


def check_new_password(password: str, email: str) -> None:
    """Refuse a password that would be guessed early; raises PasswordRefusedError with the reason.

    What it is made of is nobody's business (NIST SP 800-63B): only length and commonness count.
    """
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise PasswordRefusedError(f"must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")
    weakness = find_weakness(password, email)
    if weakness is not None:
        raise PasswordRefusedError(f"{weakness}; choose another")


class Passwords:
    """Hashes and checks passwords without holding up the event loop; one per process.

    Two at once, whatever the burst: that bounds memory (19 MiB each) and leaves processors to the rest. A few
    more may wait; beyond them PasswordsBusyError is raised at once.
    """

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES, lanes: int = LANES) -> None:
        self._hasher = PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=lanes, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        self._under_way = 0
        self._dummy = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """Hash a password with a salt of its own."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether a password fits a hash; None for a hash that nobody has does the same work."""
        fits = await self._run(lambda: self._verify_now(password_hash or self._dummy, password))
        return fits and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        """Tell whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify_now(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._under_way >= _AT_ONCE + _MOST_WAITING:
            raise PasswordsBusyError("more people sign in than passwords can be checked at once")
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # counted until the thread has done it, also when whoever asked has gone
        future.add_done_callback(self._count_down)
        return await asyncio.shield(future)

    def _count_down(self, done: asyncio.Future[_Result]) -> None:
        self._under_way -= 1
        if not done.cancelled():
            done.exception()
