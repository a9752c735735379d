"""What a dead letter looks like in its topic, and whose letters are recognised there."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.eventlog.dead_letters import DeadLetter
from skatestock.eventlog.kafka.dead_letter_messages import (
    HEADERS,
    find_source,
    size_of,
    source_of,
    write_message,
)
from skatestock.eventlog.port import KEY_HEX_HEADER, NULL_HEADER

DOCS = Path(__file__).parents[2] / "docs" / "EVENTS.md"
PLENTY = 1_000_000

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
letters = st.builds(
    DeadLetter,
    id=st.integers(1, 2**40),
    group=texts,
    topic=texts,
    partition=st.integers(0, 2**15 - 1),
    offset=st.integers(0, 2**59),
    key=texts,
    value=st.binary(max_size=200),
    headers=st.dictionaries(st.one_of(texts, st.sampled_from(sorted(HEADERS))), texts, max_size=5),
    kind=texts,
    text=texts,
    consumer_version=texts,
    state=st.just("waiting"),
    dead_at=st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - as the strategy wants
    settled_at=st.none(),
    log=texts,
)


def make_letter(**headers: str) -> DeadLetter:
    return DeadLetter(
        id=1,
        group="ingest",
        topic="t",
        partition=2,
        offset=3,
        key="labor",
        value=b"value",
        headers={name.replace("_", "-"): text for name, text in headers.items()},
        kind="truncated",
        text="cut off",
        consumer_version="1",
        state="waiting",
        dead_at=datetime(2026, 3, 2, tzinfo=UTC),
        settled_at=None,
        log="a",
    )


@given(letters)
def test_a_letter_is_recognised_and_nothing_of_its_record_is_lost(letter: DeadLetter) -> None:
    message = write_message(letter, max_bytes=PLENTY)
    headers = dict(message.headers)
    assert find_source(list(message.headers)) == source_of(letter)
    assert (message.key, message.value) == (letter.key.encode(), letter.value)
    for name, text in letter.headers.items():
        assert headers["original-" + name if name in HEADERS else name] == text.encode()
    assert headers["error-text"] == letter.text.encode()


@given(letters, st.integers(0, 2000))
def test_a_letter_takes_no_more_than_it_may_where_that_is_possible(letter: DeadLetter, limit: int) -> None:
    message = write_message(letter, max_bytes=limit)
    least = write_message(letter, max_bytes=0)
    assert size_of(message) <= max(limit, size_of(least))
    assert find_source(list(message.headers)) == source_of(letter)
    assert ("omitted" in dict(message.headers)) == (message != write_message(letter, max_bytes=PLENTY))


@pytest.mark.parametrize(
    ("headers", "key", "value"),
    [
        ({KEY_HEX_HEADER: "ff00"}, b"\xff\x00", b"value"),
        ({KEY_HEX_HEADER: "no hexadecimal"}, b"labor", b"value"),
        ({NULL_HEADER: "key"}, None, b"value"),
        ({NULL_HEADER: "value"}, b"labor", None),
        ({NULL_HEADER: "key value"}, None, None),
    ],
    ids=["key is no text", "header of others", "no key", "no value", "neither"],
)
def test_key_and_value_are_sent_as_the_record_had_them(
    headers: dict[str, str], key: bytes | None, value: bytes | None
) -> None:
    message = write_message(make_letter(**headers), max_bytes=PLENTY)
    assert (message.key, message.value) == (key, value)
    assert not {KEY_HEX_HEADER, NULL_HEADER} & dict(message.headers).keys()


@given(st.lists(st.tuples(st.sampled_from(sorted(HEADERS)), st.none() | st.binary(max_size=25))))
def test_whatever_others_write_is_read_without_an_error(headers: list[tuple[str, bytes | None]]) -> None:
    source = find_source(headers)
    if source is not None:
        assert 0 <= source.partition < 2**15
        assert 0 <= source.offset < 2**63


@pytest.mark.parametrize("name", ["source-offset", "source-partition"])
@pytest.mark.parametrize("text", [b"", b"-1", b"1e3", b"9" * 19, "\u0663".encode(), b" 1", None])
def test_a_place_that_is_no_number_is_no_letter_of_ours(name: str, text: bytes | None) -> None:
    message = write_message(make_letter(), max_bytes=PLENTY)
    headers: list[tuple[str, bytes | None]] = [
        (other, value) for other, value in message.headers if other != name
    ]
    assert find_source([*headers, (name, text)]) is None


def test_the_page_lists_the_headers() -> None:
    found = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert [row for row in found if row[0] in HEADERS] == list(HEADERS.items())
