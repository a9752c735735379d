"""`skatestock shops`: which shops are watched and how each stands; adding, checking, disabling, enabling."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.markup import escape

from skatestock.catalog.commands import ensure_shops
from skatestock.catalog.commands_shops import add_shop, disable_shop, enable_shop
from skatestock.catalog.crawl_queries import fetch_shop_statuses
from skatestock.catalog.freshness import Freshness
from skatestock.cli.crawling import KIND, job_of
from skatestock.cli.errors import FAILED, INCOMPLETE, UsageError, find_failure
from skatestock.cli.options import Data, Json, flag, settings_from
from skatestock.cli.overview import STATE_COLOURS, describe_shop
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, Platform, complete_settings, open_platform
from skatestock.cli.shop_list import (
    WatchedShops,
    define_shop,
    fetch_watched_shops,
    join_shops,
    shop_records,
)
from skatestock.cli.shop_probes import (
    ShopCheck,
    check_one,
    describe_discovery,
    discover,
    make_slug,
    print_discovery,
    read_url,
)
from skatestock.cli.terminal import Terminal, format_age, make_table, print_json
from skatestock.crawl.session import crawling_reactor
from skatestock.crawl.shops import Shop, get_shop, load_shops
from skatestock.database.pool import Connection
from skatestock.database.transactions import transaction
from skatestock.jobs.commands import ensure_jobs, switch_job
from skatestock.jobs.queries import fetch_now, find_jobs
from skatestock.settings import Settings
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.identifiers import check_slug
from skatestock.vocabulary.money import check_currency
from skatestock.vocabulary.time import format_moment
from skatestock.vocabulary.titles import TitleHabit

AllowPrivate = Annotated[
    bool,
    flag("Allow an address inside your own network, such as a replica's.", name="--allow-private"),
]

app = App(
    name="shops",
    help="List the shops that are watched; add, check, disable and enable them, and see how each stands.",
    help_format="markdown",
)


@app.default
async def list_shops(*, as_json: Json = False, data: Data = None) -> int:
    """List the shops that are watched: those of the file, and those that were added by command."""
    watched = await _find_watched(settings_from(data))
    if as_json:
        print_json(
            [msgspec.to_builtins(shop) | {"added": shop.slug in watched.added} for shop in watched.shops]
        )
        return 0
    table = make_table("slug", "name", "where", "address", "every")
    table.columns[3].no_wrap = True
    for shop in watched.shops:
        where = ", ".join(part for part in (shop.city, shop.region) if part)
        marks = [word for word, is_so in _marks(shop, watched) if is_so]
        name = escape(shop.name) + (f" [dim]({', '.join(marks)})[/]" if marks else "")
        every = format_age(shop.crawl_every_seconds)
        table.add_row(shop.slug, name, escape(where), escape(shop.url), every)
    Terminal().print(table)
    for slug in watched.shadowed:
        Terminal(stderr=True).say(
            f"[yellow]{slug}[/] was added by command, but the file names it too: it wins."
        )
    return 0


@app.command
async def add(
    url: str,
    /,
    *,
    slug: Annotated[
        str | None, Parameter(help="Its name in tables and addresses; from its address else.")
    ] = None,
    name: Annotated[str | None, Parameter(help="Its name for people; what its pages say else.")] = None,
    currency: Annotated[str | None, Parameter(help="ISO 4217 code, where its pages name none.")] = None,
    title_habit: Annotated[
        TitleHabit | None,
        Parameter(help="How it writes titles, as docs/DATA_SOURCES.md calls it; what its titles show else."),
    ] = None,
    vendor_is_shop: Annotated[
        list[str] | None,
        Parameter(help="A name in the vendor field that is the shop itself; what is found else."),
    ] = None,
    every_seconds: Annotated[
        int, Parameter(help="Seconds between two crawls.", validator=Number(gte=60, lte=604800))
    ] = 1800,
    yes: Annotated[bool, flag("Store it without asking.", name="--yes")] = False,
    dry_run: Annotated[bool, flag("Look at it only; store nothing.", name="--dry-run")] = False,
    allow_private: AllowPrivate = False,
    as_json: Json = False,
    data: Data = None,
) -> int:
    """Find out what a shop is, show what is understood of it, ask, and have it crawled from then on.

    Parameters
    ----------
    url
        Where the shop begins, such as `https://shop.example`.
    """
    if not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
        raise UsageError("nobody can be asked here: say --yes to add the shop, or --dry-run to look at it")
    address = read_url(url)
    slug = _checked(slug or make_slug(address), currency)
    async with _open(settings_from(data)) as platform:
        longest = platform.settings.crawl_longest_seconds
        await _check_new(platform, slug, address)
        wishes: dict[str, Any] = {"slug": slug, "name": name, "currency": currency}
        wishes |= {"title_habit": title_habit, "crawl_every_seconds": every_seconds}
        wishes["vendor_is_shop"] = None if vendor_is_shop is None else tuple(vendor_is_shop)
        found, seconds = await discover(platform, address, wishes, allow_private=allow_private)
        # It may have led to the same shop's address with or without `www.`.
        await _check_new(platform, slug, found.shop.url)
        if not as_json:
            print_discovery(found, seconds, longest)
        stores = not dry_run and (yes or await _confirm())
        if stores:
            await _store(platform, found.shop, allow_private=allow_private)
    _print_added(slug, describe_discovery(found, seconds, longest), stored=stores, as_json=as_json)
    return 0 if stores or dry_run else FAILED


@app.command
async def check(
    *slugs: str, allow_private: AllowPrivate = False, as_json: Json = False, data: Data = None
) -> int:
    """Look at shops without storing anything: robots.txt, one page, currency, and whether they are readable.

    Parameters
    ----------
    slugs
        Shops to check, such as `labor nj`, or all; `skatestock shops` lists them.
    """
    async with _open(settings_from(data)) as platform:
        async with platform.pool.acquire() as connection:
            watched = await fetch_watched_shops(connection, platform.settings)
        wanted = [get_shop(watched.shops, slug) for slug in slugs] or list(watched.shops)
        guarded = frozenset() if allow_private else watched.public_only
        checks = await asyncio.gather(
            *(check_one(platform, shop, public_only=shop.slug in guarded) for shop in wanted)
        )
    if as_json:
        print_json(checks)
    else:
        _print_checks(checks)
    return 0 if all(one.ok for one in checks) else INCOMPLETE


@app.command
async def disable(slug: str, /, *, data: Data = None) -> int:
    """Crawl a shop no more until it is enabled; what is known of it stays.

    Parameters
    ----------
    slug
        The shop; `skatestock shops` lists them.
    """
    async with (
        _open(settings_from(data), reactor=False) as platform,
        transaction(platform.pool) as connection,
    ):
        await _set_up(connection, platform.settings, slug)
        now = await fetch_now(connection)
        await switch_job(connection, job_of(slug), now, enabled=False)
        changed = await disable_shop(connection, slug, now, "operator")
    Terminal().say(f"{slug} is disabled." if changed else f"{slug} was disabled already.")
    return 0


@app.command
async def enable(slug: str, /, *, data: Data = None) -> int:
    """Crawl a shop again that was disabled, by whomever, from now on.

    Parameters
    ----------
    slug
        The shop; `skatestock shops` lists them.
    """
    async with (
        _open(settings_from(data), reactor=False) as platform,
        transaction(platform.pool) as connection,
    ):
        await _set_up(connection, platform.settings, slug)
        await switch_job(connection, job_of(slug), await fetch_now(connection), enabled=True)
        changed = await enable_shop(connection, slug)
    Terminal().say(f"{slug} is enabled." if changed else f"{slug} was not disabled.")
    return 0


@app.command
async def health(*, as_json: Json = False, data: Data = None) -> int:
    """Show how each shop stands: its state, since when, why, and when it is crawled next."""
    async with _open(settings_from(data), reactor=False) as platform, platform.pool.acquire() as connection:
        now = await fetch_now(connection)
        due_at = {job.job: job.due_at for job in await find_jobs(connection, KIND) if job.enabled}
        rows = []
        for status in await fetch_shop_statuses(connection):
            due = due_at.get(job_of(status.slug)) if status.disabled_because != "operator" else None
            row = describe_shop(status, now)
            row["next_crawl_at"] = None if due is None or not status.enabled else format_moment(due)
            row["seconds_to_next"] = None if due is None else max(0, int((due - now).total_seconds()))
            rows.append(row)
    if as_json:
        print_json(rows)
    else:
        _print_health(rows)
    return 0


@asynccontextmanager
async def _open(settings: Settings, *, reactor: bool = True) -> AsyncGenerator[Platform]:
    async with open_platform(
        settings,
        "shops",
        interactive=True,
        needs_log=False,
        pool_size=2,
        patience_seconds=SHORT_PATIENCE_SECONDS,
    ) as platform:
        if not reactor:
            yield platform
            return
        async with crawling_reactor():
            yield platform


async def _find_watched(settings: Settings) -> WatchedShops:
    """Find the shops; without a database, or with none that answers, those of the file."""
    from_file = load_shops(settings.shops_file)
    if complete_settings(settings).database_url is None:
        return join_shops(from_file, ())
    try:
        async with _open(settings, reactor=False) as platform, platform.pool.acquire() as connection:
            return await fetch_watched_shops(connection, settings)
    except Exception as error:
        failure = find_failure(error)
        if failure is None:
            raise
        Terminal(stderr=True).say(f"[yellow]only the shops of the file:[/] {escape(failure.message)}")
        return join_shops(from_file, ())


def _marks(shop: Shop, watched: WatchedShops) -> Sequence[tuple[str, bool]]:
    added, resting = shop.slug in watched.added, shop.slug in watched.resting
    return (("demo", shop.demo), ("added", added), ("disabled", resting))


def _checked(slug: str, currency: str | None) -> str:
    try:
        check_slug(slug)
        if currency is not None:
            check_currency(currency)
    except InvalidValueError as error:
        raise UsageError(str(error)) from error
    return slug


async def _check_new(platform: Platform, slug: str, url: str) -> None:
    """Raise UsageError if the shop is watched already."""
    async with platform.pool.acquire() as connection:
        watched = await fetch_watched_shops(connection, platform.settings)
    for shop in watched.shops:
        if shop.url == url:
            raise UsageError(f"{url} is watched already, as {shop.slug!r}")
        if shop.slug == slug:
            raise UsageError(f"the slug {slug!r} is that of {shop.url}; choose another with --slug")


async def _store(platform: Platform, shop: Shop, *, allow_private: bool) -> None:
    (record,) = shop_records([shop])
    async with transaction(platform.pool) as connection:
        jobs = {job_of(shop.slug): shop.crawl_every_seconds}
        await ensure_jobs(connection, KIND, jobs, await fetch_now(connection))
        await add_shop(connection, record, define_shop(shop, allow_private=allow_private))


async def _set_up(connection: Connection, settings: Settings, slug: str) -> None:
    """See to it that a shop which was never crawled has its rows; raises ShopsFileError for no such shop."""
    watched = await fetch_watched_shops(connection, settings)
    shop = get_shop(watched.shops, slug)
    await ensure_jobs(connection, KIND, {job_of(slug): shop.crawl_every_seconds}, await fetch_now(connection))
    await ensure_shops(connection, shop_records([shop]))


async def _confirm() -> bool:
    answer = await asyncio.to_thread(Terminal().input, "Add this shop? [y/N] ")
    return answer.strip().casefold() in ("y", "yes")


def _print_added(slug: str, described: dict[str, Any], *, stored: bool, as_json: bool) -> None:
    if as_json:
        print_json(described | {"stored": stored})
    else:
        Terminal().say(f"{slug} is crawled from now on." if stored else "Nothing was stored.")


def _print_checks(checks: Sequence[ShopCheck]) -> None:
    table = make_table("shop", "is", "currency", "listings", "requests", "what was found")
    for one in checks:
        mark = "[green]readable[/]" if one.ok else "[red]not readable[/]"
        listings = "" if one.listings is None else str(one.listings)
        table.add_row(
            one.slug, mark, one.currency_found or "-", listings, str(one.requests), escape(one.detail)
        )
    Terminal().print(table)


def _print_health(rows: Sequence[dict[str, Any]]) -> None:
    table = make_table("shop", "state", "seen whole", "failed", "next crawl", "why")
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    for row in rows:
        colour = STATE_COLOURS.get(Freshness(row["state"]), "dim")
        age, due = row["seconds_since_complete"], row["seconds_to_next"]
        table.add_row(
            row["slug"],
            f"[{colour}]{row['state']}[/]",
            "never" if age is None else f"{format_age(age)} ago",
            f"{row['failures']} times" if row["failures"] else "",
            "none" if row["next_crawl_at"] is None else ("now" if due == 0 else f"in {format_age(due)}"),
            escape(_why(row)),
        )
    Terminal().print(table)


def _why(row: dict[str, Any]) -> str:
    if row["disabled_because"] == "operator":
        return f"disabled by command on {row['disabled_at'][:10]}"
    last = ": ".join(part for part in (row["last_reason"], row["last_detail"]) if part)
    if row["disabled_because"] == "failing":
        return f"disabled on {row['disabled_at'][:10]}, tried once a day; {last}"
    return "" if row["state"] == "fresh" else last
