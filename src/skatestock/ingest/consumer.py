"""From the event log into the catalogue: a batch's data and its offsets in one transaction."""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from skatestock.catalog.commands_changes import Touched, record_change
from skatestock.catalog.commands_load import load_shop_states
from skatestock.catalog.commands_record import PricePointMonths, record_shop_states
from skatestock.catalog.errors import FAULTS_OF_DATA
from skatestock.catalog.model import CrawlEnd, PricePoint, ShopDemand, ShopState
from skatestock.eventlog.dead_letters import REPLAY_HEADER, record_dead_letter
from skatestock.eventlog.errors import FencedError
from skatestock.eventlog.port import Batch, Connection, Consumer, EventLog, Record
from skatestock.events.codec import FIXED_CODEC, Codec
from skatestock.events.errors import UndecodableError
from skatestock.events.model import Event, ListingObserved
from skatestock.ingest.batch_in_hand import BatchInHand
from skatestock.ingest.errors import RefusedEventError
from skatestock.ingest.lag import watch_lag
from skatestock.ingest.model import Outcome, apply_event
from skatestock.ingest.pacing import BatchSizer, Patience, finish, pause
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import (
    DEAD_LETTERS,
    INGEST_BATCH_LIMIT,
    INGEST_PRICE_POINTS,
    INGEST_RECORDS,
)
from skatestock.telemetry.tracing import within

GROUP = "ingest"
TOPIC = "listing-observations"

_MAX_RECORDS = 4000
# Records that are written at once, and records that are decoded before the connection gets its turn.
_PART = 2000
_DECODED_AT_ONCE = 25
_WAIT_SECONDS = 0.5
_FENCED_PAUSE_SECONDS = 0.1
# How long a stop waits for the batch in hand.
_FINISH_WITHIN_SECONDS = 20.0

# What one event can bring down: values that the database refuses, and values that a rule did not expect. The
# rules are pure, so either fails again for the same event and for no other.
_FAULTS_OF_AN_EVENT = (*FAULTS_OF_DATA, ArithmeticError, AssertionError, LookupError, TypeError, ValueError)

_log = get_logger(__name__)


class DecodedRecord(NamedTuple):
    """A record and the event in it."""

    record: Record
    event: Event


class Decoded(NamedTuple):
    """What was found in records: events, and what is none."""

    items: list[DecodedRecord]
    undecodable: list[tuple[Record, UndecodableError]]


class Tally:
    """What became of the records of a batch; counted only once the batch is committed."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.touched = Touched()

    def add(self, other: "Tally") -> None:
        """Take over another tally."""
        self.outcomes += other.outcomes
        self.changes += other.changes
        self.dead += other.dead
        self.touched.add(other.touched)

    def add_points(self, points: Sequence[PricePoint]) -> None:
        """Count the changes in new price points."""
        self.changes.update(chain.from_iterable(point.changes for point in points))

    def publish(self) -> None:
        """Tell the metrics."""
        for outcome, count in self.outcomes.items():
            INGEST_RECORDS.labels(outcome=outcome).inc(count)
        for change, count in self.changes.items():
            INGEST_PRICE_POINTS.labels(change=change).inc(count)
        for kind, count in self.dead.items():
            DEAD_LETTERS.labels(kind=kind).inc(count)


class IngestHandler:
    """Writes what a batch says into the catalogue; what cannot be processed becomes a dead letter beside it.

    Everything happens in the transaction of the connection handed in, so it is stored exactly when the
    batch's offset is. Events of one shop are applied strictly in the order of their offsets.
    """

    def __init__(self, *, codec: Codec = FIXED_CODEC) -> None:
        self._codec = codec
        self._months = PricePointMonths()
        self.tally = Tally()
        """Of the last batch."""

    async def __call__(self, connection: Connection, batch: Batch) -> None:
        """Apply one batch."""
        self.tally = Tally()
        self._months.begin_transaction()
        with _without_garbage_collection():
            await self._handle(connection, batch)

    async def _handle(self, connection: Connection, batch: Batch) -> None:
        """Apply the batch in parts: while the database writes one, the next is decoded."""
        await self._codec.prepare(record.value for record in batch.records)
        parts = [batch.records[at : at + _PART] for at in range(0, len(batch.records), _PART)]
        decoding = asyncio.create_task(self._decode_records(parts[0]))
        try:
            for following in (*parts[1:], None):
                decoded = await decoding
                if following is not None:
                    decoding = asyncio.create_task(self._decode_records(following))
                await self._apply_decoded(connection, decoded)
        finally:
            decoding.cancel()
        await record_change(connection, self.tally.touched)

    async def _apply_decoded(self, connection: Connection, decoded: Decoded) -> None:
        for record, error in decoded.undecodable:
            await _bury(connection, record, self.tally, error.kind, error.text)
        if decoded.items:
            moments = (_moment_of(item.event) for item in decoded.items)
            await self._months.ensure(connection, moments)
            await self._settle(connection, decoded.items)

    async def _decode_records(self, records: Sequence[Record]) -> Decoded:
        decoded = Decoded([], [])
        for place, record in enumerate(records):
            if place % _DECODED_AT_ONCE == 0:
                # let what the database has answered be worked on
                await asyncio.sleep(0)
            try:
                decoded.items.append(DecodedRecord(record, self._codec.decode(record.value)))
            except UndecodableError as error:
                decoded.undecodable.append((record, error))
        return decoded

    async def _settle(self, connection: Connection, items: Sequence[DecodedRecord]) -> None:
        """Apply the items; when one of them brings the others down, find it by halving and bury it alone."""
        try:
            async with connection.transaction():
                tally = await _apply(connection, items)
        except _FAULTS_OF_AN_EVENT as error:
            if len(items) == 1:
                text = f"{type(error).__name__}: {error}"
                await _bury(connection, items[0].record, self.tally, "unprocessable", text)
                return
        else:
            self.tally.add(tally)
            return
        middle = len(items) // 2
        await self._settle(connection, items[:middle])
        await self._settle(connection, items[middle:])


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep the collector of cycles still: a batch makes a million objects without a cycle among them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def _apply(connection: Connection, items: Sequence[DecodedRecord]) -> Tally:
    tally = Tally()
    states = await load_shop_states(connection, read_demands([item.event for item in items]))
    for record, event in items:
        try:
            tally.outcomes[_apply_to(states, record, event)] += 1
        except RefusedEventError as error:
            await _bury(connection, record, tally, error.kind, error.text)
    recorded = await record_shop_states(connection, states.values())
    tally.add_points(recorded.points)
    tally.touched.add(recorded.touched)
    return tally


def _apply_to(states: Mapping[str, ShopState], record: Record, event: Event) -> Outcome:
    if record.key != event.shop:
        # elsewhere than the shop's other events, and in no order with them
        raise RefusedEventError("wrong_key", f"the key is {record.key[:100]!r}, and the shop {event.shop!r}")
    shop = states.get(event.shop)
    if shop is None:
        raise RefusedEventError("unknown_shop", f"no shop {event.shop!r} is in the catalogue")
    return apply_event(shop, event, replayed=REPLAY_HEADER in record.headers)


async def _bury(connection: Connection, record: Record, tally: Tally, kind: str, text: str) -> None:
    await record_dead_letter(connection, GROUP, record, kind=kind, text=text)
    tally.outcomes[Outcome.DEAD] += 1
    tally.dead[kind] += 1
    position = f"{record.topic}/{record.partition}/{record.offset}"
    _log.warning("dead_letter", kind=kind, text=text[:500], record=position)


def read_demands(events: Sequence[Event]) -> dict[str, ShopDemand]:
    """Tell, by shop, which states a batch of events needs."""
    demands: dict[str, ShopDemand] = {}
    for event in events:
        moment = _moment_of(event)
        demand = demands.get(event.shop)
        if demand is None:
            demand = demands[event.shop] = ShopDemand(moment)
        demand.earliest_at = min(demand.earliest_at, moment)
        demand.crawl_ids.add(event.crawl_id)
        if isinstance(event, ListingObserved):
            demand.listing_ids.add(event.listing_id)
        else:
            demand.crawl_ends.append(CrawlEnd(frozenset(event.listing_ids), event.complete))
    return demands


def _moment_of(event: Event) -> datetime:
    return event.observed_at if isinstance(event, ListingObserved) else event.started_at


# ---------------------------------------------------------------- the process


async def run_ingest(
    log: EventLog,
    stop: asyncio.Event,
    *,
    codec: Codec = FIXED_CODEC,
    max_records: int = _MAX_RECORDS,
    on_batch: Callable[[int], None] | None = None,
    finish_within_seconds: float = _FINISH_WITHIN_SECONDS,
) -> None:
    """Ingest until `stop` is set, bearing restarts of the servers; a batch in hand is finished first.

    A batch that is not stored `finish_within_seconds` after `stop` is given up and comes again. `on_batch`
    hears the number of records of every committed batch. Raises what waiting cannot mend.
    """
    working = asyncio.create_task(_ingest(log, stop, codec, max_records, on_batch), name=GROUP)
    if await finish(working, stop, finish_within_seconds):
        working.result()
    else:
        _log.warning("ingest_gave_up_batch", after_seconds=finish_within_seconds)


async def _ingest(
    log: EventLog,
    stop: asyncio.Event,
    codec: Codec,
    max_records: int,
    on_batch: Callable[[int], None] | None,
) -> None:
    patience = Patience(stop)
    consumer = await _open_consumer(log, stop, patience)
    if consumer is None:
        return
    handler, sizer = IngestHandler(codec=codec), BatchSizer(max_records)
    try:
        await _drain(log, consumer, stop, patience, handler, sizer, on_batch)
    finally:
        await consumer.close()


async def _open_consumer(log: EventLog, stop: asyncio.Event, patience: Patience) -> Consumer | None:
    while not stop.is_set():
        try:
            return await log.open_consumer(GROUP, TOPIC)
        except Exception as error:
            # What waiting cannot mend is raised again.
            await patience.bear(error)
    return None


async def _drain(
    log: EventLog,
    consumer: Consumer,
    stop: asyncio.Event,
    patience: Patience,
    handler: IngestHandler,
    sizer: BatchSizer,
    on_batch: Callable[[int], None] | None,
) -> None:
    """Store batch after batch until `stop` is set."""
    watching = asyncio.create_task(watch_lag(log, GROUP, TOPIC), name="ingest-lag")
    try:
        while not stop.is_set() and not watching.done():
            INGEST_BATCH_LIMIT.set(sizer.size)
            try:
                count = await _process(consumer, handler, sizer)
            except FencedError as error:
                _log.warning("ingest_fenced", error=str(error))
                await pause(stop, _FENCED_PAUSE_SECONDS)
            except Exception as error:
                # What waiting cannot mend is raised again.
                await patience.bear(error)
            else:
                patience.relax()
                if count and on_batch is not None:
                    on_batch(count)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    if not watching.cancelled():
        watching.result()


async def _process(consumer: Consumer, handler: IngestHandler, sizer: BatchSizer) -> int:
    """Store one batch, and tell metrics, logs and traces of it."""
    in_hand: list[BatchInHand] = []

    async def handle(connection: Connection, batch: Batch) -> None:
        in_hand.append(BatchInHand(batch))
        with within(in_hand[-1].span):
            await handler(connection, batch)

    try:
        count = await consumer.process(handle, max_records=sizer.size, wait_seconds=_WAIT_SECONDS)
    except BaseException as error:
        for batch in in_hand:
            sizer.settle(0, batch.seconds)
            batch.fail(error)
        raise
    for batch in in_hand:
        sizer.settle(count, batch.seconds)
        batch.commit()
        handler.tally.publish()
    return count
