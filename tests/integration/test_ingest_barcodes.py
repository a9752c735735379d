"""What the catalogue knows of barcodes after observations: GTINs, texts that are none, and silence."""

from __future__ import annotations

import asyncpg
import pytest
from tests.ingest_shop import SHOP, at, dump, ended, find_rows, ingest, offer, points, seen

from skatestock.catalog.commands_quality import check_shop_quality
from skatestock.catalog.quality import QualityKind
from skatestock.catalog.quality_queries import QualityFilter, QualityIssue, find_quality_issues
from skatestock.vocabulary.normaliser import current_normaliser

EAN, UPC, GTIN = "4006381333931", "0 12345 67890 5", "04006381333931"


async def barcodes(pool: asyncpg.Pool) -> dict[str, tuple[str | None, str | None]]:
    """Read each offer's barcode, and what it has in place of one."""
    rows = (await dump(pool))["offers"]
    return {row["offer_id"]: (row["barcode"], row["invalid_barcode"]) for row in rows}


async def issues(pool: asyncpg.Pool, minute: int) -> list[QualityIssue]:
    """Check the shop and read what is wrong with its barcodes."""
    async with pool.acquire() as connection, connection.transaction():
        await check_shop_quality(connection, SHOP, at(minute), current_normaliser())
        wanted = QualityFilter(kind=QualityKind.INVALID_BARCODE)
        return await find_quality_issues(connection, wanted, limit=10)


async def test_a_barcode_is_stored_as_a_gtin_of_fourteen_digits(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(barcode=EAN), offer(offer_id="b", barcode=UPC), offer(offer_id="c")))
    assert await barcodes(shop) == {"a": (GTIN, None), "b": ("00012345678905", None), "c": (None, None)}


async def test_an_observation_without_a_barcode_leaves_the_one_that_is_known(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(barcode=EAN)), batch=1)
    await ingest(shop, seen(30, offer(4500)), seen(60, offer(6000, barcode="")), batch=1)
    assert await barcodes(shop) == {"a": (GTIN, None)}
    assert len(await points(shop)) == 3


@pytest.mark.parametrize("batch", [1, 10])
async def test_a_barcode_that_comes_later_is_stored_and_is_no_price_point(
    shop: asyncpg.Pool, batch: int
) -> None:
    await ingest(shop, seen(0, offer()), seen(30, offer(barcode=EAN)), batch=batch)
    assert await barcodes(shop) == {"a": (GTIN, None)}
    assert len(await points(shop)) == 1


@pytest.mark.parametrize("batch", [1, 10])
async def test_the_last_barcode_that_was_said_counts(shop: asyncpg.Pool, batch: int) -> None:
    said = [offer(barcode=EAN), offer(barcode="936"), offer(), offer(barcode=UPC)]
    stored = [(GTIN, None), (None, "936"), (None, "936"), ("00012345678905", None)]
    for number, each in enumerate(said):
        await ingest(shop, seen(30 * number, each), batch=batch)
        assert await barcodes(shop) == {"a": stored[number]}


async def test_an_older_observation_that_comes_late_changes_no_barcode(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(30, offer(barcode=EAN)))
    await ingest(shop, seen(0, offer(barcode=UPC)))
    assert await barcodes(shop) == {"a": (GTIN, None)}


async def test_offers_are_found_by_their_barcode(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(barcode=EAN)), seen(0, offer(barcode="936"), listing="2"))
    found = await shop.fetch("SELECT offer_id FROM offers WHERE barcode = $1", GTIN)
    assert [row["offer_id"] for row in found] == ["a"]
    index = await shop.fetchval("SELECT indexdef FROM pg_indexes WHERE indexname = 'offers_barcode'")
    assert "(barcode) WHERE (barcode IS NOT NULL)" in index


@pytest.mark.parametrize("text", ["936", "4006381333932", "n/a", "2" * 500])
async def test_a_text_that_is_no_gtin_is_an_issue_with_its_words(shop: asyncpg.Pool, text: str) -> None:
    await ingest(shop, seen(0, offer(barcode=text), offer(offer_id="b", barcode=EAN)), ended(0, "1"))
    (issue,) = await issues(shop, 10)
    assert (issue.severity, issue.listing_id, issue.offer_id) == ("info", "1", "a")
    assert issue.detail == {"barcode": text}
    # A crawl that is not told anything proves nothing.
    await ingest(shop, seen(30, offer(4500), offer(offer_id="b")), ended(30, "1"))
    assert len(await issues(shop, 40)) == 1
    await ingest(shop, seen(60, offer(barcode=UPC), offer(offer_id="b")), ended(60, "1"))
    assert await issues(shop, 70) == []
    assert len(find_rows((await dump(shop))["offers"], invalid_barcode=None)) == 2
