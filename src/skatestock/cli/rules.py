"""`skatestock rules`: what no rule knew, and today's rules for the whole catalogue."""

import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.markup import escape

from skatestock.catalog.commands_rules import apply_rules, compare_rules
from skatestock.catalog.rules_diff import RulesDiff, ShopWays, count_changes
from skatestock.catalog.rules_queries import RulesReport, find_unknown_words
from skatestock.cli.errors import FAILED, UsageError
from skatestock.cli.options import Data, Json, flag, settings_from
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, Platform, open_platform
from skatestock.cli.shop_list import fetch_watched_shops
from skatestock.cli.terminal import Terminal, count_of, make_table, print_json
from skatestock.settings import Settings
from skatestock.vocabulary.normaliser import current_normaliser

DryRun = Annotated[bool, flag("Show what would change; change nothing.", name="--dry-run")]
Yes = Annotated[bool, flag("Apply without asking.", name="--yes")]
Kind = Literal["brand", "category", "size", "option", "all"]

_SHOWN_CHANGES = 12

app = App(
    name="rules",
    help="Show what no rule knows, and apply changed rules to the whole catalogue.",
    help_format="markdown",
)


@app.command
async def report(
    *shops: str,
    kind: Kind = "all",
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))] = 50,
    as_json: Json = False,
    data: Data = None,
) -> int:
    """Show the words of shops that no rule knows, the most frequent first.

    Parameters
    ----------
    shops
        Only those of these shops, such as `labor nj`.
    kind
        Only what is unknown of this kind.
    limit
        At most so many.
    """
    async with _open_platform(settings_from(data)) as platform, platform.pool.acquire() as connection:
        found = await find_unknown_words(connection, current_normaliser(), shops=shops)
    unknown = tuple(words for words in found.unknown if kind in ("all", words.kind))
    shown = msgspec.structs.replace(found, unknown=unknown[:limit])
    if as_json:
        print_json(shown)
    else:
        _print_report(shown, len(unknown))
    return 0


@app.command
async def apply(
    *, yes: Yes = False, dry_run: DryRun = False, as_json: Json = False, data: Data = None
) -> int:
    """Read the whole catalogue by today's rules: shows what changes, asks, and writes it."""
    if not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
        raise UsageError("nobody can be asked here: say --yes to apply the rules, or --dry-run to look")
    settings = settings_from(data)
    async with _open_platform(settings) as platform:
        ways = await fetch_ways(platform)
        diff = await compare_rules(platform.pool, current_normaliser(), ways)
        if not as_json:
            _print_diff(diff)
        done = None
        if not dry_run and (diff.changed or diff.unmarked):
            if not yes and not _confirm():
                Terminal().say("Nothing was written.")
                return FAILED
            done = await apply_rules(platform.pool, current_normaliser(), ways)
    if as_json:
        print_json(done or diff)
    elif done is None:
        Terminal().say("Nothing was written.")
    else:
        Terminal().say(f"{count_of(done.changed, 'listing')} changed; all follow rules {done.rules_version}.")
    return 0


async def fetch_ways(platform: Platform) -> Mapping[str, ShopWays]:
    """Tell, by slug, how all shops that are watched write their titles."""
    async with platform.pool.acquire() as connection:
        watched = await fetch_watched_shops(connection, platform.settings)
    return {shop.slug: ShopWays(shop.title_habit, shop.shop_names) for shop in watched.shops}


@asynccontextmanager
async def _open_platform(settings: Settings) -> AsyncGenerator[Platform]:
    async with open_platform(
        settings, "rules", interactive=True, pool_size=2, patience_seconds=SHORT_PATIENCE_SECONDS
    ) as platform:
        yield platform


def _confirm() -> bool:
    return Terminal().input("Apply? [y/N] ").strip().casefold() in ("y", "yes")


def _print_report(report: RulesReport, total: int) -> None:
    terminal = Terminal()
    terminal.say(f"Rules {report.rules_version}, {count_of(report.listings, 'listing')}.")
    if report.outdated:
        terminal.say(
            f"{count_of(report.outdated, 'listing')} not read by these rules yet: `skatestock rules apply`."
        )
    if not report.unknown:
        terminal.say("The rules know every word of it.")
        return
    table = make_table("times", "kind", "shop", "words", "for example")
    for row in report.unknown:
        words = (row.kind, row.shop, row.words, row.example[:80])
        table.add_row(str(row.count), *map(escape, words))
    terminal.print(table)
    if total > len(report.unknown):
        terminal.say(f"{total - len(report.unknown)} more; `--limit` shows them.")


def _print_diff(diff: RulesDiff) -> None:
    terminal = Terminal()
    counts = count_changes(diff)
    terminal.say(
        f"Rules {diff.rules_version}: {count_of(diff.listings, 'listing')} read, {diff.changed} change, "
        f"{diff.unmarked} only get the mark of these rules."
    )
    for kind, count in counts.items():
        changes = [change for change in diff.changes if change.kind == kind]
        table = make_table("times", "before", "after", "for example", title=f"{kind}: {count}")
        for change in changes[:_SHOWN_CHANGES]:
            words = (change.before or "–", change.after or "–", change.example[:80])
            table.add_row(str(change.count), *map(escape, words))
        terminal.print(table)
        if len(changes) > _SHOWN_CHANGES:
            terminal.say(f"and {len(changes) - _SHOWN_CHANGES} other changes of the {kind}\n")
