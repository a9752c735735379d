"""`skatestock deadletters`: what could not be processed, and what to do about it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from skatestock.cli.options import Data, Json, settings_from
from skatestock.cli.platform import open_platform
from skatestock.database.pool import Connection
from skatestock.eventlog.dead_letters import (
    DeadLetter,
    discard_dead_letters,
    find_dead_letters,
    get_dead_letter,
    replay_dead_letters,
)
from skatestock.events.codec import decode
from skatestock.events.errors import UndecodableError
from skatestock.vocabulary.errors import SkateStockError
from skatestock.vocabulary.time import format_moment

DryRun = Annotated[
    bool, Parameter(name="--dry-run", negative=(), help="Say what would be done; change nothing.")
]
StateOption = Literal["waiting", "replayed", "discarded", "all"]

app = App(
    name="deadletters",
    help="List, show, replay and discard messages that could not be processed.",
    help_format="markdown",
)


@app.command(name="list")
async def list_letters(
    *,
    state: StateOption = "waiting",
    kind: str | None = None,
    limit: int = 100,
    as_json: Json = False,
    data: Data = None,
) -> int:
    """List dead letters, oldest first.

    Parameters
    ----------
    state
        Only those in this state.
    kind
        Only this kind of error, such as `bad_magic_byte`.
    limit
        At most so many.
    """
    async with _open_connection(data) as connection:
        letters = await find_dead_letters(
            connection, state=None if state == "all" else state, kind=kind, limit=limit
        )
    if as_json:
        _print_json([_describe(letter) for letter in letters])
    elif not letters:
        Console().print("No dead letters: everything that was appended could be processed.")
    else:
        _print_letters(letters)
    return 0


@app.command
async def show(letter: int, *, as_json: Json = False, data: Data = None) -> int:
    """Show one dead letter with everything that is known of it.

    Parameters
    ----------
    letter
        Its id, from `skatestock deadletters list`.
    """
    async with _open_connection(data) as connection:
        found = await get_dead_letter(connection, letter)
    described = _describe(found) | {"value": found.value.hex(), "event": _read_event(found.value)}
    if as_json:
        _print_json(described)
        return 0
    for name, value in described.items():
        Console().print(f"[bold]{name}[/]: {value}", highlight=False, soft_wrap=True)
    return 0


@app.command
async def replay(*letters: int, every: bool = False, dry_run: DryRun = False, data: Data = None) -> int:
    """Append dead letters to the log again, each once; ingest then stores them like any other event.

    Parameters
    ----------
    letters
        Their ids.
    every
        All that wait (`--every`).
    """
    async with open_platform(settings_from(data), "deadletters", interactive=True, pool_size=3) as platform:
        async with platform.pool.acquire() as connection:
            ids = await _choose(connection, letters, every=every)
        done = await replay_dead_letters(platform.log, platform.pool, ids, dry_run=dry_run)
    return _report("replay", done, len(ids), dry_run=dry_run)


@app.command
async def discard(*letters: int, every: bool = False, dry_run: DryRun = False, data: Data = None) -> int:
    """Mark dead letters as never to be replayed; they stay listed under `--state discarded`.

    Parameters
    ----------
    letters
        Their ids.
    every
        All that wait (`--every`).
    """
    async with _open_connection(data) as connection:
        ids = await _choose(connection, letters, every=every)
        done = await discard_dead_letters(connection, ids, dry_run=dry_run)
    return _report("discard", done, len(ids), dry_run=dry_run)


@asynccontextmanager
async def _open_connection(data: Path | None) -> AsyncGenerator[Connection]:
    async with (
        open_platform(settings_from(data), "deadletters", interactive=True, pool_size=2) as platform,
        platform.pool.acquire() as connection,
    ):
        yield connection


async def _choose(connection: Connection, letters: Sequence[int], *, every: bool) -> list[int]:
    if every == bool(letters):
        raise SkateStockError("name the ids of dead letters, or say --every for all that wait")
    if letters:
        return list(letters)
    found = await find_dead_letters(connection, state="waiting", limit=1_000_000)
    return [letter.id for letter in found]


def _report(verb: str, done: Sequence[DeadLetter], asked: int, *, dry_run: bool) -> int:
    settled = asked - len(done)
    would = "would be " if dry_run else ""
    Console().print(
        f"{len(done)} dead letters {would}{verb}ed"
        + (f", {settled} were settled before" if settled else "")
        + "."
    )
    return 0


def _describe(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "state": letter.state,
        "dead_at": format_moment(letter.dead_at),
        "source": letter.source,
        "key": letter.key,
        "kind": letter.kind,
        "text": letter.text,
        "headers": letter.headers,
        "consumer_group": letter.group,
        "consumer_version": letter.consumer_version,
        "bytes": len(letter.value),
    }


def _read_event(value: bytes) -> object:
    try:
        return msgspec.to_builtins(decode(value))
    except UndecodableError as error:
        return f"cannot be read: {error}"


def _print_letters(letters: Sequence[DeadLetter]) -> None:
    table = Table("id", "since", "source", "shop", "kind", "why")
    for letter in letters:
        table.add_row(
            str(letter.id),
            format_moment(letter.dead_at),
            letter.source,
            letter.key,
            letter.kind,
            letter.text[:80],
        )
    Console().print(table)
    Console().print("`skatestock deadletters show ID` tells more; `replay` or `discard` settles one.")


def _print_json(value: object) -> None:
    print(msgspec.json.encode(value).decode())  # noqa: T201 - this is the output a script reads
