"""`skatestock status`: what there is, and how it stands."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.markup import escape
from rich.table import Table

from skatestock.catalog.crawl_queries import ShopStatus, fetch_shop_statuses
from skatestock.catalog.freshness import Freshness
from skatestock.catalog.index_queries import find_index_lag
from skatestock.catalog.quality_queries import QualityFilter, count_quality_issues
from skatestock.cli.errors import UNAVAILABLE, find_failure
from skatestock.cli.event_log import describe_servers
from skatestock.cli.options import Data, Json, settings_from
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, Platform, get_database_url, open_platform
from skatestock.cli.quality import describe_open_issues, say_open_issues
from skatestock.cli.terminal import PROCESS_COLOURS, Terminal, count_of, format_age, make_table, print_json
from skatestock.embedded.children import ChildState
from skatestock.embedded.process_records import FolderProcesses, find_processes
from skatestock.eventlog.dead_letters import count_dead_letters
from skatestock.eventlog.errors import EventLogError
from skatestock.eventlog.port import TABLES
from skatestock.events.versions import EVENTS
from skatestock.ingest.consumer import GROUP, TOPIC
from skatestock.jobs.queries import fetch_now
from skatestock.settings import Settings
from skatestock.vocabulary.time import format_moment

STATE_COLOURS = {
    Freshness.FRESH: "green",
    Freshness.STALE: "yellow",
    Freshness.BLOCKED: "red",
    Freshness.FAILING: "red",
    Freshness.DISABLED: "dim",
}
"""How a shop stands, as a colour; dim for any other state."""


async def status(*, as_json: Json = False, data: Data = None) -> int:
    """Show what runs, how each shop stands, how far ingest is behind, and what needs a person.

    Exit code 3 when nothing runs and no database is configured, or when the database does not answer.
    """
    settings = settings_from(data)
    processes = find_processes(settings.data_folder)
    get_database_url(settings)
    described: dict[str, Any] = {"processes": _describe_processes(processes)}
    try:
        described |= await _look(settings)
    except Exception as error:
        # What runs is worth showing all the more when the database is away.
        failure = find_failure(error)
        if failure is None or not described["processes"]:
            raise
        described["error"] = failure.message
    if as_json:
        print_json(described)
    else:
        _print_status(described)
    return UNAVAILABLE if "error" in described else 0


async def _look(settings: Settings) -> dict[str, Any]:
    patience = SHORT_PATIENCE_SECONDS
    async with open_platform(
        settings, "status", interactive=True, needs_log=False, pool_size=2, patience_seconds=patience
    ) as platform:
        return await _describe(platform) | await _describe_log(platform)


async def _describe(platform: Platform) -> dict[str, Any]:
    async with platform.pool.acquire() as connection:
        now = await fetch_now(connection)
        shop_statuses = await fetch_shop_statuses(connection)
        letters = await count_dead_letters(connection)
        issues = await count_quality_issues(connection, QualityFilter())
        index = await find_index_lag(connection)
    return {
        "at": format_moment(now),
        "shops": [describe_shop(shop, now) for shop in shop_statuses],
        "index": {**index._asdict(), "behind_seconds": round(max(0.0, index.behind_seconds), 1)},
        "quality": describe_open_issues(issues),
        "dead_letters_waiting": sum(count.letters for count in letters if count.state == "waiting"),
        "dead_letters_unsent": sum(count.unsent for count in letters if count.log != TABLES),
    }


async def _describe_log(platform: Platform) -> dict[str, Any]:
    """Describe the event log; when Kafka or its registry is away, the rest is worth showing all the more."""
    described: dict[str, Any] = {"log": {"servers": describe_servers(platform.settings)}, "lag": {}}
    try:
        lag = await platform.log.fetch_lag(GROUP, TOPIC)
        described["lag"] = {str(partition.partition): partition.lag for partition in lag}
        described["log"]["partitions"] = [msgspec.to_builtins(partition) for partition in lag]
        if platform.registry is not None:
            found = [await platform.registry.find_registration(event) for event in EVENTS]
            described["log"]["schemas"] = [
                {"subject": one.subject, "version": one.version, "id": one.schema_id}
                for one in found
                if one is not None
            ]
    except EventLogError as error:
        described["log"]["error"] = str(error)
    return described


def describe_shop(shop: ShopStatus, now: datetime) -> dict[str, Any]:
    """Say how a shop stands, for scripts."""
    described = {
        name: format_moment(value) if isinstance(value, datetime) else value
        for name, value in shop._asdict().items()
    }
    age = None if shop.last_complete_at is None else int((now - shop.last_complete_at).total_seconds())
    state = shop.freshness(now)
    return described | {"state": state.value, "seconds_since_complete": age}


def _describe_processes(processes: FolderProcesses | None) -> list[dict[str, Any]]:
    if processes is None or not processes.supervised:
        return []
    return [msgspec.to_builtins(child) for child in processes.children]


def _print_status(described: dict[str, Any]) -> None:
    terminal = Terminal()
    if described["processes"]:
        terminal.print(_process_table(described["processes"]), "")
    if "error" in described:
        terminal.say(f"[red]no word from the database:[/] {escape(described['error'])}")
        return
    if described["shops"]:
        terminal.print(_shop_table(described["shops"]), "")
        _print_given_up(terminal, described["shops"])
    else:
        terminal.say("No shop was crawled yet.")
    _print_log(terminal, described["log"], sum(described["lag"].values()))
    terminal.say(f"product index {_say_index(described['index'])}")
    letters = described["dead_letters_waiting"]
    waits = "1 waits" if letters == 1 else f"{letters} wait"
    waiting = f"[yellow]{waits}[/]: `skatestock deadletters list`" if letters else "none wait"
    unsent = described["dead_letters_unsent"]
    underway = f"; {unsent} not yet in their topic" if unsent else ""
    terminal.say(f"dead letters  {waiting}{underway}")
    terminal.say(f"data quality  {say_open_issues(described['quality'])}")


def _say_index(index: Mapping[str, Any]) -> str:
    waiting = index["position"] - index["indexed"]
    if not index["version"]:
        return "[yellow]was never built[/]: `skatestock index` builds it"
    building = "is being built anew; " if index["building"] else ""
    if not waiting:
        return f"{building}shows everything"
    age = format_age(index["behind_seconds"])
    return f"{building}[yellow]{count_of(waiting, 'change')} behind[/], the oldest for {age}"


def _print_given_up(terminal: Terminal, shop_rows: Sequence[dict[str, Any]]) -> None:
    for shop in shop_rows:
        if shop["disabled_because"] == "failing":
            terminal.say(
                f"[red]{shop['slug']} was disabled[/] on {shop['disabled_at'][:10]} after {shop['failures']} "
                "crawls in a row that were not complete; it is tried once a day: `skatestock shops health`"
            )


def _print_log(terminal: Terminal, log: Mapping[str, Any], lag: int) -> None:
    partitions, schemas = log.get("partitions", []), log.get("schemas", [])
    if partitions:
        terminal.print(_partition_table(partitions), "")
    terminal.say(f"event log     {log['servers']['event_log']}")
    if "error" in log:
        terminal.say(f"              [red]{escape(log['error'])}[/]")
        return
    terminal.say(
        f"              {lag} records wait for ingest" if lag else "              everything is stored"
    )
    for schema in schemas:
        terminal.say(f"schema        {schema['subject']}, version {schema['version']}, id {schema['id']}")


def _partition_table(partitions: Sequence[dict[str, Any]]) -> Table:
    table = make_table("topic", "partition", "stored to", "end", "lag", title="Event log")
    for one in partitions:
        lag = max(0, one["end_offset"] - one["next_offset"])
        place = (str(one["partition"]), str(one["next_offset"]), str(one["end_offset"]))
        table.add_row(one["topic"], *place, f"[yellow]{lag}[/]" if lag else "0")
    return table


def _process_table(processes: Sequence[dict[str, Any]]) -> Table:
    table = make_table("process", "state", "pid", "restarts", "address", title="What runs")
    for child in processes:
        colour = PROCESS_COLOURS.get(ChildState(child["state"]), "dim")
        table.add_row(
            child["name"],
            f"[{colour}]{child['state'].replace('_', ' ')}[/]",
            str(child["pid"] or ""),
            str(child["restarts"] or ""),
            child["address"] or "",
        )
    return table


def _shop_table(shop_rows: Sequence[dict[str, Any]]) -> Table:
    columns = ("shop", "state", "seen whole", "last crawl", "listings", "in stock", "rejected")
    table = make_table(*columns, title="Shops")
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    for shop in shop_rows:
        colour = STATE_COLOURS.get(Freshness(shop["state"]), "dim")
        age = shop["seconds_since_complete"]
        last = ": ".join(part for part in (shop["last_reason"], shop["last_detail"]) if part)
        table.add_row(
            shop["slug"] + (" [dim](demo)[/]" if shop["demo"] else ""),
            f"[{colour}]{shop['state'].replace('_', ' ')}[/]",
            "never" if age is None else f"{format_age(age)} ago",
            escape(last) or ("-" if shop["last_crawl_at"] is None else "under way"),
            str(shop["listings"]),
            str(shop["offers_in_stock"]),
            str(shop["rejected"]),
        )
    return table
