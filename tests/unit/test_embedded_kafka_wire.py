"""What a broker answers, and what it does not."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.embedded.errors import EmbeddedError
from skatestock.embedded.kafka_wire import Cluster, parse_cluster


def _string(text: str | None) -> bytes:
    if text is None:
        return struct.pack(">h", -1)
    return struct.pack(">h", len(text.encode())) + text.encode()


def _answer(cluster: str | None, brokers: list[tuple[int, str, str | None]]) -> bytes:
    head = struct.pack(">iii", 1, 0, len(brokers))
    told = b"".join(
        struct.pack(">i", number) + _string(host) + struct.pack(">i", 9092) + _string(rack)
        for number, host, rack in brokers
    )
    return head + told + _string(cluster) + struct.pack(">ii", brokers[0][0] if brokers else -1, 0)


_WORDS = st.text(max_size=20)
_BROKERS = st.lists(st.tuples(st.integers(0, 2**31 - 1), _WORDS, st.none() | _WORDS), max_size=5)


@given(st.none() | _WORDS, _BROKERS)
def test_every_answer_is_read_back(cluster: str | None, brokers: list[tuple[int, str, str | None]]) -> None:
    numbers = tuple(number for number, _, _ in brokers)
    assert parse_cluster(_answer(cluster, brokers)) == Cluster(cluster, numbers)


@given(st.none() | _WORDS, _BROKERS, st.data())
def test_a_cut_off_answer_is_an_error_of_ours(
    cluster: str | None, brokers: list[tuple[int, str, str | None]], data: st.DataObject
) -> None:
    # What follows the cluster's id, eight bytes, is not read.
    answer = _answer(cluster, brokers)[:-8]
    cut = data.draw(st.integers(0, len(answer) - 1))
    with pytest.raises(EmbeddedError):
        parse_cluster(answer[:cut])


@given(st.binary(max_size=200))
def test_anything_else_is_an_error_of_ours_or_no_broker(answer: bytes) -> None:
    try:
        found = parse_cluster(answer)
    except EmbeddedError:
        return
    assert answer.startswith(struct.pack(">i", 1))
    assert isinstance(found, Cluster)
