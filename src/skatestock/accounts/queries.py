"""Reads accounts, sessions and keys, and tells who makes a request."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from skatestock.accounts.errors import AccountNotFoundError, TokenRefusedError
from skatestock.accounts.model import Account, ApiKey, AuditEntry, Caller, Role, Session
from skatestock.database.pool import Connection

_ACCOUNT_COLUMNS = "id, email, role, created_at, password_changed_at, disabled_at"
_FIND_BY_EMAIL = f"SELECT {_ACCOUNT_COLUMNS} FROM accounts WHERE email = $1"  # noqa: S608 - constants of ours
_FIND_BY_ID = f"SELECT {_ACCOUNT_COLUMNS} FROM accounts WHERE id = $1"  # noqa: S608 - constants of ours
_FIND_ALL = f"""
SELECT {_ACCOUNT_COLUMNS} FROM accounts WHERE id > $1 AND ($2::text IS NULL OR role = $2)
ORDER BY id LIMIT $3
"""  # noqa: S608 - constants of ours
_HOLD = "SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE"
_FIND_HASH = "SELECT id, password_hash, disabled_at FROM accounts WHERE email = $1"
_GET_HASH = "SELECT id, password_hash, disabled_at FROM accounts WHERE id = $1"

_FIND_SESSION_CALLER = """
SELECT a.id, a.email, a.role
FROM sessions s JOIN accounts a ON a.id = s.account_id
WHERE s.id = $1 AND s.account_id = $2 AND s.ended_at IS NULL AND s.expires_at > $3 AND a.disabled_at IS NULL
"""
_FIND_KEY_CALLER = """
SELECT a.id, a.email, a.role, k.scopes, k.secret_hash, k.used_at
FROM api_keys k JOIN accounts a ON a.id = k.account_id
WHERE k.id = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)
    AND a.disabled_at IS NULL
"""

_FIND_HOLDING_SESSIONS = """
SELECT s.id FROM sessions s JOIN accounts a ON a.id = s.account_id
WHERE s.id = ANY($1::uuid[]) AND s.ended_at IS NULL AND s.expires_at > $2 AND a.disabled_at IS NULL
"""
_FIND_HOLDING_KEYS = """
SELECT k.id FROM api_keys k JOIN accounts a ON a.id = k.account_id
WHERE k.id = ANY($1::text[]) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)
    AND a.disabled_at IS NULL
"""

_FIND_SESSIONS = """
SELECT id, began_at, refreshed_at, expires_at, address, program FROM sessions
WHERE account_id = $1 AND ended_at IS NULL AND expires_at > $2
ORDER BY began_at DESC, id
"""
_FIND_KEYS = """
SELECT id, name, scopes, created_at, expires_at, used_at FROM api_keys
WHERE account_id = $1 AND revoked_at IS NULL
ORDER BY created_at DESC, id
"""
# With what has ended and is kept for a while.
_FIND_ALL_SESSIONS = """
SELECT id, began_at, refreshed_at, expires_at, address, program, ended_at, ended_because FROM sessions
WHERE account_id = $1
ORDER BY began_at DESC, id
"""
_FIND_ALL_KEYS = """
SELECT id, name, scopes, created_at, expires_at, used_at, revoked_at FROM api_keys
WHERE account_id = $1
ORDER BY created_at DESC, id
"""
_FIND_AUDIT = """
SELECT l.id, l.at, l.kind, l.account_id, a.email, l.address, l.session_id, l.key_id, l.detail
FROM audit_log l LEFT JOIN accounts a ON a.id = l.account_id
WHERE ($1::bigint IS NULL OR l.account_id = $1) AND l.id < $2 AND ($3::text IS NULL OR l.kind = $3)
ORDER BY l.id DESC LIMIT $4
"""
_LAST_ID = 2**63 - 1


class StoredSecret(NamedTuple):
    """What a password is checked against."""

    account_id: int
    password_hash: str
    disabled_at: datetime | None


class KeyCaller(NamedTuple):
    """Who a key belongs to, what its secret's hash must be, and when it was last seen."""

    caller: Caller
    secret_hash: bytes
    used_at: datetime | None


async def find_account(connection: Connection, email: str) -> Account | None:
    """Find an account by its e-mail address in lower case."""
    row = await connection.fetchrow(_FIND_BY_EMAIL, email)
    return None if row is None else Account(*row)


async def get_account_of(connection: Connection, email: str) -> Account:
    """Return the account of an e-mail address in lower case; raises AccountNotFoundError."""
    account = await find_account(connection, email)
    if account is None:
        raise AccountNotFoundError(f"{email} has no account")
    return account


async def get_account(connection: Connection, account_id: int) -> Account:
    """Return an account; raises AccountNotFoundError."""
    row = await connection.fetchrow(_FIND_BY_ID, account_id)
    if row is None:
        raise AccountNotFoundError("the account is gone")
    return Account(*row)


async def hold_account(connection: Connection, account_id: int) -> None:
    """Hold an account's row until the transaction ends: of two who write what it has, one waits.

    Every transaction that writes sessions, keys, wishes or searches does this before it locks anything else:
    with one order for all, no two wait for each other. Raises AccountNotFoundError for an account that was
    deleted since it was checked who asks.
    """
    if await connection.fetchval(_HOLD, account_id) is None:
        raise AccountNotFoundError("the account is gone")


async def hold_caller(connection: Connection, caller: Caller, now: datetime) -> StoredSecret:
    """Hold the account of somebody who is about to change what lets them in, and look at them again.

    What ended their session since it was checked who asks has held the account too, so it is seen here.
    Raises AccountNotFoundError and TokenRefusedError.
    """
    await hold_account(connection, caller.account_id)
    if caller.session_id is not None and not await connection.fetchval(
        _FIND_SESSION_CALLER, caller.session_id, caller.account_id, now
    ):
        raise TokenRefusedError("the session has ended; sign in again")
    return await get_secret(connection, caller.account_id)


async def find_accounts(
    connection: Connection, *, role: Role | None = None, after_id: int = 0, limit: int = 1000
) -> list[Account]:
    """Find accounts in the order in which they were made."""
    return [Account(*row) for row in await connection.fetch(_FIND_ALL, after_id, role, limit)]


async def find_secret(connection: Connection, email: str) -> StoredSecret | None:
    """Find the password's hash of an account."""
    row = await connection.fetchrow(_FIND_HASH, email)
    return None if row is None else StoredSecret(*row)


async def get_secret(connection: Connection, account_id: int) -> StoredSecret:
    """Return the password's hash of an account; raises AccountNotFoundError."""
    row = await connection.fetchrow(_GET_HASH, account_id)
    if row is None:
        raise AccountNotFoundError("the account is gone")
    return StoredSecret(*row)


async def find_session_caller(
    connection: Connection, session_id: UUID, account_id: int, now: datetime
) -> Caller | None:
    """Find who a session belongs to, if it still lives and its account may sign in: two primary keys."""
    row = await connection.fetchrow(_FIND_SESSION_CALLER, session_id, account_id, now)
    return None if row is None else Caller(row[0], row[1], row[2], session_id, None, ())


async def find_key_caller(connection: Connection, key_id: str, now: datetime) -> KeyCaller | None:
    """Find who a key belongs to, if it still holds and its account may sign in."""
    row = await connection.fetchrow(_FIND_KEY_CALLER, key_id, now)
    if row is None:
        return None
    caller = Caller(row[0], row[1], row[2], None, key_id, tuple(row["scopes"]))
    return KeyCaller(caller, row["secret_hash"], row["used_at"])


async def find_holding(
    connection: Connection, session_ids: Collection[UUID], key_ids: Collection[str], now: datetime
) -> set[UUID | str]:
    """Find which of these sessions and keys still let somebody in."""
    held = await connection.fetch(_FIND_HOLDING_SESSIONS, session_ids, now) if session_ids else []
    held += await connection.fetch(_FIND_HOLDING_KEYS, key_ids, now) if key_ids else []
    return {row[0] for row in held}


async def find_sessions(connection: Connection, account_id: int, now: datetime) -> list[Session]:
    """Find the sessions of an account that still live, the newest first."""
    return [Session(*row) for row in await connection.fetch(_FIND_SESSIONS, account_id, now)]


async def find_keys(connection: Connection, account_id: int) -> list[ApiKey]:
    """Find the API keys of an account that were not revoked, the newest first; expired ones too."""
    return _read_keys(await connection.fetch(_FIND_KEYS, account_id))


async def find_all_sessions(connection: Connection, account_id: int) -> list[Session]:
    """Find every session of an account that is kept, also those that have ended, the newest first."""
    return [Session(*row) for row in await connection.fetch(_FIND_ALL_SESSIONS, account_id)]


async def find_all_keys(connection: Connection, account_id: int) -> list[ApiKey]:
    """Find every API key of an account that is kept, also revoked ones, the newest first."""
    return _read_keys(await connection.fetch(_FIND_ALL_KEYS, account_id))


async def find_audit(
    connection: Connection,
    *,
    account_id: int | None = None,
    kind: str | None = None,
    before_id: int | None = None,
    limit: int = 100,
) -> list[AuditEntry]:
    """Find what happened, the newest first: to one account, or to everybody."""
    rows = await connection.fetch(_FIND_AUDIT, account_id, before_id or _LAST_ID, kind, limit)
    return [AuditEntry(*row) for row in rows]


def _read_keys(rows: list[asyncpg.Record]) -> list[ApiKey]:
    return [ApiKey(**{**row, "scopes": tuple(row["scopes"])}) for row in rows]
