"""Any event log, measured and traced: what every implementation would have to count stands here once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import msgspec

from skatestock.eventlog.errors import FencedError
from skatestock.eventlog.port import (
    AppendsWithin,
    Connection,
    Consumer,
    EventLog,
    Handle,
    Message,
    PartitionLag,
    Position,
)
from skatestock.telemetry.metrics import (
    EVENTLOG_APPEND_FAILURES,
    EVENTLOG_APPEND_SECONDS,
    EVENTLOG_APPENDED_BYTES,
    EVENTLOG_APPENDED_MESSAGES,
    EVENTLOG_FENCED,
)
from skatestock.telemetry.tracing import TRACE_PARENT, inject_trace, start_span


class MeasuredEventLog:
    """Counts what is appended and fenced; its messages name the span that they are appended in."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def append(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        """Append as the log itself does, in a span of its own."""
        traced = _add_trace(messages)
        with _measured(topic, traced):
            return await self._log.append(topic, traced)

    async def open_consumer(self, group: str, topic: str) -> Consumer:
        """Join a consumer group as the log itself does."""
        return MeasuredConsumer(await self._log.open_consumer(group, topic), group)

    async def fetch_lag(self, group: str, topic: str) -> list[PartitionLag]:
        """Tell the lag of every partition, in the order of partitions."""
        return await self._log.fetch_lag(group, topic)

    async def close(self) -> None:
        """Release what the log holds; idempotent."""
        await self._log.close()


class MeasuredTableLog(MeasuredEventLog):
    """The same for a log that can append within a transaction of the database."""

    def __init__(self, log: EventLog, appends: AppendsWithin) -> None:
        super().__init__(log)
        self._appends = appends

    async def append_within(
        self, connection: Connection, topic: str, messages: Sequence[Message]
    ) -> list[Position]:
        """Append as part of the connection's transaction; counted even if that is rolled back later."""
        traced = _add_trace(messages)
        with _measured(topic, traced):
            return await self._appends.append_within(connection, topic, traced)


class MeasuredConsumer:
    """Counts the batches that a consumer could not store because it had lost its partition."""

    def __init__(self, consumer: Consumer, group: str) -> None:
        self._consumer = consumer
        self._group = group

    async def process(self, handle: Handle, *, max_records: int, wait_seconds: float) -> int:
        """Process one batch as the consumer itself does."""
        try:
            return await self._consumer.process(handle, max_records=max_records, wait_seconds=wait_seconds)
        except FencedError:
            EVENTLOG_FENCED.labels(group=self._group).inc()
            raise

    async def close(self) -> None:
        """Leave the group; idempotent."""
        await self._consumer.close()


def measure_log(log: EventLog) -> MeasuredEventLog:
    """Wrap a log; what can append within a transaction still can afterwards."""
    return MeasuredTableLog(log, log) if isinstance(log, AppendsWithin) else MeasuredEventLog(log)


def _add_trace(messages: Sequence[Message]) -> list[Message]:
    """Name the current span in the headers, but keep the name that a message brings along (a replay)."""
    context = inject_trace({})
    if not context:
        return list(messages)
    return [
        message
        if TRACE_PARENT in message.headers
        else msgspec.structs.replace(message, headers={**message.headers, **context})
        for message in messages
    ]


@contextmanager
def _measured(topic: str, messages: Sequence[Message]) -> Iterator[None]:
    began = perf_counter()
    with start_span("append", topic=topic, messages=len(messages)):
        try:
            yield
        except Exception as error:
            EVENTLOG_APPEND_FAILURES.labels(topic=topic, kind=type(error).__name__).inc()
            raise
    EVENTLOG_APPEND_SECONDS.labels(topic=topic).observe(perf_counter() - began)
    EVENTLOG_APPENDED_MESSAGES.labels(topic=topic).inc(len(messages))
    EVENTLOG_APPENDED_BYTES.labels(topic=topic).inc(sum(len(message.value) for message in messages))
