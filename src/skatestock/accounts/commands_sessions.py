"""Writes sessions: begun by a sign-in, refreshed by a token that is good once, ended."""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID, uuid4

from skatestock.accounts.commands_audit import record_audit
from skatestock.accounts.errors import RefreshRefusedError, SessionNotFoundError
from skatestock.accounts.model import MAX_SESSIONS, SESSION_LIFE, Origin, Role
from skatestock.accounts.queries import StoredSecret, hold_account
from skatestock.accounts.tokens import NewSecret, make_refresh_token
from skatestock.database.pool import Connection

Ending = Literal["signed_out", "revoked", "token_reused", "password_changed", "disabled", "too_many"]

_LOCK_SIGNER = """
SELECT role FROM accounts WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR NO KEY UPDATE
"""
_INSERT_SESSION = """
INSERT INTO sessions (id, account_id, began_at, refreshed_at, expires_at, address, program)
VALUES ($1, $2, $3, $3, $4, $5, $6)
"""
_INSERT_HASH = """
INSERT INTO refresh_tokens (hash, session_id, issued_at, expires_at) VALUES ($1, $2, $3, $4)
"""
# The account is locked first, as everywhere, and the token read by a statement of its own: of two who show
# the same token at once, the second one sees what the first one did.
_LOCK_OWNER = """
SELECT id, role, disabled_at FROM accounts
WHERE id = (
    SELECT s.account_id FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.hash = $1
)
FOR NO KEY UPDATE
"""
_FIND_SHOWN = """
SELECT s.id AS session_id, s.ended_at, s.expires_at AS session_expires_at, t.used_at, t.expires_at
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.hash = $1
"""
_USE_HASH = "UPDATE refresh_tokens SET used_at = $2 WHERE hash = $1"
_TOUCH_SESSION = "UPDATE sessions SET refreshed_at = $2, address = $3, program = $4 WHERE id = $1"

_END_SESSION = """
UPDATE sessions SET ended_at = $3, ended_because = $4
WHERE id = $1 AND account_id = $2 AND ended_at IS NULL AND expires_at > $3
RETURNING id
"""
_END_SESSIONS = """
UPDATE sessions SET ended_at = $2, ended_because = $3
WHERE account_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $4
"""
_END_OLDEST = """
UPDATE sessions SET ended_at = $2, ended_because = 'too_many'
WHERE id IN (
    SELECT id FROM sessions WHERE account_id = $1 AND ended_at IS NULL AND expires_at > $2
    ORDER BY refreshed_at DESC, id OFFSET $3
)
"""


class Opened(NamedTuple):
    """A session and the one refresh token that is good now."""

    account_id: int
    session_id: UUID
    role: Role
    token: NewSecret


async def begin_session(
    connection: Connection, secret: StoredSecret, now: datetime, origin: Origin, *, token_days: int
) -> Opened | None:
    """Begin a session with its first refresh token; of too many, those that rested longest are ended.

    Within a transaction. None where the password was changed or the account disabled since it was checked.
    """
    account_id = secret.account_id
    role = await connection.fetchval(_LOCK_SIGNER, account_id, secret.password_hash)
    if role is None:
        return None
    session_id = uuid4()
    expires_at = now + SESSION_LIFE
    await connection.execute(
        _INSERT_SESSION, session_id, account_id, now, expires_at, origin.address, origin.program
    )
    await connection.execute(_END_OLDEST, account_id, now, MAX_SESSIONS)
    token = await _issue_token(connection, session_id, now, expires_at, token_days)
    await record_audit(
        connection,
        now,
        "signed_in",
        account_id=account_id,
        address=origin.address,
        session_id=session_id,
        detail=origin.program or None,
    )
    return Opened(account_id, session_id, role, token)


async def refresh_session(
    connection: Connection, token_hash: bytes, now: datetime, origin: Origin, *, token_days: int
) -> Opened | None:
    """Take a refresh token and give the next one; one that was used before ends its whole session.

    None for a token that was used before: the transaction must be committed, so it is no error here. Raises
    RefreshRefusedError for every other token that is not good.
    """
    owner = await connection.fetchrow(_LOCK_OWNER, token_hash)
    token = None if owner is None else await connection.fetchrow(_FIND_SHOWN, token_hash)
    if owner is None or token is None:
        raise RefreshRefusedError("the refresh token is not one of ours")
    if token["ended_at"] is not None or owner["disabled_at"] is not None:
        raise RefreshRefusedError("the session has ended; sign in again")
    session_id: UUID = token["session_id"]
    if token["used_at"] is not None:
        await _end_reused(connection, owner["id"], session_id, now, origin)
        return None
    if min(token["expires_at"], token["session_expires_at"]) <= now:
        raise RefreshRefusedError("the refresh token has expired; sign in again")
    await connection.execute(_USE_HASH, token_hash, now)
    await connection.execute(_TOUCH_SESSION, session_id, now, origin.address, origin.program)
    following = await _issue_token(connection, session_id, now, token["session_expires_at"], token_days)
    return Opened(owner["id"], session_id, owner["role"], following)


async def end_session(
    connection: Connection, account_id: int, session_id: UUID, now: datetime, because: Ending, address: str
) -> None:
    """End one session of an account; within a transaction.

    Raises SessionNotFoundError for one that it has not, or no more, and AccountNotFoundError.
    """
    await hold_account(connection, account_id)
    if await connection.fetchval(_END_SESSION, session_id, account_id, now, because) is None:
        raise SessionNotFoundError("the account has no such session that is still open")
    kind: Literal["signed_out", "session_revoked"] = (
        "signed_out" if because == "signed_out" else "session_revoked"
    )
    await record_audit(connection, now, kind, account_id=account_id, address=address, session_id=session_id)


async def end_sessions(
    connection: Connection, account_id: int, now: datetime, because: Ending, *, but: UUID | None = None
) -> None:
    """End all sessions of an account that the transaction holds, or all but one."""
    await connection.execute(_END_SESSIONS, account_id, now, because, but)


async def _end_reused(
    connection: Connection, account_id: int, session_id: UUID, now: datetime, origin: Origin
) -> None:
    await connection.fetchval(_END_SESSION, session_id, account_id, now, "token_reused")
    await record_audit(
        connection,
        now,
        "refresh_token_reused",
        account_id=account_id,
        address=origin.address,
        session_id=session_id,
    )


async def _issue_token(
    connection: Connection, session_id: UUID, now: datetime, session_expires_at: datetime, token_days: int
) -> NewSecret:
    token = make_refresh_token()
    expires_at = min(now + timedelta(days=token_days), session_expires_at)
    await connection.execute(_INSERT_HASH, token.hash, session_id, now, expires_at)
    return token
