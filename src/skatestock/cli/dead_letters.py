"""`skatestock deadletters`: what could not be processed, and what to do about it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.markup import escape

from skatestock.cli.errors import UsageError
from skatestock.cli.options import Data, Json, flag, settings_from
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, Platform, open_platform
from skatestock.cli.terminal import Terminal, count_of, make_table, print_json
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
from skatestock.vocabulary.time import format_moment

DryRun = Annotated[bool, flag("Say what would be done; change nothing.", name="--dry-run")]
Every = Annotated[bool, flag("All that wait, instead of ids.", name="--every")]
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
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))] = 100,
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
        print_json([_describe(letter) for letter in letters])
    elif not letters and state == "waiting" and kind is None:
        Terminal().say("No dead letters wait: everything that was appended could be processed.")
    elif not letters:
        Terminal().say("No dead letters of this kind and state.")
    else:
        _print_letters(letters)
    return 0


@app.command
async def show(letter: int, /, *, as_json: Json = False, data: Data = None) -> int:
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
        print_json(described)
        return 0
    for name, value in described.items():
        Terminal().say(f"[bold]{name}[/]: {escape(str(value))}")
    return 0


@app.command
async def replay(*letters: int, every: Every = False, dry_run: DryRun = False, data: Data = None) -> int:
    """Append dead letters to the log again, each once; ingest then stores them like any other event.

    Parameters
    ----------
    letters
        Their ids, from `skatestock deadletters list`.
    """
    _check_choice(letters, every=every)
    async with _open_platform(data) as platform:
        async with platform.pool.acquire() as connection:
            ids = await _choose(connection, letters, every=every)
        done = await replay_dead_letters(platform.log, platform.pool, ids, dry_run=dry_run)
    return _report("replay", done, len(ids), dry_run=dry_run)


@app.command
async def discard(*letters: int, every: Every = False, dry_run: DryRun = False, data: Data = None) -> int:
    """Mark dead letters as never to be replayed; they stay listed under `--state discarded`.

    Parameters
    ----------
    letters
        Their ids, from `skatestock deadletters list`.
    """
    _check_choice(letters, every=every)
    async with _open_connection(data) as connection:
        ids = await _choose(connection, letters, every=every)
        done = await discard_dead_letters(connection, ids, dry_run=dry_run)
    return _report("discard", done, len(ids), dry_run=dry_run)


def _open_platform(data: Path | None) -> AbstractAsyncContextManager[Platform]:
    return open_platform(
        settings_from(data),
        "deadletters",
        interactive=True,
        pool_size=3,
        patience_seconds=SHORT_PATIENCE_SECONDS,
    )


@asynccontextmanager
async def _open_connection(data: Path | None) -> AsyncGenerator[Connection]:
    async with (
        _open_platform(data) as platform,
        platform.pool.acquire() as connection,
    ):
        yield connection


def _check_choice(letters: Sequence[int], *, every: bool) -> None:
    if every == bool(letters):
        raise UsageError("name the ids of dead letters, or say --every for all that wait")


async def _choose(connection: Connection, letters: Sequence[int], *, every: bool) -> list[int]:
    if not every:
        return list(letters)
    found = await find_dead_letters(connection, state="waiting", limit=1_000_000)
    return [letter.id for letter in found]


def _report(verb: str, done: Sequence[DeadLetter], asked: int, *, dry_run: bool) -> int:
    settled = asked - len(done)
    letters = count_of(len(done), "dead letter")
    would = " would be" if dry_run else ""
    before = f"; {settled} had been settled before" if settled else ""
    Terminal().say(f"{letters}{would} {verb}ed{before}.")
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
    table = make_table("id", "since", "shop", "kind", "why")
    for letter in letters:
        table.add_row(
            str(letter.id),
            format_moment(letter.dead_at),
            escape(letter.key),
            escape(letter.kind),
            escape(letter.text[:200]),
        )
    Terminal().print(table)
    Terminal().say("`skatestock deadletters show ID` tells more; `replay` or `discard` settles one.")
