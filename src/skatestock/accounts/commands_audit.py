"""Writes the audit log: what happened to whom, from where, and never a secret."""

from datetime import datetime, timedelta
from uuid import UUID

from skatestock.accounts.model import AuditKind
from skatestock.database.pool import Connection

_RECORD = """
INSERT INTO audit_log (at, kind, account_id, address, session_id, key_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

# Whoever is deleted while their password is checked is nobody's by then.
_RECORD_FAILURE = """
INSERT INTO audit_log (at, kind, account_id, address)
VALUES ($1, 'sign_in_failed', (SELECT id FROM accounts WHERE id = $2 FOR KEY SHARE), $3)
"""

# The uses of one key are told once per hour and address, and of twenty addresses at most: whoever has a key
# must not be able to fill the log.
_RECORD_KEY_USE = """
INSERT INTO audit_log (at, kind, account_id, address, key_id)
SELECT $1, 'key_used', $2, $3, $4
WHERE (
    SELECT count(*) < 20 AND count(*) FILTER (WHERE address = $3) = 0
    FROM audit_log WHERE key_id = $4 AND kind = 'key_used' AND at > $5
)
"""
_KEY_USE_AGAIN = timedelta(hours=1)


async def record_audit(
    connection: Connection,
    now: datetime,
    kind: AuditKind,
    *,
    account_id: int | None = None,
    address: str | None = None,
    session_id: UUID | None = None,
    key_id: str | None = None,
    detail: str | None = None,
) -> None:
    """Write one line; within the transaction of what it tells about."""
    await connection.execute(_RECORD, now, kind, account_id, address, session_id, key_id, detail)


async def record_failed_sign_in(
    connection: Connection, now: datetime, account_id: int | None, address: str
) -> None:
    """Write that somebody did not get in, for the account if there is one still."""
    await connection.execute(_RECORD_FAILURE, now, account_id, address)


async def record_key_use(
    connection: Connection, now: datetime, account_id: int, key_id: str, address: str
) -> None:
    """Write that a key was used, unless that was written for this address within the hour."""
    await connection.execute(_RECORD_KEY_USE, now, account_id, address, key_id, now - _KEY_USE_AGAIN)
