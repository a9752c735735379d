"""A member of a consumer group of Kafka: which partitions are ours, and nothing else.

What is assigned is only noted; `fetcher` reads it with a client of its own. So nothing that the group does
meanwhile can get between a record and its reader. Everything here is called in the consumer's one thread.
"""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, TopicPartition

from skatestock.eventlog.errors import LogRefusedError, UnknownTopicError
from skatestock.eventlog.kafka.connection import KafkaServers, explain, open_client
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import EVENTLOG_REBALANCES

# How often the broker is asked again whether we are still a member.
_ASK_EVERY_SECONDS = 0.3

_log = get_logger(__name__)


class GroupMember:
    """Takes part in the group while it is polled; who is not polled for long is put out of it."""

    def __init__(
        self,
        servers: KafkaServers,
        *,
        group: str,
        topic: str,
        session_seconds: float,
        patience_seconds: float,
    ) -> None:
        """Join the group with the first polls; `patience_seconds` may lie between two of them."""
        self._servers = servers
        self._topic = topic
        self._group = group
        self.assigned: set[int] = set()
        self.has_joined = False
        self._changed: set[int] = set()
        self._asked_at: dict[int, float] = {}
        self._confirmed: set[int] = set()
        self._errors: list[KafkaError] = []
        self._client = open_client(
            Consumer,
            servers,
            {
                "group.id": group,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": round(session_seconds * 1000),
                "heartbeat.interval.ms": round(min(session_seconds / 6, 1.0) * 1000),
                "max.poll.interval.ms": round(max(patience_seconds, session_seconds) * 1000),
                # a new topic, or one that was made anew, is noticed in this time
                "topic.metadata.refresh.interval.ms": 30_000,
                "enable.auto.commit": False,
                "on_commit": self._note_commit,
            },
        )
        self._client.subscribe(
            [topic], on_assign=self._note_assigned, on_revoke=self._note_revoked, on_lost=self._note_lost
        )

    def poll(self) -> set[int]:
        """Hear what has happened, and return the partitions that went away since the last time.

        Some of them may have come back already. Raises LogRefusedError or UnknownTopicError.
        """
        while (message := self._client.poll(0)) is not None:
            if (error := message.error()) is not None:
                self._errors.append(error)
        errors, self._errors = self._errors, []
        for error in errors:
            self._judge(error)
        changed, self._changed = self._changed, set()
        return changed

    def show(self, offsets: Mapping[int, int]) -> None:
        """Commit offsets to Kafka, for people to look at; nothing depends on it."""
        if offsets:
            self._client.commit(offsets=self._at(offsets), asynchronous=True)

    def is_confirmed(self, partition: int, offset: int) -> bool:
        """Tell whether the broker has just taken a commit of ours, as it does only from a living member.

        The first call asks; a later one has the answer, and forgets it.
        """
        if partition in self._confirmed:
            self._confirmed.discard(partition)
            self._asked_at.pop(partition, None)
            return True
        now = time.monotonic()
        if now - self._asked_at.get(partition, 0.0) > _ASK_EVERY_SECONDS:
            self._asked_at[partition] = now
            self._client.commit(offsets=self._at({partition: offset}), asynchronous=True)
        return False

    def close(self) -> None:
        """Leave the group, so that others have our partitions at once; blocks."""
        self._client.close()

    def _at(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]

    def _judge(self, error: KafkaError) -> None:
        told = explain(error, self._servers, topic=self._topic)
        if (
            isinstance(told, LogRefusedError | UnknownTopicError)
            and error.code() != KafkaError._MAX_POLL_EXCEEDED
        ):
            raise told
        where = {"group": self._group, "topic": self._topic}
        _log.warning("eventlog_group", **where, kind=error.name(), error=error.str())

    def _note_assigned(self, client: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.has_joined = True
        # an empty assignment: the group is answered, and this client fetches nothing
        client.incremental_assign([])
        self.assigned |= self._note("assigned", partitions)

    def _note_revoked(self, client: Consumer, partitions: Sequence[TopicPartition]) -> None:
        client.incremental_unassign([])
        self._forget(self._note("revoked", partitions))

    def _note_lost(self, client: Consumer, partitions: Sequence[TopicPartition]) -> None:
        client.incremental_unassign([])
        self._forget(self._note("lost", partitions))

    def _forget(self, gone: set[int]) -> None:
        self.assigned -= gone
        self._changed |= gone
        self._confirmed -= gone
        for partition in gone:
            self._asked_at.pop(partition, None)

    def _note(self, event: str, partitions: Sequence[TopicPartition]) -> set[int]:
        numbers = {partition.partition for partition in partitions}
        if numbers:
            EVENTLOG_REBALANCES.labels(event=event).inc(len(numbers))
            _log.info(f"eventlog_{event}", group=self._group, topic=self._topic, partitions=sorted(numbers))
        return numbers

    def _note_commit(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            if error is None and partition.error is None and partition.partition in self._asked_at:
                self._confirmed.add(partition.partition)
