"""Writes API keys: made, used, revoked."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from skatestock.accounts.commands_audit import record_audit, record_key_use
from skatestock.accounts.errors import KeyNotFoundError, LimitReachedError
from skatestock.accounts.model import MAX_KEYS, ApiKey, Caller, Scope
from skatestock.accounts.queries import hold_account, hold_caller
from skatestock.accounts.tokens import NewSecret
from skatestock.database.pool import Connection

_COUNT = """
SELECT count(*) FROM api_keys
WHERE account_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
"""
_INSERT = """
INSERT INTO api_keys (id, account_id, name, secret_hash, scopes, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_TOUCH = "UPDATE api_keys SET used_at = $2 WHERE id = $1 AND (used_at IS NULL OR used_at <= $3)"
_REVOKE = """
UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL RETURNING id
"""

WRITTEN_EVERY = timedelta(minutes=1)
"""How often a key's last use is written at most."""


async def make_key(
    connection: Connection,
    caller: Caller,
    key: NewSecret,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
    now: datetime,
    address: str,
) -> ApiKey:
    """Store a new API key as its hash; within a transaction.

    Raises LimitReachedError, AccountNotFoundError and, for a session that has ended meanwhile,
    TokenRefusedError: whoever ended it must not find a key of it afterwards.
    """
    await hold_caller(connection, caller, now)
    account_id = caller.account_id
    if await connection.fetchval(_COUNT, account_id, now) >= MAX_KEYS:
        raise LimitReachedError(f"an account may have {MAX_KEYS} API keys")
    ordered = tuple(dict.fromkeys(scopes))
    await connection.execute(_INSERT, key.id, account_id, name, key.hash, ordered, now, expires_at)
    detail = " ".join(ordered)
    await record_audit(
        connection, now, "key_made", account_id=account_id, address=address, key_id=key.id, detail=detail
    )
    return ApiKey(key.id, name, ordered, now, expires_at, None)


async def touch_key(
    connection: Connection, account_id: int, key_id: str, now: datetime, address: str
) -> None:
    """Write that a key was used: the moment at most once a minute, the address at most once an hour."""
    # The line names the account, and so locks its row: that comes before the key's, as everywhere.
    await record_key_use(connection, now, account_id, key_id, address)
    await connection.execute(_TOUCH, key_id, now, now - WRITTEN_EVERY)


async def revoke_key(
    connection: Connection, account_id: int, key_id: str, now: datetime, address: str
) -> None:
    """End an API key of an account; within a transaction.

    Raises KeyNotFoundError and AccountNotFoundError.
    """
    await hold_account(connection, account_id)
    if await connection.fetchval(_REVOKE, key_id, account_id, now) is None:
        raise KeyNotFoundError("the account has no such API key")
    await record_audit(connection, now, "key_revoked", account_id=account_id, address=address, key_id=key_id)
