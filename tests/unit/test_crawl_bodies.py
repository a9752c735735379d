"""Compressed bodies: whole, or an error."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.crawl.bodies import decompress_body, parse_content_encoding
from skatestock.crawl.errors import PageError

MOST = 1_000_000


def deflate(body: bytes, *, bare: bool = False) -> bytes:
    packer = zlib.compressobj(wbits=-15 if bare else 15)
    return packer.compress(body) + packer.flush()


@given(st.binary(max_size=5000))
def test_every_encoding_gives_the_body_back(body: bytes) -> None:
    assert decompress_body(body, [], MOST) == body
    assert decompress_body(gzip.compress(body), ["gzip"], MOST) == body
    assert decompress_body(deflate(body), ["deflate"], MOST) == body
    assert decompress_body(gzip.compress(deflate(body)), ["deflate", "x-gzip"], MOST) == body


def test_bare_deflate_and_several_gzip_members_are_read() -> None:
    assert decompress_body(deflate(b"x" * 900, bare=True), ["deflate"], MOST) == b"x" * 900
    assert (
        decompress_body(gzip.compress(b"one") + gzip.compress(b"two") + b"\0\0", ["gzip"], MOST) == b"onetwo"
    )


@given(st.data())
def test_a_stream_cut_anywhere_is_truncated_and_never_half_a_body(data: st.DataObject) -> None:
    whole = gzip.compress(data.draw(st.binary(min_size=1, max_size=2000)))
    cut = data.draw(st.integers(min_value=0, max_value=len(whole) - 1))
    with pytest.raises(PageError) as caught:
        decompress_body(whole[:cut], ["gzip"], MOST)
    assert caught.value.reason == "truncated"


def test_a_large_body_of_exactly_the_chunk_size_is_whole() -> None:
    for size in (256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 512 * 1024):
        assert len(decompress_body(gzip.compress(bytes(size)), ["gzip"], MOST)) == size


def test_a_bomb_is_stopped_at_the_limit() -> None:
    with pytest.raises(PageError) as caught:
        decompress_body(gzip.compress(bytes(MOST + 1)), ["gzip"], MOST)
    assert caught.value.reason == "too_large"
    assert len(decompress_body(gzip.compress(bytes(MOST)), ["gzip"], MOST)) == MOST


def test_a_body_of_endless_members_is_stopped_too() -> None:
    with pytest.raises(PageError) as caught:
        decompress_body(gzip.compress(b"") * 5000, ["gzip"], MOST)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress"])
def test_an_encoding_we_did_not_ask_for_is_said(encoding: str) -> None:
    with pytest.raises(PageError) as caught:
        decompress_body(b"...", [encoding], MOST)
    assert caught.value.reason == "unknown_encoding"


def test_damage_within_the_stream_is_noticed() -> None:
    whole = bytearray(gzip.compress(b"price 60.00 " * 50))
    whole[-5] ^= 0xFF
    with pytest.raises(PageError):
        decompress_body(bytes(whole), ["gzip"], MOST)


def test_encodings_are_read_from_repeated_headers() -> None:
    assert parse_content_encoding(["Deflate, identity", " gzip "]) == ["deflate", "gzip"]
