"""`skatestock schemas`: the events' schemas, their versions, and the registry that gives them ids."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from cyclopts import App
from rich.markup import escape

from skatestock.cli.errors import FAILED, NothingRunsError
from skatestock.cli.kafka import registry_of
from skatestock.cli.options import Data, Json, settings_from
from skatestock.cli.platform import complete_settings
from skatestock.cli.terminal import Terminal, count_of, make_table, print_json
from skatestock.eventlog.errors import IncompatibleSchemaError
from skatestock.eventlog.schema_registry import COMPATIBILITY, Registration, SchemaRegistry
from skatestock.events.codec import FIXED
from skatestock.events.compatibility import check_releases, describe_changes, find_incompatibilities
from skatestock.events.versions import EVENTS, load_history, load_schema
from skatestock.settings import Settings

app = App(
    name="schemas",
    help="Register, check and list the schemas that events are written with.",
    help_format="markdown",
)


@app.command
async def register(*, data: Data = None) -> int:
    """Register the events' schemas with the schema registry, and the rule that holds for their next versions.

    Safe at any time, also twice at once: what is registered stays as it is.
    """
    _check_releases()
    settings = complete_settings(settings_from(data))
    table = make_table("subject", "version", "id", "rule", "")
    async with _open_registry(settings) as registry:
        for event in EVENTS:
            before = await registry.find_registration(event)
            made = await registry.register(event)
            state = "[green]new[/]" if before is None else "[dim]as before[/]"
            table.add_row(made.subject, str(made.version), str(made.schema_id), COMPATIBILITY, state)
    Terminal().print(table)
    return 0


@app.command
async def check(*, data: Data = None) -> int:
    """Check that the events' schemas read all that was ever written with older ones.

    First against the versions kept in the package, then, where one is configured, against a schema registry
    and what it would accept. Changes nothing.
    """
    console, faults = Terminal(), check_releases()
    for event in EVENTS:
        versions = count_of(len(load_history(event)), "released version")
        if not any(event in fault for fault in faults):
            console.say(f"[green]{event}[/] reads its {versions}.")
    for fault in faults:
        console.say(f"[red]{escape(fault)}[/]")
    settings = complete_settings(settings_from(data))
    if settings.schema_registry_url is None:
        console.say("No schema registry is configured, so none was asked.")
        return FAILED if faults else 0
    async with _open_registry(settings) as registry:
        refused = [not await _check_registered(console, registry, event) for event in EVENTS]
    return FAILED if faults or any(refused) else 0


@app.command(name="list")
async def list_schemas(*, as_json: Json = False, data: Data = None) -> int:
    """List the events' schemas: the registry's versions and ids or, without a registry, the fixed ids."""
    settings = complete_settings(settings_from(data))
    if settings.schema_registry_url is None:
        _print_fixed(as_json=as_json)
        return 0
    async with _open_registry(settings) as registry:
        rows = [row for event in EVENTS for row in await _fetch_rows(registry, event)]
    if as_json:
        print_json({"registry": registry.url, "schemas": rows})
    else:
        _print_registered(registry.url, rows)
    return 0


async def _fetch_rows(registry: SchemaRegistry, event: str) -> list[dict[str, Any]]:
    ours = await registry.find_registration(event)
    return [
        {
            "event": event,
            "subject": each.subject,
            "version": each.version,
            "id": each.schema_id,
            "is_ours": ours is not None and ours.version == each.version,
        }
        for each in await registry.fetch_versions(event)
    ]


def _print_registered(url: str, rows: Sequence[dict[str, Any]]) -> None:
    console, table = Terminal(), make_table("subject", "version", "id", "")
    for row in rows:
        mark = "[green]written here[/]" if row["is_ours"] else ""
        table.add_row(row["subject"], str(row["version"]), str(row["id"]), mark)
    console.say(f"The schema registry at {escape(url)} holds {count_of(len(rows), 'version')}.")
    if rows:
        console.print(table)
    for event in EVENTS:
        if not any(row["is_ours"] for row in rows if row["event"] == event):
            console.say(f"[yellow]{event}[/] is not registered as it is here: `skatestock schemas register`")


async def _check_registered(console: Terminal, registry: SchemaRegistry, event: str) -> bool:
    """Say how an event's schema stands with the registry; tells whether it may be written with it."""
    found = await registry.find_registration(event)
    if found is not None:
        rule = await registry.fetch_compatibility(event)
        console.say(f"[green]{event}[/] is {found.subject} version {found.version}, id {found.schema_id}.")
        if rule != COMPATIBILITY:
            # Without the rule the registry would take the next version whatever it is.
            said = f"its rule is {rule or 'not set'}, not {COMPATIBILITY}: run `skatestock schemas register`"
            console.say(f"[red]{event}: {said}[/]")
        return rule == COMPATIBILITY
    versions = await registry.fetch_versions(event)
    if not versions:
        console.say(f"[yellow]{event}[/] is not registered yet: `skatestock schemas register`")
        return True
    return await _check_successor(console, registry, event, versions[-1])


async def _check_successor(
    console: Terminal, registry: SchemaRegistry, event: str, newest: Registration
) -> bool:
    schema = load_schema(event)
    reasons = find_incompatibilities(schema, newest.schema)
    accepted = await registry.accepts(event, schema)
    if accepted and not reasons:
        console.say(f"[yellow]{event}[/] may follow version {newest.version}: `skatestock schemas register`")
    else:
        says = "accepts" if accepted else "refuses"
        console.say(f"[red]{event} cannot follow version {newest.version}; the registry {says} it[/]")
        for reason in reasons:
            console.say(f"  {escape(reason)}")
    for change in describe_changes(schema, newest.schema):
        console.say(f"  [dim]{escape(change)}[/]")
    return accepted and not reasons


def _print_fixed(*, as_json: bool) -> None:
    rows = [
        {"event": event, "version": max(load_history(event)), "id": FIXED.id_of(event)} for event in EVENTS
    ]
    if as_json:
        print_json({"registry": None, "schemas": rows})
        return
    table = make_table("event", "version", "id")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Terminal().print(table)
    Terminal().say("No schema registry is configured: the ids are fixed.")


def _check_releases() -> None:
    faults = check_releases()
    if faults:
        raise IncompatibleSchemaError("; ".join(faults))


@asynccontextmanager
async def _open_registry(settings: Settings) -> AsyncGenerator[SchemaRegistry]:
    if settings.schema_registry_url is None:
        raise NothingRunsError(
            f"no schema registry is configured, and none runs in {settings.data_folder}; start one with "
            "`skatestock up --kafka`, or set SKATESTOCK_SCHEMA_REGISTRY_URL"
        )
    registry = registry_of(settings)
    try:
        yield registry
    finally:
        await registry.close()
