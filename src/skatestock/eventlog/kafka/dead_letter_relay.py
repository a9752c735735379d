"""The relay from the table of dead letters to Kafka: one letter in the topic for every source position.

The table is the truth. A relay sends what the table has and the topic has not. The order of its steps keeps a
letter from standing in the topic twice, whatever crashes or freezes in between:

1. It takes the transactional id of the topic's writer over. Whatever a relay before it had begun is committed
   or aborted by then, and nothing more can come of it, even if that relay only slept and wakes up.
2. It reads the topic from the last letter on that the table knows to stand there, and marks in the table what
   an earlier relay had committed without living long enough to say so.
3. Only then it asks the table what is unsent, sends it in a transaction, and marks it. Any error leads back
   to the first step.

A lock in PostgreSQL keeps several relays from taking the id from each other all the time; nothing depends on
it. A relay that shows no sign of life for some seconds loses it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import asyncpg
from confluent_kafka import KafkaException

from skatestock.database.errors import DatabaseError
from skatestock.database.pool import Pool
from skatestock.eventlog.dead_letters import DeadLetter, find_unsent_letters
from skatestock.eventlog.errors import EventLogError
from skatestock.eventlog.kafka.blocking import BlockingCalls
from skatestock.eventlog.kafka.connection import KafkaServers, explain_exception
from skatestock.eventlog.kafka.dead_letter_messages import Source, size_of, source_of, write_message
from skatestock.eventlog.kafka.dead_letter_topic import (
    MAX_LETTER_BYTES,
    LetterReader,
    LetterWriter,
    RefusedLettersError,
    dead_letter_topic_of,
)
from skatestock.eventlog.port import Connection
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import RETRIES

_Result = TypeVar("_Result")

_LOOK_EVERY_SECONDS = 1.0
_SIGN_OF_LIFE_SECONDS = 3.0
_LOCK_IDLE_SECONDS = 10
_GRACE_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0

_LETTERS_AT_ONCE = 500
_BYTES_AT_ONCE = 32_000_000

# What passes, or waits for somebody who mends it: the letters are safe in the table meanwhile.
_FAILURES = (
    KafkaException,
    EventLogError,
    DatabaseError,
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # what asyncpg says when the server's farewell comes just as a statement is sent
    asyncpg.InternalClientError,
)

# Any number that nobody else in this database uses as the first half of an advisory lock.
_LOCK_SPACE = 1_146_311_764
_TRY_LOCK = "SELECT pg_try_advisory_lock($1::integer, hashtext($2))"

# By the time and not by the offset alone: a topic that was made anew counts from 0 again.
_LAST_SENT = """
    SELECT sent_offset FROM dead_letters
    WHERE topic = $1 AND log <> 'tables' AND sent_offset IS NOT NULL
    ORDER BY sent_at DESC, sent_offset DESC LIMIT 1
"""
_MARK_SENT = """
    UPDATE dead_letters d
    SET sent_at = date_trunc('second', clock_timestamp()), sent_offset = s.sent_offset
    FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::bigint[])
        AS s (consumer_group, log, topic, partition, "offset", sent_offset)
    WHERE d.consumer_group = s.consumer_group AND d.log = s.log AND d.topic = s.topic
        AND d.partition = s.partition AND d."offset" = s."offset" AND d.sent_at IS NULL
"""

_log = get_logger(__name__)


async def relay_dead_letters(
    pool: Pool, servers: KafkaServers, topics: Iterable[str], stop: asyncio.Event
) -> None:
    """Send the dead letters of the topics to their dead letter topics until `stop` is set.

    Every process that ingests may run it: one relay works, the others stand by. Errors are logged, counted
    (`skatestock_retries`) and tried again; none is raised. After `stop` it returns within some seconds, also
    while Kafka hangs.
    """
    await asyncio.gather(*(_Relay(pool, servers, topic).run(stop) for topic in topics))


class _Relay:
    def __init__(self, pool: Pool, servers: KafkaServers, topic: str) -> None:
        self._pool = pool
        self._servers = servers
        self._topic = topic
        self._letters_topic = dead_letter_topic_of(topic)
        # of letters that the topic has refused: what they may have at most
        self._limits: dict[int, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not stop.is_set():
            try:
                await _until_stopped(self._relay(stop), stop)
            except _FAILURES as error:
                self._tell(error, pause)
                await _sleep(stop, pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                pause = _FIRST_PAUSE_SECONDS

    def _tell(self, error: Exception, in_seconds: float) -> None:
        """Log and count what made the relay begin anew."""
        kind = type(error).__name__
        if isinstance(error, KafkaException):
            error = explain_exception(error, self._servers, topic=self._letters_topic)
        _log.warning(
            "dead_letter_relay_retry",
            topic=self._letters_topic,
            error=str(error),
            kind=kind,
            in_seconds=in_seconds,
        )
        RETRIES.labels(part="dead_letter_relay", kind=kind).inc()

    async def _relay(self, stop: asyncio.Event) -> None:
        """Relay until the writer must be replaced; what fails otherwise is raised."""
        async with _hold_lock(self._pool, self._topic, stop) as connection:
            # without a letter to send there is no reason to trouble Kafka
            while not stop.is_set() and not await self._find_unsent(connection, limit=1):
                await _sleep(stop, _LOOK_EVERY_SECONDS)
            if stop.is_set():
                return
            async with _open_writer(self._servers, self._letters_topic, connection) as (calls, writer):
                await self._mark_what_stands(connection, calls)
                while not stop.is_set():
                    sent = await self._send_unsent(connection, calls, writer)
                    if sent is None:
                        return
                    if sent == 0:
                        await _sleep(stop, _LOOK_EVERY_SECONDS)

    async def _find_unsent(self, connection: Connection, *, limit: int) -> list[DeadLetter]:
        return await find_unsent_letters(connection, self._topic, limit=limit, max_bytes=_BYTES_AT_ONCE)

    async def _mark_what_stands(self, connection: Connection, calls: BlockingCalls) -> None:
        """Mark the letters that an earlier relay has committed, but not marked."""
        last = await connection.fetchval(_LAST_SENT, self._topic)
        from_offset = 0 if last is None else last + 1
        config = self._servers.config()
        reader = await _call(
            connection, calls, partial(LetterReader, config, self._letters_topic, from_offset=from_offset)
        )
        try:
            while stored := await _call(connection, calls, reader.read):
                found = {letter.source: letter.offset for letter in stored if letter.source is not None}
                marked = await _mark_sent(connection, list(found), list(found.values()))
                _log.info("dead_letters_found", topic=self._letters_topic, read=len(stored), marked=marked)
        finally:
            await _finish(calls, reader.close)

    def _limit_of(self, letter: DeadLetter) -> int:
        return self._limits.get(letter.id, MAX_LETTER_BYTES)

    async def _send_unsent(
        self, connection: Connection, calls: BlockingCalls, writer: LetterWriter
    ) -> int | None:
        """Send some letters and return how many; None when another writer must write some of them smaller."""
        letters = await self._find_unsent(connection, limit=_LETTERS_AT_ONCE)
        if not letters:
            return 0
        messages = [write_message(letter, max_bytes=self._limit_of(letter)) for letter in letters]
        try:
            offsets = await _call(connection, calls, partial(writer.send, messages))
        except RefusedLettersError as error:
            # the topic refuses whole batches, and the largest is to blame
            size, refused = max((size_of(messages[place]), letters[place].id) for place in error.places)
            if self._limits.get(refused) == size - 1:
                # not even the least that can be said of it is small enough
                raise
            self._limits[refused] = size - 1
            return None
        await _mark_sent(connection, [source_of(letter) for letter in letters], offsets)
        _log.info("dead_letters_sent", topic=self._letters_topic, letters=len(letters))
        return len(letters)


@asynccontextmanager
async def _hold_lock(pool: Pool, topic: str, stop: asyncio.Event) -> AsyncGenerator[Connection]:
    """Wait for the relays' lock, and hold it on a connection of its own until the end, or until `stop`."""
    connection = await pool.connect_apart()
    try:
        # a frozen relay's connection looks alive: without this its lock would outlive it
        await connection.execute(f"SET idle_session_timeout = '{_LOCK_IDLE_SECONDS}s'")
        while not stop.is_set() and not await connection.fetchval(_TRY_LOCK, _LOCK_SPACE, topic):
            await _sleep(stop, _LOOK_EVERY_SECONDS)
        yield connection
    finally:
        # the lock goes with the connection, and there is nothing else to say
        connection.terminate()


@asynccontextmanager
async def _open_writer(
    servers: KafkaServers, letters_topic: str, connection: Connection
) -> AsyncGenerator[tuple[BlockingCalls, LetterWriter]]:
    calls = BlockingCalls("dead-letter-relay")
    try:
        writer = await _call(connection, calls, partial(LetterWriter, servers.config(), letters_topic))
        try:
            yield calls, writer
        finally:
            await _finish(calls, writer.close)
    finally:
        calls.close()


async def _call(connection: Connection, calls: BlockingCalls, call: Callable[[], _Result]) -> _Result:
    """Run a blocking call, with signs of life to PostgreSQL meanwhile: only who is awake keeps the lock."""
    running = asyncio.ensure_future(calls.run(call))
    try:
        while not running.done():
            await asyncio.wait([running], timeout=_SIGN_OF_LIFE_SECONDS)
            if not running.done():
                await connection.execute("SELECT 1")
        return running.result()
    finally:
        running.cancel()


async def _finish(calls: BlockingCalls, close: Callable[[], None]) -> None:
    """Close something of Kafka's, and leave it to its thread when that takes long."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await calls.run(close)
    except (TimeoutError, KafkaException) as error:
        _log.warning("dead_letter_relay_close", error=str(error), kind=type(error).__name__)


async def _mark_sent(connection: Connection, sources: Sequence[Source], offsets: Sequence[int]) -> int:
    """Record where letters stand in the topic; idempotent; returns how many had no record of it yet."""
    if not sources:
        return 0
    columns = [list(column) for column in zip(*sources, strict=True)]
    tag: str = await connection.execute(_MARK_SENT, *columns, list(offsets))
    return int(tag.split()[-1])


async def _until_stopped(work: Coroutine[None, None, None], stop: asyncio.Event) -> None:
    """Do the work, and cancel it when it goes on for too long after `stop`."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait([working], timeout=None if working.done() else _GRACE_SECONDS)
        if done:
            working.result()
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
