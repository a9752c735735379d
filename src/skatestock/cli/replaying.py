"""`skatestock replay`: what today's parsers make of the pages that were kept, and the corrections of it."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.markup import escape

from skatestock.cli.errors import FAILED, INTERRUPTED, UsageError
from skatestock.cli.options import Data, Json, flag, settings_from
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, Platform, open_platform
from skatestock.cli.processes import ingest_until_idle
from skatestock.cli.rereading import Correction, Difference, Rereading, reread
from skatestock.cli.shop_list import fetch_watched_shops
from skatestock.cli.terminal import Terminal, count_of, make_table, print_json
from skatestock.crawl.shops import get_shop
from skatestock.eventlog.port import Message
from skatestock.events.codec import event_name
from skatestock.evidence.address import open_store
from skatestock.ingest.comparing import MOVED_ON, OTHER_CURRENCY, OTHER_PARSER, SAME_VERSION, FieldChange
from skatestock.ingest.consumer import TOPIC

_APPENDED_AT_ONCE = 200
_OBSTACLES = {obstacle.code: obstacle for obstacle in (SAME_VERSION, OTHER_PARSER, OTHER_CURRENCY, MOVED_ON)}


async def replay(
    *,
    shop: Annotated[
        tuple[str, ...] | None, Parameter(negative=(), help="Only this shop; may be given several times.")
    ] = None,
    crawl: Annotated[str | None, Parameter(help="Only the crawl of this id.")] = None,
    since: Annotated[str | None, Parameter(help="Only crawls of this day and later: `2026-03-01`.")] = None,
    examples: Annotated[
        int, Parameter(help="Show so many examples of each field.", validator=Number(gte=0, lte=1000))
    ] = 3,
    apply: Annotated[bool, flag("Write the corrections, after asking.", name="--apply")] = False,
    yes: Annotated[bool, flag("Write without asking.", name="--yes")] = False,
    as_json: Json = False,
    data: Data = None,
) -> int:
    """Read kept pages again with today's parsers: shows what would change, and writes it with --apply."""
    if apply and not yes and (as_json or not sys.stdin.isatty()):
        raise UsageError("nobody can be asked here: say --yes to write the corrections too")
    first_day = _parse_day(since)
    settings = settings_from(data)
    store = open_store(settings.evidence_url, settings.evidence_folder)
    async with open_platform(
        settings, "replay", interactive=True, needs_log=apply, patience_seconds=SHORT_PATIENCE_SECONDS
    ) as platform:
        async with platform.pool.acquire() as connection:
            shops = (await fetch_watched_shops(connection, settings)).shops
        wanted = [get_shop(shops, slug).slug for slug in shop or ()]
        found = await reread(platform, store, shops, wanted_shops=wanted, crawl_id=crawl, since=first_day)
        if not as_json:
            _print_findings(found, examples)
        written = 0
        if apply and found.corrections:
            if not yes and not _confirm(len(found.corrections)):
                Terminal().say("Nothing was written.")
                return FAILED
            written = len(found.corrections)
            if not await _apply(platform, found.corrections):
                return INTERRUPTED
    if as_json:
        print_json(
            {
                "counts": found.counts,
                "fields": found.fields,
                "differences": found.differences,
                "written": written,
            }
        )
    else:
        Terminal().say(f"{count_of(written, 'correction')} written." if written else "Nothing was written.")
    return 0


def _parse_day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since: {text!r} is no day such as 2026-03-01") from error


def _confirm(count: int) -> bool:
    question = f"Write {count_of(count, 'correction')}? [y/N] "
    return Terminal().input(question).strip().casefold() in ("y", "yes")


async def _apply(platform: Platform, corrections: Sequence[Correction]) -> bool:
    """Append the corrections and store them; False when it was stopped before all were stored.

    Whoever is interrupted runs the same command again: what is stored already reads as it is.
    """
    for at in range(0, len(corrections), _APPENDED_AT_ONCE):
        events = [correction.event for correction in corrections[at : at + _APPENDED_AT_ONCE]]
        messages = [
            Message(key=event.shop, value=platform.codec.encode(event), headers={"event": event_name(event)})
            for event in events
        ]
        await platform.log.append(TOPIC, messages)
    return await ingest_until_idle(platform, asyncio.Event())


def _print_findings(found: Rereading, examples: int) -> None:
    terminal, counts = Terminal(), found.counts
    terminal.say(
        f"{count_of(counts.crawls, 'crawl')} with {count_of(counts.pages, 'page')} read again: "
        f"{count_of(counts.observations, 'observation')}, {counts.compared} of them their listing's last."
    )
    asides = (
        (counts.pages_missing, "page", "noted, but away or damaged"),
        (counts.pages_refused, "page", "refused whole by today's parser"),
        (counts.pages_of_other_shops, "page", "of shops that are not there, or read by another parser today"),
        (counts.newly_readable, "listing", "readable now: the next crawl will say them"),
        (counts.no_longer_readable, "listing", "not readable any more"),
    )
    for number, thing, words in asides:
        if number:
            terminal.say(f"  {count_of(number, thing)} {words}")
    if not found.differences:
        terminal.say("Nothing would change.")
        return
    for field, count in found.fields.most_common():
        table = make_table("shop", "listing", "before", "after", title=f"{field}: {count}")
        for difference, change in _find_examples(found.differences, field)[:examples]:
            row = (difference.shop, difference.title[:60], _show(change.before), _show(change.after))
            table.add_row(*map(escape, row))
        terminal.print(table)
    listings = count_of(len(found.differences), "listing")
    terminal.say(f"{listings} would change, {len(found.corrections)} can be written.")
    refused = Counter(difference.obstacle for difference in found.differences if difference.obstacle)
    for code, count in refused.most_common():
        terminal.say(f"  {count} cannot: {_OBSTACLES[code].text}")


def _find_examples(differences: Sequence[Difference], field: str) -> list[tuple[Difference, FieldChange]]:
    # One of each listing: ten sizes with one new price are one example.
    first = (
        (difference, next((change for change in difference.changes if change.field == field), None))
        for difference in differences
    )
    return [(difference, change) for difference, change in first if change is not None]


def _show(value: object) -> str:
    return "–" if value is None else str(value)[:80]
