"""Sitemaps: the addresses that a shop says it has. Pure."""

import html
import re
from collections.abc import Sequence

import msgspec

from skatestock.crawl.bodies import decompress_body
from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import make_excerpt
from skatestock.crawl.politeness import is_same_shop
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.walls import is_wall

MAX_BYTES = 50 * 1024 * 1024
"""The standard's own limit of one file."""
MAX_ADDRESSES = 50_000
"""As well."""

_GZIP = b"\x1f\x8b"
_ROOT = re.compile(rb"<(?:[A-Za-z]{1,20}:)?(sitemapindex|urlset)(?=[\s/>])")
_END = re.compile(rb"</(?:[A-Za-z]{1,20}:)?(?:sitemapindex|urlset)\s*>")
_EMPTY = re.compile(rb"<(?:[A-Za-z]{1,20}:)?(?:sitemapindex|urlset)[^>]*/>")
# Only addresses of pages: those of images stand in `image:loc`.
_LOC = re.compile(r"<loc>\s*+(?:<!\[CDATA\[)?([^<>\]]{1,4096}+)(?:\]\]>\s*+)?</loc>")
_COMMENT = re.compile(r"<!--(?:[^-]|-(?!->))*+(?:-->|\Z)")


class Sitemap(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says, each address once, in its order; those of other hosts are left out."""

    pages: Sequence[str] = ()
    sitemaps: Sequence[str] = ()
    """Files to read in place of pages; their queries belong to them."""


def parse_sitemap(body: bytes, shop_url: str) -> Sitemap:
    """Read a sitemap or an index of sitemaps, also a gzipped file of one.

    `lastmod` is not read: these shops' times are those of the response. Raises PageError for a body that is
    none (`not_products`), is a bot wall (`blocked`), ends early (`truncated`) or says more than a sitemap may
    (`too_large`).
    """
    if body.startswith(_GZIP):
        body = decompress_body(body, ["gzip"], MAX_BYTES)
    if len(body) > MAX_BYTES:
        raise PageError(CrawlReason.TOO_LARGE, f"a sitemap of {len(body)} bytes")
    root = _ROOT.search(body[:100_000])
    if root is None and is_wall(body):
        raise PageError(CrawlReason.BLOCKED, "a bot wall stands before the sitemap")
    if root is None:
        raise PageError(CrawlReason.NOT_PRODUCTS, f"no sitemap: {make_excerpt(body)[:200]}")
    if not _END.search(body[-2000:]) and not _EMPTY.search(body[-2000:]):
        raise PageError(CrawlReason.TRUNCATED, f"the sitemap ends after {len(body)} bytes")
    addresses = _read_addresses(body, shop_url)
    if root[1] == b"sitemapindex":
        return Sitemap(sitemaps=addresses)
    return Sitemap(pages=addresses)


def _read_addresses(body: bytes, shop_url: str) -> list[str]:
    text = _COMMENT.sub("", body.decode("utf-8", "replace"))
    addresses: dict[str, None] = {}
    for match in _LOC.finditer(text):
        # `&amp;` stands for `&` in the query that names a part of the catalogue.
        address = html.unescape(match[1]).strip().partition("#")[0]
        if len(addresses) >= MAX_ADDRESSES:
            raise PageError(CrawlReason.TOO_LARGE, f"a sitemap of over {MAX_ADDRESSES} addresses")
        if _is_ours(address, shop_url):
            addresses[address] = None
    return list(addresses)


def _is_ours(address: str, shop_url: str) -> bool:
    try:
        is_web = address.startswith(("http://", "https://")) and address.isprintable()
        return is_web and is_same_shop(address, shop_url)
    except ValueError:
        return False
