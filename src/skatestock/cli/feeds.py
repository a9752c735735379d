"""`skatestock import-feeds`: the earlier system's recordings, through the same log and ingest."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from skatestock.catalog.commands import ensure_shops
from skatestock.cli.errors import INCOMPLETE, INTERRUPTED, UsageError
from skatestock.cli.options import Data, settings_from
from skatestock.cli.platform import Platform, open_platform
from skatestock.cli.processes import ingest_until_idle, stop_on_signals
from skatestock.cli.shop_list import shop_records
from skatestock.cli.terminal import Terminal, count_of, make_table
from skatestock.crawl.errors import FeedError
from skatestock.crawl.feeds import ParsedFeed, feed_events, parse_feed, parse_feed_name
from skatestock.crawl.shops import Shop, get_shop, load_shops
from skatestock.database.transactions import retry_transient
from skatestock.eventlog.port import Message
from skatestock.events.codec import event_name
from skatestock.ingest.consumer import TOPIC


async def import_feeds(*files: Path, data: Data = None) -> int:
    """Import the JSON feeds of sale collections that the earlier system recorded.

    Each file is an incomplete crawl at the day in its name, such as `2024-09-10_labor.json`: it adds prices,
    and never says that something is gone. Importing a file again changes nothing. A row that cannot be used
    is rejected alone, with its reason, and counted; exit code 4 then.

    Parameters
    ----------
    files
        The feeds, in any order.
    """
    if not files:
        raise UsageError("name the feeds to import, such as recorded-feeds/*.json")
    settings = settings_from(data)
    shops = load_shops(settings.shops_file)
    feeds = _read_feeds(files, shops)
    async with open_platform(settings, "import-feeds", interactive=True) as platform:
        async with platform.pool.acquire() as connection:
            await ensure_shops(connection, shop_records(shops))
        for feed in track(feeds, description="importing", console=Terminal(stderr=True)):
            await _append(platform, feed)
        with Terminal(stderr=True).status("storing what the feeds say ..."):
            stored = await ingest_until_idle(platform, stop_on_signals())
    if not stored:
        return INTERRUPTED
    _print_summary(feeds)
    return INCOMPLETE if any(feed.rejected for feed in feeds) else 0


def _read_feeds(files: Sequence[Path], shops: Sequence[Shop]) -> list[ParsedFeed]:
    """Read every feed before anything is stored, the oldest first: a file that is no feed stops it all."""
    feeds = []
    for file in files:
        day, slug = parse_feed_name(str(file))
        try:
            body = file.read_bytes()
        except OSError as error:
            raise FeedError(f"{file}: cannot be read: {error.strerror}") from error
        feeds.append(parse_feed(body, get_shop(shops, slug), day, str(file)))
    return sorted(feeds, key=lambda feed: (feed.observed_at, feed.shop))


async def _append(platform: Platform, feed: ParsedFeed) -> None:
    messages = [
        Message(key=feed.shop, value=platform.codec.encode(event), headers={"event": event_name(event)})
        for event in feed_events(feed)
    ]
    await retry_transient(lambda: platform.log.append(TOPIC, messages))


def _print_summary(feeds: Sequence[ParsedFeed]) -> None:
    rows = sum(feed.rows for feed in feeds)
    listings = {(feed.shop, listing_id) for feed in feeds for listing_id in feed.listing_ids}
    console = Terminal()
    counts = (count_of(len(feeds), "feed"), count_of(rows, "row"), count_of(len(listings), "listing"))
    console.say("{} with {}: {}.".format(*counts))
    reasons = Counter(reject.reason for feed in feeds for reject in feed.rejected)
    notes = sum((Counter(feed.notes) for feed in feeds), Counter[str]())
    if not reasons and not notes:
        return
    table = make_table("what", "rows", "")
    for reason, count in reasons.most_common():
        table.add_row(reason, str(count), "[yellow]rejected[/]")
    for note, count in notes.most_common():
        table.add_row(note, str(count), "[dim]imported[/]")
    console.print(table)
