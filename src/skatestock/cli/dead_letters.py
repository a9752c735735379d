"""`skatestock deadletters`: what could not be processed, and what to do about it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.markup import escape

from skatestock.cli.errors import UsageError
from skatestock.cli.options import Data, Json, flag, settings_from
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, Platform, open_platform
from skatestock.cli.terminal import Terminal, count_of, format_age, make_table, print_json
from skatestock.database.pool import Connection
from skatestock.eventlog.dead_letters import (
    DeadLetter,
    LetterFilter,
    discard_dead_letters,
    find_dead_letters,
    get_dead_letter,
    is_in_tables,
    replay_dead_letters,
    select_dead_letters,
)
from skatestock.eventlog.errors import EventLogError
from skatestock.eventlog.port import TABLES
from skatestock.events.codec import Codec
from skatestock.events.errors import UndecodableError
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.time import format_moment, parse_moment, utc_now

DryRun = Annotated[bool, flag("Say what would be done; change nothing.", name="--dry-run")]
Every = Annotated[bool, flag("All that wait, instead of ids; filters narrow them.", name="--every")]
StateOption = Literal["waiting", "replayed", "discarded", "all"]

# Letters that are settled in one transaction, with their values in memory.
_AT_ONCE = 100
# Letters that are shown before they are settled; the rest is counted.
_SHOWN = 20

app = App(
    name="deadletters",
    help="List, show, replay and discard messages that could not be processed.",
    help_format="markdown",
)


@Parameter(name="*")
@dataclass(frozen=True)
class Filters:
    """Which dead letters are meant."""

    kind: str | None = None
    """Only this kind of error, such as `bad_magic_byte`."""
    shop: str | None = None
    """Only messages with this shop as their key."""
    topic: str | None = None
    """Only from this topic."""
    partition: Annotated[int | None, Parameter(validator=Number(gte=0, lte=32_767))] = None
    """Only from this partition of the topic."""
    group: str | None = None
    """Only those that this consumer group could not process."""
    since: str | None = None
    """Only those dead at this moment or later: ISO 8601 with a time zone, or a day (in UTC)."""
    until: str | None = None
    """Only those dead before this moment or day."""
    text: str | None = None
    """Only those whose error text contains this."""

    @property
    def are_given(self) -> bool:
        """Tell whether anything narrows the choice."""
        return any(getattr(self, field.name) is not None for field in fields(self))


NO_FILTERS = Filters()


@app.command(name="list")
async def list_letters(
    *,
    state: StateOption = "waiting",
    filters: Filters = NO_FILTERS,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))] = 100,
    as_json: Json = False,
    data: Data = None,
) -> int:
    """List dead letters, oldest first.

    Parameters
    ----------
    state
        Only those in this state.
    limit
        At most so many.
    """
    wanted = _read_filters(filters, state=state)
    async with _open_connection(data) as connection:
        letters = await find_dead_letters(connection, wanted, limit=limit)
        everything = (
            len(letters) if len(letters) < limit else len(await select_dead_letters(connection, wanted))
        )
    if as_json:
        print_json([_describe(letter) for letter in letters])
    elif letters:
        _print_letters(letters)
        _say_what_next(len(letters), everything)
    else:
        Terminal().say(_describe_nothing(state, filters))
    return 0


@app.command
async def show(letter: int, /, *, as_json: Json = False, data: Data = None) -> int:
    """Show one dead letter with everything that is known of it.

    Parameters
    ----------
    letter
        Its id, from `skatestock deadletters list`.
    """
    async with _open_platform(data, needs_log=False) as platform:
        async with platform.pool.acquire() as connection:
            found = await get_dead_letter(connection, letter)
        event = await _read_event(found, platform)
    described = _describe(found) | {"value": found.value.hex(), "event": event}
    if as_json:
        print_json(described)
        return 0
    for name, value in described.items():
        Terminal().say(f"[bold]{name}[/]: {escape(str(value))}")
    return 0


@app.command
async def replay(
    *letters: int,
    filters: Filters = NO_FILTERS,
    every: Every = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    data: Data = None,
) -> int:
    """Append dead letters to the log again, each once; ingest then stores them like any other event.

    Parameters
    ----------
    letters
        Their ids, from `skatestock deadletters list`.
    """
    wanted = _read_choice(letters, filters, every=every)
    async with _open_platform(data, needs_log=True) as platform:
        # what another log's readers would misread is left out of a choice by filters, and refused by its id
        wanted = msgspec.structs.replace(wanted, in_tables=is_in_tables(platform.log))

        async def settle(ids: Sequence[int]) -> list[DeadLetter]:
            return await replay_dead_letters(platform.log, platform.pool, ids, dry_run=dry_run)

        async with platform.pool.acquire() as connection:
            ids = list(letters) or await select_dead_letters(connection, wanted)
            everywhere = msgspec.structs.replace(wanted, in_tables=None)
            others = 0 if letters else len(await select_dead_letters(connection, everywhere)) - len(ids)
        outcome = await _settle(ids, settle, at_once=len(ids) if letters else _AT_ONCE)
    return _report("replay", outcome, len(ids), others=others, dry_run=dry_run, as_json=as_json)


@app.command
async def discard(
    *letters: int,
    filters: Filters = NO_FILTERS,
    every: Every = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    data: Data = None,
) -> int:
    """Mark dead letters as never to be replayed; they stay listed under `--state discarded`.

    Parameters
    ----------
    letters
        Their ids, from `skatestock deadletters list`.
    """
    wanted = _read_choice(letters, filters, every=every)
    async with _open_connection(data) as connection:

        async def settle(ids: Sequence[int]) -> list[DeadLetter]:
            return await discard_dead_letters(connection, ids, dry_run=dry_run)

        ids = list(letters) or await select_dead_letters(connection, wanted)
        outcome = await _settle(ids, settle, at_once=len(ids) if letters else _AT_ONCE)
    return _report("discard", outcome, len(ids), others=0, dry_run=dry_run, as_json=as_json)


def _open_platform(data: Path | None, *, needs_log: bool) -> AbstractAsyncContextManager[Platform]:
    return open_platform(
        settings_from(data),
        "deadletters",
        interactive=True,
        needs_log=needs_log,
        pool_size=3,
        patience_seconds=SHORT_PATIENCE_SECONDS,
    )


@asynccontextmanager
async def _open_connection(data: Path | None) -> AsyncGenerator[Connection]:
    async with (
        _open_platform(data, needs_log=False) as platform,
        platform.pool.acquire() as connection,
    ):
        yield connection


def _read_choice(letters: Sequence[int], filters: Filters, *, every: bool) -> LetterFilter:
    """Check that ids are named, or that all are meant; filters narrow the latter, to letters that wait."""
    if filters.are_given and not letters and not every:
        raise UsageError("say --every with the filters: all that wait and that they mean")
    if every == bool(letters):
        raise UsageError("name the ids of dead letters, or say --every for all that wait")
    if letters and filters.are_given:
        raise UsageError("name the ids of dead letters, or choose with --every and filters; not both")
    return _read_filters(filters, state="waiting")


def _read_filters(filters: Filters, *, state: StateOption) -> LetterFilter:
    since_at, until_at = _read_moment("--since", filters.since), _read_moment("--until", filters.until)
    if since_at is not None and until_at is not None and since_at >= until_at:
        raise UsageError(
            f"--since {filters.since} is not before --until {filters.until}: nothing can be meant"
        )
    return LetterFilter(
        state=None if state == "all" else state,
        kind=filters.kind,
        topic=filters.topic,
        group=filters.group,
        partition=filters.partition,
        key=filters.shop,
        since_at=since_at,
        until_at=until_at,
        text=filters.text,
    )


def _read_moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        try:
            return parse_moment(text)
        except InvalidValueError as error:
            form = "write a day such as 2026-03-02, or a moment such as 2026-03-02T08:00:00Z"
            raise UsageError(f"{option}: {error}; {form}") from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


async def _settle(
    ids: Sequence[int], settle: Callable[[Sequence[int]], Awaitable[list[DeadLetter]]], *, at_once: int
) -> list[dict[str, Any]]:
    """Settle letters some at a time, and describe those that were; ids named by a person go together."""
    done: list[dict[str, Any]] = []
    for at in range(0, len(ids), at_once):
        try:
            done += [_describe(letter) for letter in await settle(ids[at : at + at_once])]
        except BaseException:
            if done:
                Terminal(stderr=True).say(
                    f"{count_of(len(done), 'dead letter')} had been settled before this:"
                )
            raise
    return done


def _report(
    verb: str, done: Sequence[dict[str, Any]], asked: int, *, others: int, dry_run: bool, as_json: bool
) -> int:
    settled = asked - len(done)
    if as_json:
        counts = {"settled_before": settled, "of_another_log": others}
        print_json({f"{verb}ed": [letter["id"] for letter in done], "dry_run": dry_run, **counts})
        return 0
    if dry_run and done:
        _print_table(done[:_SHOWN])
    more = f" ({len(done) - _SHOWN} more than shown)" if dry_run and len(done) > _SHOWN else ""
    would = " would be" if dry_run else ""
    before = f"; {settled} had been settled before" if settled else ""
    elsewhere = f"; {others} came from another event log than the one in use and stay" if others else ""
    letters = count_of(len(done), "dead letter")
    Terminal().say(f"{letters}{would} {verb}ed{before}{elsewhere}.{more}")
    return 0


def _describe(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "state": letter.state,
        "dead_at": format_moment(letter.dead_at),
        "settled_at": None if letter.settled_at is None else format_moment(letter.settled_at),
        "source": letter.source,
        "log": letter.log,
        "key": letter.key,
        "kind": letter.kind,
        "text": letter.text,
        "headers": letter.headers,
        "consumer_group": letter.group,
        "consumer_version": letter.consumer_version,
        "bytes": len(letter.value),
        "sent_at": None if letter.sent_at is None else format_moment(letter.sent_at),
        "sent_offset": letter.sent_offset,
    }


async def _read_event(letter: DeadLetter, platform: Platform) -> object:
    """Read the event in a letter as the log that it came from writes events."""
    if letter.log != TABLES and platform.registry is None:
        return "cannot be read without the schema registry of its log (SKATESTOCK_SCHEMA_REGISTRY_URL)"
    codec = Codec() if letter.log == TABLES else platform.codec
    try:
        await codec.prepare([letter.value])
        return msgspec.to_builtins(codec.decode(letter.value))
    except (UndecodableError, EventLogError) as error:
        return f"cannot be read: {error}"


def _describe_nothing(state: StateOption, filters: Filters) -> str:
    if filters.are_given:
        waits = "" if state == "all" else f" {'waits' if state == 'waiting' else 'is ' + state}"
        return f"No dead letter that these filters mean{waits}; `--state all` also shows what was settled."
    return {
        "waiting": "No dead letters wait: everything that was appended could be processed.",
        "replayed": "No dead letter was ever replayed.",
        "discarded": "No dead letter was ever discarded.",
        "all": "No dead letters: everything that was ever appended could be processed.",
    }[state]


def _print_letters(letters: Sequence[DeadLetter]) -> None:
    _print_table([_describe(letter) for letter in letters])


def _print_table(letters: Sequence[dict[str, Any]]) -> None:
    now = utc_now()
    table = make_table("id", "age", "source", "shop", "kind", "why")
    for letter in letters:
        age = (now - parse_moment(letter["dead_at"])).total_seconds()
        table.add_row(
            str(letter["id"]),
            format_age(age),
            escape(letter["source"]),
            escape(letter["key"]),
            escape(letter["kind"]),
            escape(letter["text"][:200]),
        )
    Terminal().print(table)


def _say_what_next(shown: int, everything: int) -> None:
    if everything > shown:
        Terminal().say(f"{shown} of {everything:,}; `--limit` shows more.")
    Terminal().say("`skatestock deadletters show ID` tells more; `replay` or `discard` settles.")
