"""Reading sitemaps: the recorded ones exactly, and what is none or only a part of one."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from skatestock.crawl.errors import PageError
from skatestock.crawl.platforms.sitemap import Sitemap, parse_sitemap

SHOP = "https://tulefogcandles.com"


def parse(text: str | bytes) -> Sitemap:
    return parse_sitemap(text.encode() if isinstance(text, str) else text, SHOP)


def urlset(*addresses: str) -> str:
    rows = "".join(f"<url><loc>{address}</loc></url>" for address in addresses)
    return f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</urlset>'


def test_the_recorded_index_is_read_with_its_queries(shared_data: Path) -> None:
    read = parse((shared_data / "pages/shopify/tulefog_sitemap_index.xml").read_bytes())
    assert read.pages == ()
    assert read.sitemaps == [
        f"{SHOP}/sitemap_products_1.xml?from=126068817949&to=6543702982841",
        f"{SHOP}/sitemap_pages_1.xml",
        f"{SHOP}/sitemap_collections_1.xml",
        f"{SHOP}/sitemap_blogs_1.xml",
    ]


def test_the_recorded_products_are_read_without_their_images(shared_data: Path) -> None:
    read = parse((shared_data / "pages/shopify/tulefog_sitemap_products_1.xml").read_bytes())
    assert read.sitemaps == ()
    assert len(read.pages) == 24
    assert read.pages[:2] == [f"{SHOP}/", f"{SHOP}/products/sea-lavender-soy-candle"]
    assert all(page.startswith(SHOP) for page in read.pages)


def test_addresses_of_other_hosts_and_repeated_ones_are_left_out() -> None:
    text = urlset(
        f"{SHOP}/a", "https://elsewhere.example/b", f"{SHOP}/a", "ftp://x", "https://[x", f" {SHOP}/c "
    )
    assert parse(text).pages == [f"{SHOP}/a", f"{SHOP}/c"]


def test_comments_are_no_addresses_and_cdata_is() -> None:
    text = urlset(f"<![CDATA[{SHOP}/a?x=1&y=2]]>").replace("<url>", f"<!-- <loc>{SHOP}/z</loc> --><url>")
    assert parse(text).pages == [f"{SHOP}/a?x=1&y=2"]


def test_a_gzipped_file_is_unpacked() -> None:
    assert parse(gzip.compress(urlset(f"{SHOP}/a").encode())).pages == [f"{SHOP}/a"]


def test_an_empty_sitemap_is_one() -> None:
    assert parse('<urlset xmlns="x"/>').pages == []
    assert parse(urlset()).pages == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_products"),
        (b"<html><body>Just a moment", "not_products"),
        (b'{"a": 1}', "not_products"),
        (urlset(f"{SHOP}/a").encode()[:-9], "truncated"),
        (gzip.compress(urlset(f"{SHOP}/a").encode())[:-9], "truncated"),
        (urlset(*(f"{SHOP}/{number}" for number in range(50_001))).encode(), "too_large"),
        (gzip.compress(b"<urlset>" + bytes(51 * 2**20)), "too_large"),
    ],
)
def test_what_is_no_whole_sitemap_is_a_page_error(body: bytes, reason: str) -> None:
    with pytest.raises(PageError) as caught:
        parse(body)
    assert caught.value.reason == reason
