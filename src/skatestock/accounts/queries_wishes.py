"""Reads wishlists and saved searches; each statement names the account whose they are."""

from skatestock.accounts.errors import SearchNotFoundError, WishNotFoundError
from skatestock.accounts.model import SavedSearch, Wish
from skatestock.database.pool import Connection

_WISH_COLUMNS = "product_id, size, target_minor, target_currency, note, added_at, changed_at"
_FIND_WISHES = f"""
SELECT {_WISH_COLUMNS} FROM wishes WHERE account_id = $1 ORDER BY added_at DESC, product_id DESC
"""  # noqa: S608 - constants of ours
_FIND_WISH = f"SELECT {_WISH_COLUMNS} FROM wishes WHERE account_id = $1 AND product_id = $2"  # noqa: S608 - as above
_SEARCH_COLUMNS = "id, name, query, created_at, changed_at"
_FIND_SEARCHES = f"SELECT {_SEARCH_COLUMNS} FROM saved_searches WHERE account_id = $1 ORDER BY name, id"  # noqa: S608 - as above
_FIND_SEARCH = f"SELECT {_SEARCH_COLUMNS} FROM saved_searches WHERE account_id = $1 AND id = $2"  # noqa: S608 - as above


async def find_wishes(connection: Connection, account_id: int) -> list[Wish]:
    """Find an account's whole wishlist, the newest entry first."""
    return [Wish(*row) for row in await connection.fetch(_FIND_WISHES, account_id)]


async def get_wish(connection: Connection, account_id: int, product_id: int) -> Wish:
    """Return one entry of a wishlist; raises WishNotFoundError."""
    row = await connection.fetchrow(_FIND_WISH, account_id, product_id)
    if row is None:
        raise WishNotFoundError(f"product {product_id} is not on the wishlist")
    return Wish(*row)


async def find_searches(connection: Connection, account_id: int) -> list[SavedSearch]:
    """Find an account's saved searches by their names."""
    return [SavedSearch(*row) for row in await connection.fetch(_FIND_SEARCHES, account_id)]


async def get_search(connection: Connection, account_id: int, search_id: int) -> SavedSearch:
    """Return one saved search; raises SearchNotFoundError."""
    row = await connection.fetchrow(_FIND_SEARCH, account_id, search_id)
    if row is None:
        raise SearchNotFoundError(f"there is no saved search {search_id}")
    return SavedSearch(*row)
