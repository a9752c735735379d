"""Rows in the binary form of PostgreSQL's COPY, for the two tables that take the most of them.

asyncpg makes this form of any row, value by value. Rows of price points and of observations differ in their
first columns alone: what follows is made once for all rows that share it, which takes a quarter of the time.
The form is that of PostgreSQL's manual (COPY, "Binary Format"); each value stands as its type's send function
writes it.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from struct import Struct

from skatestock.catalog.model import ListingState, Observation, OfferState, PricePoint
from skatestock.database.pool import Connection
from skatestock.vocabulary.availability import Availability

_POINT_COLUMNS = (
    *("offer_id", "observed_at", "price_minor", "compare_at_minor", "availability", "changes", "crawl_id"),
)
_OBSERVATION_COLUMNS = ("listing_id", "observed_at", "crawl_id", "parser", "parser_version", "evidence")

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
# Enough to be worth a message, and few enough that the server is at work while the next ones are made.
_ROWS_AT_ONCE = 500
# Kinds of rows that are remembered; those of a batch are few.
_KINDS = 4096

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TEXT_OID = 25

# The number of columns, and each value behind its length.
_POINT_HEAD = Struct(">hiqiqiq")
_OBSERVATION_HEAD = Struct(">hiqiq")
_INT4 = Struct(">ii")
_INT8 = Struct(">iq")
_LENGTH = Struct(">i")
_NULL = _LENGTH.pack(-1)
# Dimensions, no nulls, the type of the elements; then the length of the one dimension and its lower bound.
_ARRAY_HEAD = Struct(">iiiii")
_EMPTY_ARRAY = Struct(">iii").pack(0, 0, _TEXT_OID)


async def copy_points(connection: Connection, points: Iterable[tuple[OfferState, PricePoint]]) -> None:
    """Add price points of offers that have their ids."""
    await _copy(connection, "price_points", _POINT_COLUMNS, _point_rows(points))


async def copy_observations(
    connection: Connection, observations: Iterable[tuple[ListingState, Observation]]
) -> None:
    """Add observations of listings that have their ids."""
    await _copy(connection, "observations", _OBSERVATION_COLUMNS, _observation_rows(observations))


async def _copy(connection: Connection, table: str, columns: Sequence[str], rows: Iterator[bytes]) -> None:
    await connection.copy_to_table(table, columns=columns, format="binary", source=_messages(rows))


async def _messages(rows: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield _HEADER
    while some := b"".join(islice(rows, _ROWS_AT_ONCE)):
        yield some
    yield _TRAILER


def _point_rows(points: Iterable[tuple[OfferState, PricePoint]]) -> Iterator[bytes]:
    head, columns = _POINT_HEAD.pack, len(_POINT_COLUMNS)
    moments, tails = lru_cache(_KINDS)(_microseconds), lru_cache(_KINDS)(_point_tail)
    for offer, point in points:
        at = moments(point.observed_at)
        tail = tails(point.compare_at_minor, point.availability, tuple(point.changes), point.crawl_id)
        yield head(columns, 8, offer.id, 8, at, 8, point.price_minor) + tail


def _point_tail(
    compare_at_minor: int | None, availability: Availability, changes: Sequence[str], crawl_id: str
) -> bytes:
    compare_at = _NULL if compare_at_minor is None else _INT8.pack(8, compare_at_minor)
    return compare_at + _text(availability) + _texts(changes) + _text(crawl_id)


def _observation_rows(observations: Iterable[tuple[ListingState, Observation]]) -> Iterator[bytes]:
    head, columns = _OBSERVATION_HEAD.pack, len(_OBSERVATION_COLUMNS)
    moments, tails = lru_cache(_KINDS)(_microseconds), lru_cache(_KINDS)(_observation_tail)
    for listing, seen in observations:
        tail = tails(seen.crawl_id, seen.parser, seen.parser_version, seen.evidence)
        yield head(columns, 8, listing.id, 8, moments(seen.observed_at)) + tail


def _observation_tail(crawl_id: str, parser: str, parser_version: int, evidence: str | None) -> bytes:
    key = _NULL if evidence is None else _text(evidence)
    return _text(crawl_id) + _text(parser) + _INT4.pack(4, parser_version) + key


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _text(text: str) -> bytes:
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def _texts(texts: Sequence[str]) -> bytes:
    """Write a `text[]`."""
    value = _EMPTY_ARRAY
    if texts:
        value = _ARRAY_HEAD.pack(1, 0, _TEXT_OID, len(texts), 1) + b"".join(map(_text, texts))
    return _LENGTH.pack(len(value)) + value
