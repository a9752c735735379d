"""From the address of a page at a shop to the product that it shows."""

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from skatestock.database.pool import Connection

# The listing whose page it is: by the very path, or else by the last part of it, which shops put under
# collections and languages as they like. A live listing comes first.
_FIND_PRODUCT = r"""
SELECT l.product_id FROM listings l JOIN shops s ON s.id = l.shop_id
WHERE regexp_replace(lower(split_part(split_part(s.url, '//', 2), '/', 1)), '^www\.|:\d+$', '', 'g') = $1
    AND l.handle = ANY ($2)
ORDER BY rtrim(split_part(split_part(split_part(l.url, '//', 2), '?', 1), '#', 1), '/') LIKE '%' || $3 DESC,
    l.delisted_at IS NOT NULL, l.id DESC
LIMIT 1"""
_MAX_PARTS = 12


class PageAddress(NamedTuple):
    """What of an address tells the page."""

    host: str
    """Without `www.`, port and case."""
    path: str
    """Without a slash at its end."""
    handles: tuple[str, ...]
    """What may be the product's own part of the path, as it is and decoded."""


def parse_page_address(text: str) -> PageAddress | None:
    """Read an address as a browser shows it, with or without its scheme; None where it names no page."""
    text = text.strip()
    try:
        split = urlsplit(text if "://" in text else f"https://{text}")
        host = (split.hostname or "").lower().removeprefix("www.")
    except ValueError:
        return None
    parts = [part for part in split.path.split("/") if part]
    if split.scheme not in ("http", "https") or not host or not parts or len(parts) > _MAX_PARTS:
        return None
    last = parts[-1]
    for ending in (".html", ".js", ".json"):
        last = last.removesuffix(ending)
    handles = dict.fromkeys((parts[-1], last, unquote(parts[-1]), unquote(last)))
    cleaned = tuple(handle for handle in handles if "\0" not in handle)
    return PageAddress(host, "/" + "/".join(parts), cleaned) if "\0" not in host else None


async def find_product_by_address(connection: Connection, address: PageAddress) -> int | None:
    """Find the product whose page at a shop this is; None where no listing is known by it."""
    product_id: int | None = await connection.fetchval(
        _FIND_PRODUCT, address.host, list(address.handles), _escape(address.path)
    )
    return product_id


def _escape(text: str) -> str:
    return text.replace("\0", "").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
