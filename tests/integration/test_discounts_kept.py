"""What is kept of discounts answers as the whole history does, whatever happens to the history."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import datetime, time, timedelta

import asyncpg
import msgspec
import pytest
from tests.ingest_shop import add_shop, at, ingest, offer, seen
from tests.integration.catalog_rows import NOW, Catalogue, days_ago

from skatestock.catalog import commands_discounts
from skatestock.catalog.commands_changes import Point, Touched, record_change, record_everything_changed
from skatestock.catalog.commands_discounts import read_out_next
from skatestock.catalog.commands_index import begin_build, build_next, follow_changes
from skatestock.catalog.discount_queries import Discounts, find_discounts
from skatestock.catalog.trend_queries import Chosen
from skatestock.database.pool import Connection

SHOPS, BRANDS, CATEGORIES = ("labor", "nj", "premier"), ("Quasi", "Baker", None), (1, 8, None)
AVAILABILITIES = ("in_stock", "in_stock", "out_of_stock", "unknown", "gone")

# The history itself, read from its beginning: one plain statement that knows of nothing kept.
PLAIN_EPISODES = """
WITH chosen AS (
    SELECT o.id FROM offers o JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id
    JOIN products p ON p.id = l.product_id
    LEFT JOIN brands b ON b.id = p.brand_id LEFT JOIN categories g ON g.id = p.category_id
    WHERE ($3::text[] IS NULL OR s.slug = ANY ($3)) AND ($4::text[] IS NULL OR b.slug = ANY ($4))
        AND ($5::text[] IS NULL OR g.slug = ANY ($5))
),
point AS (
    SELECT p.offer_id, p.observed_at, 'price_down' = ANY (p.changes) AS dropped,
           coalesce(p.compare_at_minor > p.price_minor, false) AND p.availability <> 'gone' AS discounted
    FROM chosen c JOIN price_points p ON p.offer_id = c.id WHERE p.observed_at <= $2
),
turned AS (
    SELECT *, lag(discounted) OVER (PARTITION BY offer_id ORDER BY observed_at) AS before FROM point
),
turn AS (
    SELECT offer_id, observed_at, discounted,
           lead(observed_at) OVER (PARTITION BY offer_id ORDER BY observed_at) AS ended_at
    FROM turned WHERE before IS NOT NULL AND before <> discounted
),
begun AS (SELECT observed_at, ended_at FROM turn WHERE discounted AND observed_at >= $1)
SELECT (SELECT count(*) FROM point WHERE dropped AND observed_at >= $1
        AND extract(isodow FROM observed_at AT TIME ZONE 'UTC') = w),
       (SELECT count(*) FROM begun WHERE extract(isodow FROM observed_at AT TIME ZONE 'UTC') = w),
       (SELECT count(ended_at) FROM begun) AS ended,
       (SELECT percentile_disc(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (
            ORDER BY extract(epoch FROM ended_at - observed_at)::bigint)
        FROM begun WHERE ended_at IS NOT NULL) AS quartiles
FROM generate_series(1, 7) AS w ORDER BY w"""
PLAIN_DEPTHS = """
SELECT CASE WHEN o.compare_at_minor > o.price_minor
           THEN least(9, 10 * (o.compare_at_minor - o.price_minor) / o.compare_at_minor) END AS bucket,
       count(*) AS offers
FROM offers o JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id
JOIN products p ON p.id = l.product_id
LEFT JOIN brands b ON b.id = p.brand_id LEFT JOIN categories g ON g.id = p.category_id
WHERE ($1::text[] IS NULL OR s.slug = ANY ($1)) AND ($2::text[] IS NULL OR b.slug = ANY ($2))
    AND ($3::text[] IS NULL OR g.slug = ANY ($3)) AND l.delisted_at IS NULL
    AND o.availability <> 'gone' AND o.price_minor IS NOT NULL GROUP BY 1"""


async def read_plainly(connection: Connection, chosen: Chosen) -> Discounts:
    filters = chosen.filters()
    days = await connection.fetch(PLAIN_EPISODES, chosen.since, chosen.until, *filters)
    depths = {row["bucket"]: row["offers"] for row in await connection.fetch(PLAIN_DEPTHS, *filters)}
    return Discounts(
        offers=sum(depths.values()),
        depths=tuple(depths.get(bucket, 0) for bucket in range(10)),
        weekdays=tuple((drops, begun) for drops, begun, *_ in days),
        ended=days[0]["ended"],
        quartiles_seconds=tuple(days[0]["quartiles"] or ()),
    )


def ask_for(now: datetime, days: int, **filters: tuple[str, ...]) -> Chosen:
    return Chosen(datetime.combine(now.date(), time(), now.tzinfo) - timedelta(days=days - 1), now, **filters)


QUESTIONS: tuple[dict[str, tuple[str, ...]], ...] = (
    {},
    {"shops": ("labor",)},
    {"shops": ("nj", "premier")},
    {"brands": ("quasi",)},
    {"categories": ("decks", "shoes")},
    {"shops": ("labor", "nj"), "brands": ("quasi", "baker"), "categories": ("decks",)},
    {"brands": ("nobody",)},
)


class Scene:
    """A small catalogue to which anything may happen, drawn by lot."""

    def __init__(self, pool: asyncpg.Pool, connection: Connection, seed: int) -> None:
        self.connection = connection
        self.now = NOW
        self._catalogue = Catalogue(pool)
        self._chance = random.Random(seed)
        self._happenings: tuple[Callable[[], Awaitable[None]], ...] = (
            *(self._add_point, self._add_point, self._take_point_back, self._correct_point),
            *(self._add_listing, self._regroup, self._remove_shop, self._rename_shop),
            *(self._let_time_pass, self._let_time_pass, self.read_out, self._build_anew),
        )

    async def begin(self) -> None:
        for slug in SHOPS:
            await self._catalogue.add_shop(slug)
        for _ in range(9):
            await self._write_listing()
        while await read_out_next(self.connection, self.now):
            pass

    async def happen(self) -> str:
        """Let one thing happen, and the index follow; tells which."""
        happening = self._chance.choice(self._happenings)
        await happening()
        while (followed := await follow_changes(self.connection)).more:
            if followed.rebuild:
                await begin_build(self.connection, anew=False)
                while not (await build_next(self.connection)).done:
                    pass
        return happening.__name__

    def draw_days(self) -> int:
        """Draw a window."""
        return self._chance.choice((1, 7, 30, 90))

    async def read_out(self) -> None:
        """Read out some steps, often all of them."""
        for _ in range(self._chance.choice((1, 3, 200))):
            if await read_out_next(self.connection, self.now) is None:
                break

    async def _write_listing(self) -> int | None:
        shop = await self._draw("SELECT id FROM shops")
        if shop is None:
            return None
        product = await self._catalogue.add_product(
            "Deck", brand=self._chance.choice(BRANDS), category=self._chance.choice(CATEGORIES)
        )
        listing = await self._catalogue.add_listing(product, shop)
        await self.connection.execute(
            "UPDATE listings SET first_seen_at = $1 WHERE id = $2", days_ago(100), listing
        )
        # sizes of a listing often move together
        together = [self._moment() for _ in range(6)]
        for _ in range(self._chance.choice((1, 3))):
            price, compare_at = self._price()
            offer = await self._catalogue.add_offer(
                listing, price, compare_at, self._chance.choice(AVAILABILITIES)
            )
            for moment in {self._chance.choice((self._moment(), *together)) for _ in range(9)}:
                await self._write_point(offer, moment)
        return listing

    async def _write_point(self, offer: int, at: datetime) -> None:
        changes = self._chance.choice((("price_down",), ("price_up", "out_of_stock"), ("first_seen",)))
        await self.connection.execute(
            "INSERT INTO price_points VALUES ($1, $2, $3, $4, $5, $6, 'c') ON CONFLICT DO NOTHING",
            *(offer, at, *self._price(), self._chance.choice(AVAILABILITIES), list(changes)),
        )

    async def _add_listing(self) -> None:
        if (listing := await self._write_listing()) is not None:
            await self._record(Touched(new_listing_ids=[listing]))

    async def _add_point(self) -> None:
        points = []
        for _ in range(self._chance.choice((1, 4))):
            if (offer := await self._draw("SELECT id FROM offers")) is not None:
                points.append(Point(offer, self._moment()))
                await self._write_point(*points[-1])
        await self._record(Touched(points=points))

    async def _take_point_back(self) -> None:
        if (point := await self._draw_point()) is not None:
            await self.connection.execute(
                "DELETE FROM price_points WHERE offer_id = $1 AND observed_at = $2", *point
            )
            await self._record(Touched(points=[point]))

    async def _correct_point(self) -> None:
        if (point := await self._draw_point()) is not None:
            await self.connection.execute(
                "UPDATE price_points SET price_minor = $3, compare_at_minor = $4, availability = $5 "
                "WHERE offer_id = $1 AND observed_at = $2",
                *(*point, *self._price(), self._chance.choice(AVAILABILITIES)),
            )
            await self._record(Touched(points=[point]))

    async def _regroup(self) -> None:
        product = await self._draw("SELECT id FROM products")
        await self.connection.execute(
            "UPDATE products SET category_id = $2, brand_id = (SELECT min(id) FROM brands) WHERE id = $1",
            product,
            self._chance.choice(CATEGORIES),
        )
        await self._record(Touched(product_ids=[] if product is None else [product]))

    async def _remove_shop(self) -> None:
        if self._chance.random() < 0.3:
            shop = await self._draw("SELECT id FROM shops")
            await self.connection.execute("DELETE FROM listings WHERE shop_id = $1", shop)
            await self.connection.execute("DELETE FROM shops WHERE id = $1", shop)
            # new listings are named by how many there are
            await self.connection.execute("UPDATE listings SET listing_id = 'R' || id")

    async def _rename_shop(self) -> None:
        async with self.connection.transaction():
            await record_everything_changed(self.connection)

    async def _let_time_pass(self) -> None:
        self.now += self._chance.choice((timedelta(minutes=20), timedelta(hours=7), timedelta(days=2)))

    async def _build_anew(self) -> None:
        await begin_build(self.connection)

    async def _record(self, touched: Touched) -> None:
        async with self.connection.transaction():
            await record_change(self.connection, touched)

    async def _draw(self, statement: str) -> int | None:
        ids = [row[0] for row in await self.connection.fetch(f"{statement} ORDER BY id")]
        return self._chance.choice(ids) if ids else None

    async def _draw_point(self) -> Point | None:
        rows = await self.connection.fetch("SELECT offer_id, observed_at FROM price_points ORDER BY 1, 2")
        return Point(*self._chance.choice(rows)) if rows else None

    def _moment(self) -> datetime:
        """Draw a moment of the last hundred days, often one at the border of what is kept or of a day."""
        far = timedelta(seconds=self._chance.randrange(100 * 86400))
        near = timedelta(minutes=self._chance.randrange(40))
        midnight = datetime.combine(self.now.date(), time(), self.now.tzinfo)
        return self._chance.choice(
            (self.now - far, self.now - far, self.now - near, midnight - far // 86400 * 86400)
        ).replace(microsecond=0)

    def _price(self) -> tuple[int, int | None]:
        return self._chance.choice((1000, 2000, 3000)), self._chance.choice((None, None, 2500, 4000))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("most_listings", [1000, 0])
async def test_whatever_happens_what_is_kept_answers_as_the_history(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, most_listings: int, seed: int
) -> None:
    monkeypatch.setattr(commands_discounts, "_MOST_LISTINGS", most_listings)
    async with pool.acquire() as connection:
        scene = Scene(pool, connection, seed)
        await scene.begin()
        assert await connection.fetchval("SELECT count(*) FROM discount_ends") > 0
        for _ in range(14):
            happened = await scene.happen()
            for filters in QUESTIONS:
                chosen = ask_for(scene.now, scene.draw_days(), **filters)
                answer = await find_discounts(connection, chosen)
                assert answer == await read_plainly(connection, chosen), (happened, chosen)


class Interrupted:
    """A connection on which something else happens just when what is read was announced and has begun."""

    def __init__(self, connection: Connection, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._connection = connection
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    async def fetchrow(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        row = await self._connection.fetchrow(statement, *arguments)
        if "force_custom_plan" in statement:
            await self._meanwhile()
        return row


async def add_discounted_deck(catalogue: Catalogue) -> int:
    """Add an offer that was on sale for two days, a week ago."""
    listing = await catalogue.add_listing(
        await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
    )
    offer = await catalogue.add_offer(listing, 4000)
    for days, compare_at in ((20, None), (9, 5000), (7, None)):
        await catalogue.add_point(offer, days_ago(days), 4000, compare_at)
    return offer


async def test_a_point_that_comes_while_its_time_is_read_has_it_read_again(pool: asyncpg.Pool) -> None:
    catalogue = Catalogue(pool)
    offer = await add_discounted_deck(catalogue)

    async def come_late() -> None:
        await catalogue.add_point(offer, days_ago(8), 4000)
        async with pool.acquire() as connection:
            async with connection.transaction():
                await record_change(connection, Touched(points=[Point(offer, days_ago(8))]))
            await follow_changes(connection)

    async with pool.acquire() as connection:
        while await read_out_next(connection, days_ago(8.5)):
            pass
        with pytest.raises(asyncpg.SerializationError):
            await read_out_next(Interrupted(connection, come_late), NOW)  # type: ignore[arg-type] # stands in
        while await read_out_next(connection, NOW):
            pass
        ended = await connection.fetch("SELECT began_at, ended_at FROM discount_ends")
    assert [tuple(row) for row in ended] == [(days_ago(9), days_ago(8))]


async def test_what_is_read_is_not_disturbed_by_what_happens_now(pool: asyncpg.Pool) -> None:
    catalogue = Catalogue(pool)
    offer = await add_discounted_deck(catalogue)

    async def come_now() -> None:
        await catalogue.add_point(offer, NOW, 3000)
        async with pool.acquire() as connection:
            async with connection.transaction():
                await record_change(connection, Touched(points=[Point(offer, NOW)]))
            await follow_changes(connection)

    async with pool.acquire() as connection:
        done = await read_out_next(Interrupted(connection, come_now), NOW)  # type: ignore[arg-type] # stands in
    assert done is not None
    assert done.until == days_ago(19)


async def test_steps_tell_how_far_they_are_and_end_before_the_present(pool: asyncpg.Pool) -> None:
    await add_discounted_deck(Catalogue(pool))
    async with pool.acquire() as connection:
        steps = []
        while (step := await read_out_next(connection, NOW)) is not None:
            steps.append(step)
        assert [step.days_left for step in steps] == [19, 8, 6, 0]
        assert steps[-1].until == NOW - timedelta(minutes=15)
        soon = NOW + timedelta(minutes=14)
        assert await read_out_next(connection, soon) is None
        later = await read_out_next(connection, NOW + timedelta(minutes=15))
    assert later is not None
    assert later.until == NOW


async def test_what_no_window_reaches_any_more_is_forgotten(pool: asyncpg.Pool) -> None:
    await add_discounted_deck(Catalogue(pool))
    count = "SELECT (SELECT count(*) FROM discount_moves) + (SELECT count(*) FROM discount_ends)"
    async with pool.acquire() as connection:
        while await read_out_next(connection, NOW):
            pass
        # three price drops, at one of which a discount began, and one that ended
        assert await connection.fetchval(count) == 4
        for days, kept in ((71, 3), (85, 0)):
            while await read_out_next(connection, NOW + timedelta(days=days)):
                pass
            assert await connection.fetchval(count) == kept


async def test_a_discount_that_a_newer_parser_does_not_see_was_never_there(pool: asyncpg.Pool) -> None:
    await add_shop(pool)
    wrong = seen(10, offer(5000, compare=7000))
    right = msgspec.structs.replace(
        wrong, offers=seen(10).offers, parser_version=2, fingerprint=b"\2" + wrong.fingerprint[1:]
    )
    await ingest(pool, seen(0), wrong)
    async with pool.acquire() as connection:
        await follow_changes(connection)
        now = at(24 * 60)
        while await read_out_next(connection, now):
            pass
        chosen = ask_for(now, 2)
        assert sum(begun for _, begun in (await find_discounts(connection, chosen)).weekdays) == 1
        await ingest(pool, right)
        await follow_changes(connection)
        found = await find_discounts(connection, chosen)
        assert sum(begun for _, begun in found.weekdays) == 0
        assert found == await read_plainly(connection, chosen)
