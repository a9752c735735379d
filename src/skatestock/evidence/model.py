"""What is known of a page whose body is kept: enough to read it again as the crawl did. Pure."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import NamedTuple

import msgspec


class PageSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One page as a crawl came to it."""

    walk: int
    """Which of the crawl's walks it belongs to, from 1: a shop that moved meanwhile is walked again."""
    number: int
    """Its place in that walk."""
    kind: str
    """The platform's own word for what it shows."""
    url: str
    headers: Mapping[str, str] = {}
    observed_at: datetime
    parser: str
    parser_version: int


class KeptPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page and the key of its body."""

    key: str
    seen: PageSeen


class KeptCrawl(NamedTuple):
    """A crawl of which something is kept, and the day under which it is."""

    day: date
    shop: str
    crawl_id: str


class Pruned(NamedTuple):
    """What one round of pruning has deleted."""

    objects: int
    is_done: bool
    """Whether nothing of those days is left."""
