"""A consumer of Kafka: the group says what we should read, PostgreSQL whether we may write."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from skatestock.database.pool import Pool
from skatestock.database.transactions import transaction
from skatestock.eventlog.errors import ConsumerClosedError
from skatestock.eventlog.kafka.blocking import BlockingCalls
from skatestock.eventlog.kafka.connection import KafkaServers, explain_exception
from skatestock.eventlog.kafka.fetcher import Fetcher
from skatestock.eventlog.kafka.member import GroupMember
from skatestock.eventlog.kafka.ownership import Ownership, Taken
from skatestock.eventlog.kafka.topics import fetch_bounds, fetch_ends, fetch_topic_id
from skatestock.eventlog.port import Batch, Connection, Handle, Record
from skatestock.telemetry.logs import get_logger

# How long one look at Kafka may take: what else happens in the group waits as long.
_LOOK_SECONDS = 0.1
_FIRST_LOOK_SECONDS = 0.02
# How long a newcomer waits for the group's word: others may have a batch in hand.
_JOIN_SECONDS = 5.0
# A partition that was served just now waits so long for another one's records, and not more often than this.
_COURTESY_SECONDS = 0.5
_COURTESY_EVERY_SECONDS = 0.5
_CLOSE_SECONDS = 15.0
_IDENTIFY_EVERY_SECONDS = 30.0

_log = get_logger(__name__)


class KafkaConsumer:
    """One member of a consumer group; see ADR 11 for who decides what."""

    def __init__(
        self,
        pool: Pool,
        servers: KafkaServers,
        admin: AdminClient,
        *,
        group: str,
        topic: str,
        session_seconds: float,
        patience_seconds: float,
    ) -> None:
        """Prepare; `join` does the rest. `patience_seconds` is what a batch may take before others get it."""
        self._pool = pool
        self._servers = servers
        self._admin = admin
        self._group = group
        self._topic = topic
        self._ownership = Ownership(pool, group=group, topic=topic, owner=str(uuid4()))
        self._member = GroupMember(
            servers,
            group=group,
            topic=topic,
            session_seconds=session_seconds,
            patience_seconds=patience_seconds,
        )
        self._fetcher = Fetcher(servers, group=group, topic=topic)
        self._calls = BlockingCalls(f"kafka-{group}")
        self._turn = asyncio.Lock()
        self._log = ""
        self._log_due_at = 0.0
        self._held: dict[int, _Held] = {}
        self._taken_before: set[int] = set()
        self._reached: dict[int, int] = {}
        self._unshown: dict[int, int] = {}
        self._failed: set[int] = set()
        self._stuck: set[int] = set()
        self._served: dict[int, int] = {}
        self._batches = 0
        self._courtesy_due_at = 0.0
        self._closed = False
        self._let_go = False

    async def join(self) -> None:
        """Take part in the group, and wait a while for its word."""
        give_up_at = time.monotonic() + _JOIN_SECONDS
        await self._calls.run(self._fetcher.connect)
        while not self._member.has_joined and time.monotonic() < give_up_at:
            await self._look(_FIRST_LOOK_SECONDS)
        await self._settle()

    async def process(self, handle: Handle, *, max_records: int, wait_seconds: float) -> int:
        """Hand one batch to `handle` and commit what it wrote together with the offset, as the port says.

        Raises what `handle` raises; FencedError when the partition was lost or its stored offset moved;
        LogRefusedError or UnknownTopicError; an error that `database.transactions.is_transient` knows when
        PostgreSQL or Kafka was lost. A broker that is away is waited for like records.
        """
        if max_records < 1:
            raise ValueError(f"max_records must be at least 1, not {max_records}")
        async with self._turn:
            partition = await self._wait_for_records(wait_seconds)
            return 0 if partition is None else await self._process(partition, handle, max_records)

    async def close(self) -> None:
        """Leave the group; idempotent. A batch in hand is finished by whoever handles it, or fenced."""
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._calls.run(self._close_clients)
        except TimeoutError:
            _log.warning("eventlog_close_hangs", group=self._group, topic=self._topic)
        self._calls.close()

    # ------------------------------------------------------------ what has come

    async def _wait_for_records(self, wait_seconds: float) -> int | None:
        give_up_at = time.monotonic() + wait_seconds
        look_seconds = 0.0
        while True:
            await self._look(look_seconds)
            await self._settle()
            if self._choose() is not None:
                return await self._choose_courteously()
            left_seconds = give_up_at - time.monotonic()
            if left_seconds <= 0:
                return None
            look_seconds = min(left_seconds, _LOOK_SECONDS)

    async def _look(self, seconds: float) -> None:
        """Hear from the group and from the partitions, in the thread that may wait for them."""
        if self._closed:
            raise ConsumerClosedError(f"a consumer of {self._topic} in {self._group} was used after its end")
        await self._calls.run(lambda: self._look_blocking(seconds))

    def _look_blocking(self, seconds: float) -> None:
        if self._let_go:
            return
        unshown, self._unshown = self._unshown, {}
        self._member.show(unshown)
        for partition in self._member.poll():
            self._held.pop(partition, None)
            self._taken_before.discard(partition)
            self._fetcher.stop(partition)
        self._fetcher.pull(seconds, self._stuck)

    def _choose(self) -> int | None:
        """Choose whoever was served longest ago; those that failed come after all others."""
        waiting = [partition for partition in self._fetcher.waiting() if partition in self._held]
        return min(waiting, key=self._rank, default=None)

    def _rank(self, partition: int) -> tuple[bool, int, int]:
        return (partition in self._failed, self._served.get(partition, 0), partition)

    async def _choose_courteously(self) -> int | None:
        """Choose, but let what is on its way from other partitions arrive first, now and then.

        Whoever has had the last turn, or fails, takes the next one only if really nobody else has any.
        """
        chosen = self._choose()
        has_had_its_turn = chosen is not None and self._served.get(chosen, 0) == self._batches > 0
        now = time.monotonic()
        if (has_had_its_turn or chosen in self._failed) and now >= self._courtesy_due_at:
            self._courtesy_due_at = now + _COURTESY_EVERY_SECONDS
            behind = self._fetcher.find_behind(await self._fetch_ends())
            while behind and self._choose() == chosen and time.monotonic() < now + _COURTESY_SECONDS:
                await self._look(_LOOK_SECONDS)
        return self._choose()

    async def _fetch_ends(self) -> dict[int, int]:
        try:
            return await fetch_ends(self._admin, self._topic, list(self._held))
        except KafkaException:
            # a courtesy is worth no failure
            return {}

    # ------------------------------------------------------------ whose it is

    async def _settle(self) -> None:
        """Take over what the group has given us, and look again at what may have changed under us."""
        for partition in self._fetcher.broken:
            self._held.pop(partition, None)
        if self._member.assigned - self._held.keys() or time.monotonic() >= self._log_due_at:
            await self._identify_log()
        claimed = {}
        for partition in sorted(self._member.assigned - self._held.keys()):
            if (taken := await self._claim(self._log, partition)) is not None:
                claimed[partition] = taken
        if claimed:
            await self._begin(self._log, claimed)

    async def _identify_log(self) -> None:
        """Learn the topic's id; one that was made anew is another log, with other offsets."""
        log = await fetch_topic_id(self._admin, self._servers, self._topic)
        self._log_due_at = time.monotonic() + _IDENTIFY_EVERY_SECONDS
        if log != self._log:
            self._log = log
            self._held.clear()
            self._taken_before.clear()

    async def _begin(self, log: str, claimed: Mapping[int, Taken]) -> None:
        """Begin where the group stands, or where the log has its nearest record."""
        try:
            bounds = await fetch_bounds(self._admin, self._topic, list(claimed))
        except KafkaException as exception:
            raise explain_exception(exception, self._servers, topic=self._topic) from exception
        starts = {}
        for partition, (offset, is_new) in claimed.items():
            start = starts[partition] = min(max(offset, bounds[partition].start), bounds[partition].end)
            if start != offset:
                async with transaction(self._pool) as connection:
                    await self._ownership.store(connection, log, partition, offset, start)
            if start != offset and not is_new:
                self._warn_of_gap(partition, offset, start)
        await self._calls.run(lambda: self._fetcher.start(log, starts))
        for partition, start in starts.items():
            self._held[partition] = _Held(log, start)
            self._reached[partition] = start

    async def _claim(self, log: str, partition: int) -> Taken | None:
        """Find out where we stand in a partition, and make it ours if the group says so.

        The first time after it was assigned we take it. Later on, a row with another name means that one of
        us is mistaken, and the broker knows which: it takes commits only from living members. One that was
        frozen may have written its name late, and must not keep the partition from us for ever.
        """
        if partition in self._taken_before:
            offset = await self._ownership.find(log, partition)
            if offset is not None:
                return Taken(offset, is_new=False)
            reached = self._reached.get(partition, 0)
            if not await self._calls.run(lambda: self._member.is_confirmed(partition, reached)):
                return None
        taken = await self._ownership.take(log, partition)
        self._taken_before.add(partition)
        return taken

    def _warn_of_gap(self, partition: int, from_offset: int, to_offset: int) -> None:
        # below its start retention has dropped records; beyond its end the brokers have lost some
        event = "eventlog_gap" if to_offset > from_offset else "eventlog_truncated"
        _log.warning(
            event,
            topic=self._topic,
            partition=partition,
            records=abs(to_offset - from_offset),
            from_offset=from_offset,
            to_offset=to_offset,
        )

    # ------------------------------------------------------------ a batch

    async def _process(self, partition: int, handle: Handle, max_records: int) -> int:
        held = self._held[partition]
        records = self._fetcher.peek(partition, max_records)
        after = records[-1].offset + 1
        self._batches += 1
        self._served[partition] = self._batches
        try:
            async with transaction(self._pool) as connection:
                await self._process_within(connection, handle, held, records)
        except BaseException:
            # whether it was committed, and whose the partition is now, stands in its row
            self._held.pop(partition, None)
            self._failed.add(partition)
            self._stuck.add(partition)
            raise
        self._held[partition] = _Held(held.log, after)
        self._fetcher.drop(partition, after)
        self._reached[partition] = self._unshown[partition] = after
        # others have had their turn
        self._failed.clear()
        self._stuck.discard(partition)
        return len(records)

    async def _process_within(
        self, connection: Connection, handle: Handle, held: "_Held", records: Sequence[Record]
    ) -> None:
        partition, after = records[0].partition, records[-1].offset + 1
        await self._ownership.lock(connection, held.log, partition, held.offset)
        if after - held.offset != len(records):
            self._warn_of_gap(partition, held.offset, after)
        await handle(connection, Batch(topic=self._topic, partition=partition, records=tuple(records)))
        await self._ownership.store(connection, held.log, partition, held.offset, after)

    def _close_clients(self) -> None:
        if not self._let_go:
            self._let_go = True
            self._member.show(self._unshown)
            self._fetcher.close()
            self._member.close()


class _Held(NamedTuple):
    """A partition that we may write for."""

    log: str
    offset: int
    """Where the group stands in it."""
