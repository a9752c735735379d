"""Accounts as the faces use them: signing up and in, and telling who makes a request.

No connection is held while a password is hashed: a burst of sign-ins must not take them from everybody else.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from skatestock.accounts.commands import (
    change_password,
    delete_account,
    hold_confirmed,
    record_sign_up,
    store_rehash,
)
from skatestock.accounts.commands_attempts import (
    Counter,
    Reserved,
    count_address,
    count_pair,
    count_sign_ups,
    forgive_attempt,
    reserve_attempt,
    take_back_attempt,
)
from skatestock.accounts.commands_audit import record_audit, record_failed_sign_in
from skatestock.accounts.commands_keys import touch_key
from skatestock.accounts.commands_sessions import Opened, begin_session, refresh_session
from skatestock.accounts.errors import (
    AttemptsExhaustedError,
    CredentialsRefusedError,
    PasswordsBusyError,
    RefreshRefusedError,
    TokenRefusedError,
    WrongPasswordError,
)
from skatestock.accounts.model import Caller, Client, Origin, Role
from skatestock.accounts.passwords import Passwords, check_new_password
from skatestock.accounts.queries import (
    StoredSecret,
    find_holding,
    find_key_caller,
    find_secret,
    find_session_caller,
    get_secret,
)
from skatestock.accounts.recent_keys import RecentKeys
from skatestock.accounts.signing_keys import SigningKeys
from skatestock.accounts.tokens import (
    Claims,
    Credential,
    find_credential,
    find_refresh_hash,
    is_same,
    issue_access_token,
    parse_api_key,
    read_access_token,
)
from skatestock.accounts.watching import LOOKED_AT_SECONDS, CredentialWatch
from skatestock.database.commits import committed
from skatestock.database.pool import Connection
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import SIGN_INS
from skatestock.vocabulary.time import Clock, utc_now

Connect = Callable[[], AbstractAsyncContextManager[Connection]]

_log = get_logger(__name__)


class AuthSettings(NamedTuple):
    """How sign-ins are signed, and how long they last."""

    keys: SigningKeys
    access_token_minutes: int = 10
    refresh_token_days: int = 14
    watch_seconds: float = LOOKED_AT_SECONDS
    """How often the credentials are looked at that something is kept open for."""


class SignedIn(NamedTuple):
    """What a client is given after a sign-in or a refresh."""

    access_token: str
    life_seconds: int
    refresh_token: str
    role: Role


class Accounts:
    """Signs people up and in, and tells who makes a request; one per process."""

    def __init__(
        self,
        connect: Connect,
        settings: AuthSettings,
        *,
        clock: Clock = utc_now,
        passwords: Passwords | None = None,
    ) -> None:
        self._connect = connect
        self._settings = settings
        self._clock = clock
        self._passwords = passwords or Passwords()
        self._recent_keys = RecentKeys(self._find_key_client)
        self._watch = CredentialWatch(self._find_holding, clock, every_seconds=settings.watch_seconds)

    async def sign_up(self, email: str, password: str, origin: Origin) -> None:
        """Make an account, unless the e-mail address has one; says nothing of which.

        Raises PasswordRefusedError, AttemptsExhaustedError and PasswordsBusyError.
        """
        check_new_password(password, email)
        reserved = await self._reserve(count_sign_ups(origin.address))
        async with self._taking_back(reserved):
            password_hash = await self._passwords.hash(password)
        async with self._change() as connection:
            await record_sign_up(connection, email, password_hash, self._clock(), origin.address)

    async def sign_in(self, email: str, password: str, origin: Origin) -> SignedIn:
        """Begin a session; the same work is done for an e-mail address that nobody has.

        Raises CredentialsRefusedError, AttemptsExhaustedError and PasswordsBusyError.
        """
        try:
            opened = await self._sign_in(email, password, origin)
        except (CredentialsRefusedError, AttemptsExhaustedError, PasswordsBusyError) as error:
            SIGN_INS.labels(outcome=_OUTCOMES[type(error)]).inc()
            raise
        SIGN_INS.labels(outcome="signed_in").inc()
        return self._sign(opened)

    async def refresh(self, token: str, origin: Origin) -> SignedIn:
        """Take a refresh token and give new tokens; a token is good once. Raises RefreshRefusedError.

        A token that was used before ends its session, because either it or the one that followed is in the
        wrong hands, and nobody can tell which.
        """
        token_hash = find_refresh_hash(token)
        if token_hash is None:
            raise RefreshRefusedError("the refresh token is malformed")
        days = self._settings.refresh_token_days
        async with self._change() as connection:
            opened = await refresh_session(connection, token_hash, self._clock(), origin, token_days=days)
        if opened is None:
            _log.warning("refresh_token_reused", address=origin.address)
            raise RefreshRefusedError(
                "the refresh token was used before: its session has ended; sign in again"
            )
        return self._sign(opened)

    async def change_password(self, caller: Caller, current: str, new: str, origin: Origin) -> None:
        """Change a person's password and end their other sessions.

        Raises PasswordRefusedError and what `confirm` raises.
        """
        check_new_password(new, caller.email)
        confirmed_hash = await self.confirm(caller, current, origin)
        password_hash = await self._passwords.hash(new)
        async with self._change() as connection:
            await change_password(
                connection, caller, confirmed_hash, password_hash, self._clock(), origin.address
            )

    async def delete(self, caller: Caller, password: str, origin: Origin) -> None:
        """Delete a person's account and all that hangs on it; raises what `confirm` raises."""
        confirmed_hash = await self.confirm(caller, password, origin)
        async with self._change() as connection:
            await hold_confirmed(connection, caller, confirmed_hash, self._clock())
            await delete_account(connection, caller.account_id, self._clock())

    async def confirm(self, caller: Caller, password: str, origin: Origin) -> str:
        """Check the password of somebody who is signed in, counted like a sign-in: a token may be stolen.

        Returns the hash that it fits, for it may be another one when it matters. Raises WrongPasswordError,
        AttemptsExhaustedError, PasswordsBusyError and AccountNotFoundError.
        """
        address, pair = await self._reserve(*_count(caller.email, origin))
        async with self._connect() as connection:
            secret = await get_secret(connection, caller.account_id)
        async with self._taking_back((address, pair)):
            fits = await self._passwords.verify(secret.password_hash, password)
        async with self._transaction() as connection:
            if fits:
                await forgive_attempt(connection, self._clock(), address, pair)
            else:
                await record_audit(
                    connection,
                    self._clock(),
                    "password_check_failed",
                    account_id=caller.account_id,
                    address=origin.address,
                    session_id=caller.session_id,
                )
        if not fits:
            raise WrongPasswordError("the password is wrong")
        return secret.password_hash

    async def authenticate(
        self, credential: Credential, address: str, *, claims: Claims | None = None
    ) -> Caller:
        """Tell who shows a credential, as of now: an ended session or a revoked key is refused at once.

        `claims` are those of an access token that was verified on the way here. Raises TokenRefusedError.
        """
        if credential.is_key:
            return await self._authenticate_key(credential.text, address)
        now = self._clock()
        claims = claims or read_access_token(self._settings.keys, credential.text, now=now)
        async with self._connect() as connection:
            caller = await find_session_caller(connection, claims.session_id, claims.account_id, now)
        if caller is None:
            raise TokenRefusedError("the session has ended; sign in again")
        return caller

    async def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Client | None:
        """Tell whose requests these are to be counted as; None for nobody's, or for what does not hold.

        Cheap, and so not exact: a token is believed while it has not expired, a key for five seconds. Never
        raises.
        """
        try:
            credential = find_credential(headers)
            if credential is None:
                return None
            if credential.is_key:
                return await self._recent_keys.find(*parse_api_key(credential.text))
            claims = read_access_token(self._settings.keys, credential.text, now=self._clock())
        except TokenRefusedError:
            return None
        return Client("user", str(claims.account_id), claims.role, claims)

    def watch(self, client: Client, on_end: Callable[[], None]) -> Callable[[], None]:
        """Call `on_end` soon after what this client showed is revoked or expires; returns what stops that."""
        return self._watch.begin(client, on_end)

    def close(self) -> None:
        """Watch no credentials any more, and let the threads end that hash passwords; idempotent."""
        self._watch.close()
        self._passwords.close()

    async def _sign_in(self, email: str, password: str, origin: Origin) -> Opened:
        address, pair = await self._reserve(*_count(email, origin))
        async with self._connect() as connection:
            secret = await find_secret(connection, email)
        async with self._taking_back((address, pair)):
            fits = await self._passwords.verify(None if secret is None else secret.password_hash, password)
        rehashed = await self._rehash(secret, password) if fits and secret is not None else None
        now = self._clock()
        opened = None
        async with self._change() as connection:
            if fits and secret is not None:
                days = self._settings.refresh_token_days
                opened = await begin_session(connection, secret, now, origin, token_days=days)
            if opened is None or secret is None:
                account_id = None if secret is None else secret.account_id
                await record_failed_sign_in(connection, now, account_id, origin.address)
            else:
                await forgive_attempt(connection, now, address, pair)
                if rehashed is not None:
                    await store_rehash(connection, secret.account_id, secret.password_hash, rehashed)
        if opened is None:
            raise CredentialsRefusedError("the e-mail address or the password is wrong")
        return opened

    async def _rehash(self, secret: StoredSecret, password: str) -> str | None:
        """Hash a password with today's parameters, if it needs that and there is time for it."""
        if not self._passwords.needs_rehash(secret.password_hash):
            return None
        try:
            return await self._passwords.hash(password)
        except PasswordsBusyError:
            return None

    async def _reserve(self, *counters: Counter) -> tuple[Reserved, ...]:
        async with self._transaction() as connection:
            return await reserve_attempt(connection, self._clock(), *counters)

    @asynccontextmanager
    async def _taking_back(self, reserved: tuple[Reserved, ...]) -> AsyncGenerator[None]:
        """Work on a password; an attempt that there is no time to look at is no failure."""
        try:
            yield
        except PasswordsBusyError:
            async with self._transaction() as connection:
                await take_back_attempt(connection, self._clock(), *reserved)
            raise

    def _sign(self, opened: Opened) -> SignedIn:
        life_seconds = self._settings.access_token_minutes * 60
        access_token = issue_access_token(
            self._settings.keys,
            opened.account_id,
            opened.session_id,
            opened.role,
            now=self._clock(),
            life_seconds=life_seconds,
        )
        return SignedIn(access_token, life_seconds, opened.token.text, opened.role)

    async def _authenticate_key(self, text: str, address: str) -> Caller:
        key_id, secret_hash = parse_api_key(text)
        now = self._clock()
        async with self._connect() as connection:
            found = await find_key_caller(connection, key_id, now)
            if found is None or not is_same(found.secret_hash, secret_hash):
                raise TokenRefusedError("the API key is unknown, expired or revoked")
            if self._recent_keys.is_use_due(key_id, address, now):
                async with connection.transaction():
                    await touch_key(connection, found.caller.account_id, key_id, now, address)
        return found.caller

    async def _find_key_client(self, key_id: str, secret_hash: bytes) -> Client | None:
        async with self._connect() as connection:
            found = await find_key_caller(connection, key_id, self._clock())
        if found is None or not is_same(found.secret_hash, secret_hash):
            return None
        return Client("key", key_id, found.caller.role)

    async def _find_holding(
        self, session_ids: Collection[UUID], key_ids: Collection[str], now: datetime
    ) -> set[UUID | str]:
        async with self._connect() as connection:
            return await find_holding(connection, session_ids, key_ids, now)

    @asynccontextmanager
    async def _change(self) -> AsyncGenerator[Connection]:
        """Lend a connection inside the transaction that is asked for; raises CommitUnknownError."""
        async with self._connect() as connection, committed(connection):
            yield connection

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Connection]:
        async with self._connect() as connection, connection.transaction():
            yield connection


def _count(email: str, origin: Origin) -> tuple[Counter, Counter]:
    return count_address(origin.address), count_pair(email, origin.address)


_OUTCOMES: dict[type[Exception], str] = {
    CredentialsRefusedError: "refused",
    AttemptsExhaustedError: "delayed",
    PasswordsBusyError: "busy",
}
