"""From Kafka's messages, which may hold anything, to records that PostgreSQL can keep."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

from confluent_kafka import Message

from skatestock.eventlog.port import KEY_HEX_HEADER, NULL_HEADER, Record

_Headers = Sequence[tuple[str, bytes | None]]


def read_record(message: Message, *, log: str) -> Record:
    """Turn a message into a record without losing its value, whatever others wrote into the topic.

    A key that is no text is told in hexadecimal by the header `source-key-hex`, and what was null by
    `source-null`. A header that stands several times keeps all its values, under `name`, `name#2` and on.
    Moments are in whole seconds.
    """
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    key, value = message.key(), message.value()
    raw_headers = message.headers()
    headers = _read_headers(cast("_Headers", raw_headers)) if raw_headers else {}
    text = ""
    if key is None or value is None:
        headers[NULL_HEADER] = " ".join(
            name for name, part in (("key", key), ("value", value)) if part is None
        )
    if key is not None:
        text, is_exact = _read_text(key)
        if not is_exact:
            headers[KEY_HEX_HEADER] = key.hex()
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        key=text,
        value=b"" if value is None else value,
        headers=headers,
        appended_at=datetime.fromtimestamp(max(message.timestamp()[1], 0) // 1000, UTC),
        log=log,
    )


def size_of_record(record: Record) -> int:
    """Tell how many bytes of memory a record holds, about."""
    return len(record.value) + len(record.key) + 500


def _read_text(raw: bytes) -> tuple[str, bool]:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace").replace("\x00", "\\x00"), False
    if "\x00" in text:
        return text.replace("\x00", "\\x00"), False
    return text, True


def _read_headers(raw: _Headers) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, text in raw:
        place, name = 1, _read_text(name.encode())[0]
        free = name
        while free in headers:
            place += 1
            free = f"{name}#{place}"
        headers[free] = "" if text is None else _read_text(text)[0]
    return headers
