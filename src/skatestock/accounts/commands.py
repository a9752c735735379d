"""Writes accounts: made, changed, deleted, and what has lived long enough pruned."""

from datetime import datetime, timedelta
from typing import NamedTuple

from skatestock.accounts.commands_attempts import FORGOTTEN_AFTER
from skatestock.accounts.commands_audit import record_audit
from skatestock.accounts.commands_sessions import end_sessions
from skatestock.accounts.errors import AccountNotFoundError, EmailTakenError, WrongPasswordError
from skatestock.accounts.model import AuditKind, Caller, Role
from skatestock.accounts.queries import hold_account, hold_caller
from skatestock.database.pool import Connection

_INSERT = """
INSERT INTO accounts (email, password_hash, role, created_at, password_changed_at) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (email) DO NOTHING
RETURNING id
"""
_LOCK_BY_EMAIL = "SELECT id, role, disabled_at FROM accounts WHERE email = $1 FOR NO KEY UPDATE"
_HOLD_ID = "SELECT id FROM accounts WHERE email = $1 FOR KEY SHARE"
_WRITE_HASH = "UPDATE accounts SET password_hash = $2, password_changed_at = $3 WHERE id = $1"
_REHASH = "UPDATE accounts SET password_hash = $3 WHERE id = $1 AND password_hash = $2"
_SET_ROLE = "UPDATE accounts SET role = $2 WHERE id = $1"
_SET_DISABLED = "UPDATE accounts SET disabled_at = $2 WHERE id = $1"
_DELETE = "DELETE FROM accounts WHERE id = $1 RETURNING id"

_PRUNE_AUDIT = "DELETE FROM audit_log WHERE at < $1"
# What somebody holds right now goes the next time: many rows in no order must not wait for anybody.
_PRUNE_SESSIONS = """
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions WHERE coalesce(ended_at, expires_at) < $1 FOR UPDATE SKIP LOCKED
)
"""
# Nothing is told by showing a token that is of no use to anybody any more.
_PRUNE_TOKENS = """
DELETE FROM refresh_tokens WHERE hash IN (
    SELECT hash FROM refresh_tokens WHERE expires_at < $1 FOR UPDATE SKIP LOCKED
)
"""
_PRUNE_KEYS = """
DELETE FROM api_keys WHERE id IN (
    SELECT id FROM api_keys WHERE coalesce(revoked_at, expires_at) < $1 FOR UPDATE SKIP LOCKED
)
"""
_PRUNE_ATTEMPTS = """
DELETE FROM sign_in_attempts WHERE key IN (
    SELECT key FROM sign_in_attempts WHERE failed_at < $1 FOR UPDATE SKIP LOCKED
)
"""
_ENDED_KEPT = timedelta(days=30)


class Locked(NamedTuple):
    """An account whose row this transaction holds."""

    id: int
    role: Role
    disabled_at: datetime | None


async def record_sign_up(
    connection: Connection, email: str, password_hash: str, now: datetime, address: str
) -> None:
    """Make an account unless the e-mail address has one: that one stays exactly as it is."""
    wanted = (email, password_hash, "user", now)
    kind: AuditKind = "signed_up"
    account_id = await connection.fetchval(_INSERT, *wanted)
    if account_id is None:
        account_id = await connection.fetchval(_HOLD_ID, email)
        if account_id is None:
            # whoever had the address was deleted in between
            account_id = await connection.fetchval(_INSERT, *wanted)
        else:
            kind = "sign_up_repeated"
    await record_audit(connection, now, kind, account_id=account_id, address=address)


async def create_account(
    connection: Connection, email: str, password_hash: str, role: Role, now: datetime
) -> int:
    """Make an account for somebody, as an operator; raises EmailTakenError."""
    account_id: int | None = await connection.fetchval(_INSERT, email, password_hash, role, now)
    if account_id is None:
        raise EmailTakenError(f"{email} has an account")
    await record_audit(connection, now, "signed_up", account_id=account_id, detail=f"operator, {role}")
    return account_id


async def change_password(
    connection: Connection,
    caller: Caller,
    confirmed_hash: str,
    password_hash: str,
    now: datetime,
    address: str,
) -> None:
    """Store the hash of a new password, and end every session but the caller's; within a transaction.

    Raises what `hold_confirmed` raises.
    """
    await hold_confirmed(connection, caller, confirmed_hash, now)
    await connection.execute(_WRITE_HASH, caller.account_id, password_hash, now)
    await end_sessions(connection, caller.account_id, now, "password_changed", but=caller.session_id)
    await record_audit(
        connection,
        now,
        "password_changed",
        account_id=caller.account_id,
        address=address,
        session_id=caller.session_id,
    )


async def store_rehash(connection: Connection, account_id: int, old_hash: str, new_hash: str) -> None:
    """Store the same password's hash with today's parameters, unless it was changed meanwhile."""
    await connection.execute(_REHASH, account_id, old_hash, new_hash)


async def reset_password(connection: Connection, email: str, password_hash: str, now: datetime) -> None:
    """Give an account another password, as an operator, and end its sessions; raises AccountNotFoundError."""
    account = await lock_account(connection, email)
    await connection.execute(_WRITE_HASH, account.id, password_hash, now)
    await end_sessions(connection, account.id, now, "password_changed")
    await record_audit(connection, now, "password_reset", account_id=account.id, detail="operator")


async def set_role(connection: Connection, email: str, role: Role, now: datetime) -> bool:
    """Give an account another role; tells whether it had another.

    It holds from the next request on. Raises AccountNotFoundError.
    """
    account = await lock_account(connection, email)
    if account.role == role:
        return False
    await connection.execute(_SET_ROLE, account.id, role)
    detail = f"{account.role} to {role}"
    await record_audit(connection, now, "role_changed", account_id=account.id, detail=detail)
    return True


async def disable_account(connection: Connection, email: str, now: datetime) -> bool:
    """Let an account sign in no more, and end its sessions; its keys rest too. Tells whether it could.

    Raises AccountNotFoundError.
    """
    account = await lock_account(connection, email)
    if account.disabled_at is not None:
        return False
    await connection.execute(_SET_DISABLED, account.id, now)
    await end_sessions(connection, account.id, now, "disabled")
    await record_audit(connection, now, "account_disabled", account_id=account.id)
    return True


async def enable_account(connection: Connection, email: str, now: datetime) -> bool:
    """Let an account sign in again; tells whether it could not. Raises AccountNotFoundError."""
    account = await lock_account(connection, email)
    if account.disabled_at is None:
        return False
    await connection.execute(_SET_DISABLED, account.id, None)
    await record_audit(connection, now, "account_enabled", account_id=account.id)
    return True


async def delete_account(connection: Connection, account_id: int, now: datetime) -> None:
    """Delete an account and all that hangs on it; what stays is one line that names nobody.

    Within a transaction. Raises AccountNotFoundError.
    """
    await hold_account(connection, account_id)
    await connection.fetchval(_DELETE, account_id)
    await record_audit(connection, now, "account_deleted")


async def hold_confirmed(connection: Connection, caller: Caller, confirmed_hash: str, now: datetime) -> None:
    """Hold the account of somebody whose password was found to fit this hash.

    Raises WrongPasswordError where it was changed since, AccountNotFoundError and TokenRefusedError.
    """
    secret = await hold_caller(connection, caller, now)
    if secret.password_hash != confirmed_hash:
        raise WrongPasswordError("the password was changed meanwhile")


async def lock_account(connection: Connection, email: str) -> Locked:
    """Hold an account's row until the transaction ends; raises AccountNotFoundError."""
    row = await connection.fetchrow(_LOCK_BY_EMAIL, email)
    if row is None:
        raise AccountNotFoundError(f"{email} has no account")
    return Locked(*row)


async def prune_accounts(connection: Connection, now: datetime, *, audit_days: int) -> int:
    """Delete what has been kept long enough: audit lines, ended sessions, dead tokens, forgotten failures."""
    work = {
        _PRUNE_AUDIT: now - timedelta(days=audit_days),
        _PRUNE_SESSIONS: now - _ENDED_KEPT,
        _PRUNE_TOKENS: now,
        _PRUNE_KEYS: now - _ENDED_KEPT,
        _PRUNE_ATTEMPTS: now - FORGOTTEN_AFTER,
    }
    done = [await connection.execute(statement, before) for statement, before in work.items()]
    return sum(int(status.removeprefix("DELETE ")) for status in done)
