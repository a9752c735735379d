"""`skatestock shops` and `status`: what there is, and how it stands."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from skatestock.catalog.crawl_queries import Freshness, ShopStatus, fetch_shop_statuses
from skatestock.cli.app import UNAVAILABLE
from skatestock.cli.options import Data, Json, settings_from
from skatestock.cli.platform import Platform, get_database_url, open_platform
from skatestock.crawl.shops import load_shops
from skatestock.embedded.process_records import FolderProcesses, find_processes
from skatestock.eventlog.dead_letters import count_dead_letters
from skatestock.ingest.consumer import GROUP, TOPIC
from skatestock.jobs.queries import fetch_now
from skatestock.vocabulary.time import format_moment

_STATE_COLOURS = {Freshness.FRESH: "green", Freshness.STALE: "yellow", Freshness.DISABLED: "dim"}


def shops(*, as_json: Json = False, data: Data = None) -> int:
    """List the shops that are watched, as their file describes them."""
    found = load_shops(settings_from(data).shops_file)
    if as_json:
        _print_json([msgspec.to_builtins(shop) for shop in found])
        return 0
    table = Table("slug", "name", "where", "address", "platform", "currency", "every")
    for shop in found:
        where = ", ".join(part for part in (shop.city, shop.region) if part)
        every = f"{shop.crawl_every_seconds // 60} min" if shop.crawl_every_seconds >= 60 else "1 min"
        table.add_row(shop.slug, shop.name, where, shop.url, shop.platform, shop.currency, every)
    Console().print(table)
    return 0


async def status(*, as_json: Json = False, data: Data = None) -> int:
    """Show what runs, how each shop stands, how far ingest is behind, and what needs a person.

    Exit code 3 when nothing runs and no database is configured.
    """
    settings = settings_from(data)
    processes = find_processes(settings.data_folder)
    get_database_url(settings)
    async with open_platform(settings, "status", interactive=True, pool_size=2) as platform:
        described = await _describe(platform)
    described["processes"] = _describe_processes(processes)
    if as_json:
        _print_json(described)
    else:
        _print_status(described)
    return 0 if processes is None or processes.supervised else UNAVAILABLE


async def _describe(platform: Platform) -> dict[str, Any]:
    lag = await platform.log.fetch_lag(GROUP, TOPIC)
    async with platform.pool.acquire() as connection:
        now = await fetch_now(connection)
        shop_statuses = await fetch_shop_statuses(connection)
        letters = await count_dead_letters(connection)
    return {
        "at": format_moment(now),
        "shops": [_describe_shop(shop, now) for shop in shop_statuses],
        "lag": {str(partition.partition): partition.lag for partition in lag},
        "dead_letters_waiting": sum(count.letters for count in letters if count.state == "waiting"),
    }


def _describe_shop(shop: ShopStatus, now: datetime) -> dict[str, Any]:
    described = {
        name: format_moment(value) if isinstance(value, datetime) else value
        for name, value in shop._asdict().items()
    }
    age = None if shop.last_complete_at is None else int((now - shop.last_complete_at).total_seconds())
    return described | {"state": shop.freshness(now).value, "seconds_since_complete": age}


def _describe_processes(processes: FolderProcesses | None) -> list[dict[str, Any]]:
    if processes is None:
        return []
    return [msgspec.to_builtins(child) for child in processes.children]


def _print_status(described: dict[str, Any]) -> None:
    console = Console()
    if described["processes"]:
        console.print(_process_table(described["processes"]))
    console.print(_shop_table(described["shops"]))
    lag = sum(described["lag"].values())
    console.print(f"event log: {lag} records wait for ingest" if lag else "event log: everything is stored")
    letters = described["dead_letters_waiting"]
    if letters:
        console.print(f"[yellow]{letters} dead letters wait[/]: `skatestock deadletters list`")
    else:
        console.print("no dead letters")


def _process_table(processes: Sequence[dict[str, Any]]) -> Table:
    table = Table("process", "state", "pid", "restarts", "address", title="What runs")
    for child in processes:
        table.add_row(
            child["name"],
            child["state"],
            str(child["pid"] or ""),
            str(child["restarts"]),
            child["address"] or "",
        )
    return table


def _shop_table(shop_rows: Sequence[dict[str, Any]]) -> Table:
    if not shop_rows:
        return Table(title="No shop was crawled yet")
    table = Table("shop", "state", "last complete crawl", "last crawl", "listings", "in stock", "rejected")
    for shop in shop_rows:
        colour = _STATE_COLOURS.get(Freshness(shop["state"]), "dim")
        age = shop["seconds_since_complete"]
        table.add_row(
            shop["slug"] + (" [dim](demo)[/]" if shop["demo"] else ""),
            f"[{colour}]{shop['state']}[/]",
            "never" if age is None else f"{timedelta(seconds=age)} ago",
            " ".join(part for part in (shop["last_reason"], shop["last_detail"]) if part) or "running",
            str(shop["listings"]),
            str(shop["offers_in_stock"]),
            str(shop["rejected"]),
        )
    return table


def _print_json(value: object) -> None:
    print(msgspec.json.encode(value).decode())  # noqa: T201 - this is the output a script reads
