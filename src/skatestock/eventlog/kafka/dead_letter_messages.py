"""A dead letter as a message of the dead letter topic: the record as it was, and headers that say why."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from skatestock.eventlog.dead_letters import DeadLetter
from skatestock.eventlog.port import KEY_HEX_HEADER, NULL_HEADER
from skatestock.vocabulary.time import format_moment

HEADERS: Mapping[str, str] = {
    "error-kind": "Why it died, a code in snake_case; the kinds stand below.",
    "error-text": "The same for a person, at most 10,000 characters.",
    "source-topic": "The topic that the record came from.",
    "source-partition": "Its partition there.",
    "source-offset": "Its offset there.",
    "source-log": "The id that Kafka gave that topic: a topic that was made anew counts its offsets anew.",
    "consumer-group": "The group that could not process it.",
    "consumer-version": "The version of SkateStock that could not.",
    "dead-at": "When, UTC, RFC 3339, whole seconds.",
    "omitted": "What was left out of value, headers and key; only where the topic takes no more.",
}
"""Every header of ours and what it says; docs/EVENTS.md holds the same table."""

ORIGINAL_PREFIX = "original-"
"""Stands before the name of an original header that would clash with one of ours."""

# What a record costs beside its parts: lengths, attributes, the batch around it.
_OVERHEAD_BYTES = 512
_OVERHEAD_OF_A_HEADER_BYTES = 8


_A_NUMBER = re.compile("[0-9]{1,18}")


class Source(NamedTuple):
    """Where a dead letter's record stood, and for whom it died: no two letters share one."""

    group: str
    log: str
    topic: str
    partition: int
    offset: int


class LetterMessage(NamedTuple):
    """What is sent to the dead letter topic."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def source_of(letter: DeadLetter) -> Source:
    """Tell where a letter's record stood."""
    return Source(letter.group, letter.log, letter.topic, letter.partition, letter.offset)


def find_source(headers: Iterable[tuple[str, bytes | None]]) -> Source | None:
    """Read from a message's headers whose letter it is; None for a message that is none of ours."""
    found = {name: (value or b"").decode("utf-8", "replace") for name, value in headers}
    names = [found.get(name, "") for name in ("consumer-group", "source-log", "source-topic")]
    numbers = [found.get(name, "") for name in ("source-partition", "source-offset")]
    # others may write to the topic, too: what the table could never hold is no letter of ours
    if "\x00" in "".join(names) or not all(_A_NUMBER.fullmatch(number) for number in numbers):
        return None
    group, log, topic = names
    partition, offset = map(int, numbers)
    return Source(group, log, topic, partition, offset) if partition < 2**15 else None


def write_message(letter: DeadLetter, *, max_bytes: int) -> LetterMessage:
    """Write a letter with key, value and headers as they were.

    A letter that is larger than `max_bytes` goes without its value; where that is not enough, without its
    headers and key too. The header `omitted` says so, and the table keeps everything.
    """
    key, value = _restore(letter)
    ours, theirs = _describe(letter), _original_headers(letter.headers)
    candidates = (
        LetterMessage(key, value, [*ours, *theirs]),
        LetterMessage(key, None, [*ours, *theirs, ("omitted", b"value")]),
        LetterMessage(None, None, [*ours, ("omitted", b"value, headers, key")]),
    )
    return next((message for message in candidates if size_of(message) <= max_bytes), candidates[-1])


def size_of(message: LetterMessage) -> int:
    """Tell how many bytes a message may take in the log, at most."""
    headers = sum(
        len(name.encode()) + len(value) + _OVERHEAD_OF_A_HEADER_BYTES for name, value in message.headers
    )
    return _OVERHEAD_BYTES + len(message.key or b"") + len(message.value or b"") + headers


def _describe(letter: DeadLetter) -> list[tuple[str, bytes]]:
    texts = {
        "error-kind": letter.kind,
        "error-text": letter.text,
        "source-topic": letter.topic,
        "source-partition": str(letter.partition),
        "source-offset": str(letter.offset),
        "source-log": letter.log,
        "consumer-group": letter.group,
        "consumer-version": letter.consumer_version,
        "dead-at": format_moment(letter.dead_at),
    }
    return [(name, text.encode()) for name, text in texts.items()]


def _original_headers(headers: Mapping[str, str]) -> list[tuple[str, bytes]]:
    return [
        (ORIGINAL_PREFIX + name if name in HEADERS else name, text.encode())
        for name, text in headers.items()
        if name not in (KEY_HEX_HEADER, NULL_HEADER)
    ]


def _restore(letter: DeadLetter) -> Sequence[bytes | None]:
    """Return key and value as the record had them."""
    nulls = letter.headers.get(NULL_HEADER, "").split()
    key = letter.key.encode()
    # a header of this name that is no hexadecimal is somebody else's, and says nothing of the key
    with suppress(ValueError):
        key = bytes.fromhex(letter.headers.get(KEY_HEX_HEADER, "")) or key
    return None if "key" in nulls else key, None if "value" in nulls else letter.value
