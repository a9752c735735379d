"""The topic of dead letters, as its one writer and its readers see it.

Everything here blocks; `dead_letter_relay` calls it from a thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from skatestock.eventlog.errors import LogUnavailableError, MessageTooLargeError
from skatestock.eventlog.kafka.dead_letter_messages import LetterMessage, Source, find_source

MAX_LETTER_BYTES = 17 * 1024 * 1024
"""A letter is its record, at most 16 MiB, and what we say of it."""

# All letters stand in one partition, in the order in which they were found.
_PARTITION = 0

# An open transaction hides what follows from readers: one whose writer has died is aborted after this time.
_TRANSACTION_SECONDS = 30
_TAKE_OVER_SECONDS = 30
_READ_SECONDS = 30
_POLL_SECONDS = 0.1
_BATCH_BYTES = 50_000
_READ_AT_ONCE = 500


class StoredLetter(NamedTuple):
    """A letter that stands in the topic."""

    offset: int
    source: Source | None
    """None for a message that is no letter of ours."""
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class RefusedLettersError(MessageTooLargeError):
    """The topic does not take letters of this size; none of their transaction was sent."""

    def __init__(self, topic: str, places: Sequence[int]) -> None:
        super().__init__(f"{topic} does not take letters of this size: raise its max.message.bytes")
        self.places = places
        """Which ones of the letters they were."""


def dead_letter_topic_of(topic: str) -> str:
    """Name the topic of another topic's dead letters."""
    return f"{topic}.dlq"


class LetterWriter:
    """Writes letters in transactions; the newest writer of a topic ends what older ones had begun."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        """Take the topic over; raises KafkaException when that does not succeed in time."""
        self._topic = topic
        self._producer = Producer(
            {
                **config,
                "transactional.id": f"{topic}-relay",
                "transaction.timeout.ms": _TRANSACTION_SECONDS * 1000,
                "message.max.bytes": MAX_LETTER_BYTES,
                # the topic refuses whole batches: what is larger than this has one of its own
                "batch.size": _BATCH_BYTES,
                "compression.type": "zstd",
            }
        )
        try:
            self._producer.init_transactions(_TAKE_OVER_SECONDS)
        except KafkaException:
            self.close()
            raise

    def send(self, messages: Sequence[LetterMessage]) -> list[int]:
        """Send all messages or none, and return the offsets at which they stand.

        Raises RefusedLettersError, and then none stands in the topic; LogUnavailableError or KafkaException,
        and then it is unknown whether they do. After any of them this writer must not be used again.
        """
        offsets: dict[int, int] = {}
        failures: dict[int, KafkaError] = {}
        self._producer.begin_transaction()
        for place, message in enumerate(messages):

            def note(error: KafkaError | None, sent: Message, place: int = place) -> None:
                if error is not None:
                    failures[place] = error
                else:
                    # without an offset: acknowledged only when it was sent again after a lost answer
                    offsets[place] = -1 if (offset := sent.offset()) is None else offset

            self._produce(message, note)
        # after one failure the client sends nothing more, and to wait for the rest would take its whole time
        while len(offsets) < len(messages) and not failures:
            self._producer.poll(_POLL_SECONDS)
        if failures:
            raise self._explain(failures)
        self._producer.commit_transaction()
        if any(offset < 0 for offset in offsets.values()):
            raise LogUnavailableError(f"{self._topic} did not tell where the letters stand: look for them")
        return [offsets[place] for place in range(len(messages))]

    def close(self) -> None:
        """Abort what was begun, and let go; never raises."""
        # without this the client first waits for what it can send no more
        self._producer.purge()
        # that it cannot be aborted: a newer writer has done so, or Kafka will, once its time is over
        with suppress(KafkaException):
            self._producer.close()

    def _explain(self, failures: Mapping[int, KafkaError]) -> Exception:
        refused = [
            place for place, error in failures.items() if error.code() == KafkaError.MSG_SIZE_TOO_LARGE
        ]
        if refused:
            return RefusedLettersError(self._topic, refused)
        return KafkaException(next(iter(failures.values())))

    def _produce(self, message: LetterMessage, note: Any) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    key=message.key,
                    value=message.value,
                    headers=list(message.headers),
                    partition=_PARTITION,
                    on_delivery=note,
                )
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
            else:
                self._producer.poll(0)
                return


class LetterReader:
    """Reads committed letters from an offset to the topic's present end."""

    def __init__(self, config: Mapping[str, Any], topic: str, *, from_offset: int = 0) -> None:
        """Begin at an offset; where it is none of the topic's any more, at the topic's start."""
        self._topic = topic
        self._consumer = Consumer(
            {
                **config,
                # a name that the client wants; nothing is joined, and nothing is committed
                "group.id": f"{topic}-reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        self._consumer.assign([TopicPartition(topic, _PARTITION, from_offset)])
        self._at_end = False

    def read(self) -> list[StoredLetter]:
        """Read on; an empty list is the end.

        Raises KafkaException, or LogUnavailableError when nothing comes for too long.
        """
        letters: list[StoredLetter] = []
        while not letters and not self._at_end:
            first = self._consumer.poll(_READ_SECONDS)
            if first is None:
                raise LogUnavailableError(f"{self._topic} could not be read within {_READ_SECONDS} s")
            # what has arrived with it; with more patience this waits for the full number
            letters = list(self._keep_letters([first, *self._consumer.consume(_READ_AT_ONCE, timeout=0)]))
        return letters

    def close(self) -> None:
        """Let go."""
        self._consumer.close()

    def _keep_letters(self, messages: Sequence[Message]) -> Iterator[StoredLetter]:
        for message in messages:
            error = message.error()
            if error is None:
                yield _read_letter(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._at_end = True
            else:
                raise KafkaException(error)


def read_dead_letter_topic(
    config: Mapping[str, Any], topic: str, *, from_offset: int = 0
) -> Iterator[StoredLetter]:
    """Read the dead letters of a topic as any other team does, up to the present end; blocks."""
    reader = LetterReader(config, dead_letter_topic_of(topic), from_offset=from_offset)
    try:
        while letters := reader.read():
            yield from letters
    finally:
        reader.close()


def _read_letter(message: Message) -> StoredLetter:
    # the client's own annotation also knows headers to send, which may be a mapping and texts
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    offset = message.offset()
    assert offset is not None, "a message that was read stands somewhere"
    return StoredLetter(offset, find_source(headers), message.key(), message.value(), headers)
