"""Writes wishlists and saved searches; each statement names the account whose they are."""

from datetime import datetime

import asyncpg

from skatestock.accounts.errors import (
    LimitReachedError,
    NameTakenError,
    SearchNotFoundError,
    UnknownProductError,
    WishNotFoundError,
)
from skatestock.accounts.model import MAX_SEARCHES, MAX_WISHES, SavedSearch, Wish
from skatestock.accounts.queries import hold_account
from skatestock.database.pool import Connection

_COUNT_OTHER_WISHES = "SELECT count(*) FROM wishes WHERE account_id = $1 AND product_id <> $2"
_PUT_WISH = """
INSERT INTO wishes (account_id, product_id, size, target_minor, target_currency, note, added_at, changed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
ON CONFLICT (account_id, product_id) DO UPDATE SET size = $3, target_minor = $4, target_currency = $5,
    note = $6, changed_at = CASE
        WHEN (wishes.size, wishes.target_minor, wishes.target_currency, wishes.note)
            IS NOT DISTINCT FROM ($3, $4, $5, $6) THEN wishes.changed_at ELSE $7 END
RETURNING product_id, size, target_minor, target_currency, note, added_at, changed_at
"""
_DELETE_WISH = "DELETE FROM wishes WHERE account_id = $1 AND product_id = $2 RETURNING product_id"

_COUNT_SEARCHES = "SELECT count(*) FROM saved_searches WHERE account_id = $1"
_INSERT_SEARCH = """
INSERT INTO saved_searches (account_id, name, query, created_at, changed_at) VALUES ($1, $2, $3, $4, $4)
RETURNING id, name, query, created_at, changed_at
"""
_UPDATE_SEARCH = """
UPDATE saved_searches SET name = $3, query = $4,
    changed_at = CASE WHEN (name, query) = ($3, $4) THEN changed_at ELSE $5 END
WHERE account_id = $1 AND id = $2
RETURNING id, name, query, created_at, changed_at
"""
_DELETE_SEARCH = "DELETE FROM saved_searches WHERE account_id = $1 AND id = $2 RETURNING id"


async def put_wish(
    connection: Connection,
    account_id: int,
    product_id: int,
    *,
    size: str | None,
    target_minor: int | None,
    target_currency: str | None,
    note: str | None,
    now: datetime,
) -> Wish:
    """Put a product on the wishlist, or change what is wished of it; idempotent.

    Within a transaction. Raises UnknownProductError, LimitReachedError and AccountNotFoundError.
    """
    await hold_account(connection, account_id)
    if await connection.fetchval(_COUNT_OTHER_WISHES, account_id, product_id) >= MAX_WISHES:
        raise LimitReachedError(f"a wishlist may have {MAX_WISHES} products")
    values = (account_id, product_id, size, target_minor, target_currency, note, now)
    try:
        (row,) = await connection.fetch(_PUT_WISH, *values)
    except asyncpg.ForeignKeyViolationError as error:
        raise UnknownProductError(f"no product has the id {product_id}") from error
    return Wish(*row)


async def delete_wish(connection: Connection, account_id: int, product_id: int) -> None:
    """Take a product off the wishlist; raises WishNotFoundError."""
    if await connection.fetchval(_DELETE_WISH, account_id, product_id) is None:
        raise WishNotFoundError(f"product {product_id} is not on the wishlist")


async def save_search(
    connection: Connection, account_id: int, name: str, query: str, now: datetime
) -> SavedSearch:
    """Keep a search under a name; within a transaction.

    Raises NameTakenError, LimitReachedError and AccountNotFoundError.
    """
    await hold_account(connection, account_id)
    if await connection.fetchval(_COUNT_SEARCHES, account_id) >= MAX_SEARCHES:
        raise LimitReachedError(f"an account may have {MAX_SEARCHES} saved searches")
    try:
        (row,) = await connection.fetch(_INSERT_SEARCH, account_id, name, query, now)
    except asyncpg.UniqueViolationError as error:
        raise NameTakenError("another saved search has this name") from error
    return SavedSearch(*row)


async def change_search(
    connection: Connection, account_id: int, search_id: int, name: str, query: str, now: datetime
) -> SavedSearch:
    """Give a saved search another name or query; idempotent.

    Raises SearchNotFoundError and NameTakenError.
    """
    try:
        row = await connection.fetchrow(_UPDATE_SEARCH, account_id, search_id, name, query, now)
    except asyncpg.UniqueViolationError as error:
        raise NameTakenError("another saved search has this name") from error
    if row is None:
        raise SearchNotFoundError(f"there is no saved search {search_id}")
    return SavedSearch(*row)


async def delete_search(connection: Connection, account_id: int, search_id: int) -> None:
    """Delete a saved search; raises SearchNotFoundError."""
    if await connection.fetchval(_DELETE_SEARCH, account_id, search_id) is None:
        raise SearchNotFoundError(f"there is no saved search {search_id}")
