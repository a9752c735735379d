"""What follows from how a crawl ended: when the shop is asked again, and whether it is given up or back."""

from datetime import datetime
from typing import Any

from skatestock.catalog.commands_shops import disable_shop, enable_shop
from skatestock.crawl.endurance import PROBE_EVERY, backoff_after, has_failed, is_lost
from skatestock.crawl.session import CrawlOutcome
from skatestock.database.pool import Connection
from skatestock.jobs.commands import finish_job
from skatestock.jobs.model import Lease, next_due_at
from skatestock.jobs.queries import fetch_now
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import SHOPS_DISABLED, SHOPS_RECOVERED
from skatestock.vocabulary.time import format_moment, parse_moment

_FAILING_SINCE = "failing_since"

_log = get_logger(__name__)


async def finish_crawl(connection: Connection, lease: Lease, outcome: CrawlOutcome) -> None:
    """Give a crawl's lease back, say when the shop is due again, disable it or wake it; in a transaction.

    Raises LeaseLostError when the job is another's.
    """
    now = await fetch_now(connection)
    failed = has_failed(outcome.reason)
    state = _next_state(lease, outcome, failed, now)
    due_at = next_due_at(lease.due_at, lease.every_seconds, now)
    failures = lease.consecutive_failures + 1
    at_rest = False
    if failed:
        at_rest = is_lost(failures, parse_moment(state[_FAILING_SINCE]), now)
        pause = PROBE_EVERY if at_rest else backoff_after(failures, lease.every_seconds)
        due_at = max(due_at, now + pause) if failures > 1 else due_at
    if outcome.retry_not_before is not None:
        due_at = max(due_at, outcome.retry_not_before)
    await finish_job(connection, lease, now, outcome.reason.value, failed, state, due_at)
    if at_rest:
        await _give_up(connection, outcome, failures, state[_FAILING_SINCE], now)
    elif outcome.complete:
        await _wake(connection, outcome)


def _next_state(lease: Lease, outcome: CrawlOutcome, failed: bool | None, now: datetime) -> dict[str, Any]:
    state: dict[str, Any] = {
        "completed_at": format_moment(outcome.completed_at),
        "filter": outcome.filter_state,
    }
    if not outcome.complete and "appended_at" in lease.state:
        # What an earlier crawl left unfinished is settled by a crawl that sees the whole shop.
        state["appended_at"] = lease.state["appended_at"]
    if failed is not False:
        since = lease.state.get(_FAILING_SINCE) or (format_moment(now) if failed else None)
        if since is not None:
            state[_FAILING_SINCE] = since
    return state


async def _give_up(
    connection: Connection, outcome: CrawlOutcome, failures: int, since: str, now: datetime
) -> None:
    # Once only: a probe that fails finds the shop at rest already.
    if await disable_shop(connection, outcome.shop, now, "failing"):
        SHOPS_DISABLED.labels(outcome.shop).inc()
        _log.error(
            "shop_disabled",
            shop=outcome.shop,
            failures=failures,
            failing_since=since,
            reason=outcome.reason.value,
            detail=outcome.detail,
        )


async def _wake(connection: Connection, outcome: CrawlOutcome) -> None:
    if await enable_shop(connection, outcome.shop, only_failing=True):
        SHOPS_RECOVERED.labels(outcome.shop).inc()
        _log.warning("shop_recovered", shop=outcome.shop, crawl_id=outcome.crawl_id)
