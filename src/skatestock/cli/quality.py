"""`skatestock quality`: what is wrong with the data of the shops."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.markup import escape

from skatestock.catalog.quality import KINDS, QualityKind, Severity, describe_detail
from skatestock.catalog.quality_queries import (
    IssueCount,
    QualityFilter,
    QualityIssue,
    count_quality_issues,
    fetch_quality_marks,
    find_quality_issues,
)
from skatestock.cli.errors import UsageError
from skatestock.cli.options import Data, Json, flag, settings_from
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, open_platform
from skatestock.cli.terminal import Terminal, count_of, format_age, make_table, print_json
from skatestock.database.pool import Connection
from skatestock.jobs.queries import fetch_now
from skatestock.vocabulary.time import format_moment

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "dim"}


class _Found(NamedTuple):
    now: datetime
    shops: Sequence[str]
    counts: Sequence[IssueCount]
    issues: Sequence[QualityIssue]


async def quality(
    *,
    shop: str | None = None,
    kind: str | None = None,
    severity: Literal["error", "warning", "info"] | None = None,
    every: Annotated[bool, flag("Also the issues that are resolved.", name="--all")] = False,
    limit: Annotated[int, Parameter(validator=Number(gte=0, lte=1_000_000))] = 20,
    as_json: Json = False,
    data: Data = None,
) -> int:
    """Show what is wrong with the data of the shops: counts by shop and kind, then examples.

    Parameters
    ----------
    shop
        Only issues of this shop.
    kind
        Only issues of this kind, such as `price_zero`.
    severity
        Only issues that are this grave.
    limit
        At most so many examples.
    """
    wanted = QualityFilter(
        shop=shop,
        kind=None if kind is None else _read_kind(kind),
        severity=None if severity is None else Severity(severity),
        resolved=every,
    )
    async with (
        open_platform(
            settings_from(data),
            "quality",
            interactive=True,
            needs_log=False,
            pool_size=2,
            patience_seconds=SHORT_PATIENCE_SECONDS,
        ) as platform,
        platform.pool.acquire() as connection,
    ):
        found = await _look(connection, wanted, limit)
    if shop is not None and shop not in found.shops:
        raise UsageError(f"there is no shop {shop!r}; there are: {', '.join(found.shops) or 'none yet'}")
    if as_json:
        print_json(_describe(found))
    else:
        _print(found, wanted)
    return 0


def _read_kind(word: str) -> QualityKind:
    try:
        return QualityKind(word)
    except ValueError:
        raise UsageError(f"there is no kind {word!r}; there are: {', '.join(KINDS)}") from None


async def _look(connection: Connection, wanted: QualityFilter, limit: int) -> _Found:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return _Found(
            await fetch_now(connection),
            list(await fetch_quality_marks(connection)),
            await count_quality_issues(connection, wanted),
            await find_quality_issues(connection, wanted, limit=limit),
        )


def _describe(found: _Found) -> dict[str, Any]:
    return {
        "at": format_moment(found.now),
        "open": sum(count.open for count in found.counts),
        "counts": [msgspec.to_builtins(count) for count in found.counts],
        "issues": [
            msgspec.to_builtins(issue) | {"says": _say(issue)} | _format_moments(issue)
            for issue in found.issues
        ],
    }


def _format_moments(issue: QualityIssue) -> dict[str, str | None]:
    moments = {name: getattr(issue, name) for name in ("first_seen_at", "last_seen_at", "resolved_at")}
    return {name: None if moment is None else format_moment(moment) for name, moment in moments.items()}


def _say(issue: QualityIssue) -> str:
    """Say what was found in words; a kind that only older versions knew is told by its facts."""
    known = issue.kind if issue.kind in KINDS else QualityKind.REJECTED_PRODUCT
    return describe_detail(QualityKind(known), issue.detail)


# ---------------------------------------------------------------- for people


def _print(found: _Found, wanted: QualityFilter) -> None:
    terminal = Terminal()
    if not found.counts:
        terminal.say(_say_nothing(found, wanted))
        return
    terminal.print(_count_table(found.counts, resolved=wanted.resolved), "")
    for issue in found.issues:
        _print_issue(terminal, issue, found.now)
    total = sum(count.open + count.resolved for count in found.counts)
    if total > len(found.issues):
        terminal.say(f"{total - len(found.issues)} more; `--limit` shows them.")


def _say_nothing(found: _Found, wanted: QualityFilter) -> str:
    if not found.shops:
        return "No shop was crawled yet."
    narrowed = wanted != QualityFilter(resolved=wanted.resolved)
    what = "such issue" if narrowed else "issue"
    state = "was ever found" if wanted.resolved else "is open"
    return f"No {what} {state}. `skatestock maintain` checks each shop after its crawls."


def _count_table(counts: Sequence[IssueCount], *, resolved: bool) -> Any:
    table = make_table(
        "shop", "severity", "kind", "open", *(["resolved"] if resolved else []), "what it means"
    )
    for count in counts:
        colour = _COLOURS[Severity(count.severity)]
        meaning = KINDS[QualityKind(count.kind)].says if count.kind in KINDS else "Known to older versions."
        numbers = [str(count.open), *([str(count.resolved)] if resolved else [])]
        table.add_row(count.shop, f"[{colour}]{count.severity}[/]", count.kind, *numbers, meaning)
    return table


def _print_issue(terminal: Terminal, issue: QualityIssue, now: datetime) -> None:
    colour = _COLOURS[Severity(issue.severity)]
    if issue.resolved_at is None:
        age = f"since {format_age((now - issue.first_seen_at).total_seconds())}"
    else:
        age = f"resolved {format_age((now - issue.resolved_at).total_seconds())} ago"
    words = f"{issue.shop} [{colour}]{issue.kind}[/]  {escape(_say(issue))} [dim]({age})[/]"
    terminal.say(words)
    thing = " / ".join(word for word in (issue.title or issue.listing_id, _offer_of(issue)) if word)
    if thing:
        terminal.say(f"    {escape(thing)}" + (f"  {escape(issue.url)}" if issue.url else ""))


def _offer_of(issue: QualityIssue) -> str | None:
    return None if issue.offer_id is None else issue.offer_title or issue.offer_id


def describe_open_issues(counts: Sequence[IssueCount]) -> dict[str, dict[str, int]]:
    """Add up the open issues of each shop that has any, by severity."""
    shops: dict[str, dict[str, int]] = {}
    for count in counts:
        of_shop = shops.setdefault(count.shop, dict.fromkeys(Severity, 0))
        of_shop[Severity(count.severity)] += count.open
    return shops


def say_open_issues(shops: dict[str, dict[str, int]]) -> str:
    """Say in one line which shops have errors and warnings; where there are none, that there are none."""
    said = []
    for shop, by_severity in shops.items():
        graves = [
            (by_severity[word], word) for word in (Severity.ERROR, Severity.WARNING) if by_severity[word]
        ]
        if graves:
            parts = [f"[{_COLOURS[word]}]{count_of(number, word)}[/]" for number, word in graves]
            said.append(f"{shop} {', '.join(parts)}")
    return "; ".join(said) + ": `skatestock quality`" if said else "no error or warning is open"
