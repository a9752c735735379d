"""What the edge reads of a request: addresses, encodings, conditions, origins, ids."""

from __future__ import annotations

import gzip
from ipaddress import ip_address, ip_network

import brotli  # type: ignore[import-untyped]  # it publishes no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.edge.clients import build_name_client
from skatestock.edge.cors import Cors
from skatestock.edge.encodings import choose_encoding, compress
from skatestock.edge.entries import is_match
from skatestock.edge.errors import OriginError, TrustedProxyError
from skatestock.edge.headers import build_request_ids, join_repeated


def name(
    peer: str, forwarded: str | None = None, trusted: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8")
) -> str:
    headers = {} if forwarded is None else {b"x-forwarded-for": forwarded.encode()}
    return build_name_client(trusted)({"client": (peer, 1)}, headers)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.7", None, "address:198.51.100.7"),
        # what a client that is no proxy writes is worth nothing
        ("198.51.100.7", "203.0.113.9", "address:198.51.100.7"),
        ("10.1.1.1", "203.0.113.9", "address:203.0.113.9"),
        # only the hops from the right are from those we trust
        ("10.1.1.1", "1.1.1.1, 203.0.113.9", "address:203.0.113.9"),
        ("10.1.1.1", "1.1.1.1, 203.0.113.9, 10.2.2.2", "address:203.0.113.9"),
        ("10.1.1.1", "10.3.3.3, 10.2.2.2", "address:10.3.3.3"),
        ("10.1.1.1", "203.0.113.9:4711", "address:203.0.113.9"),
        ("10.1.1.1", "[2001:db8::1]:443", "address:2001:db8::/64"),
        ("10.1.1.1", "unknown, nonsense", "address:10.1.1.1"),
        ("10.1.1.1", "", "address:10.1.1.1"),
        ("::ffff:10.1.1.1", "203.0.113.9", "address:203.0.113.9"),
        ("fd00::1", "2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", None, "address:2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", None, "address:198.51.100.7"),
        ("", None, "address:unknown"),
    ],
)
def test_an_address_is_the_last_one_that_somebody_trusted_vouches_for(
    peer: str, forwarded: str | None, expected: str
) -> None:
    assert name(peer, forwarded) == expected


@given(st.lists(st.ip_addresses(v=4), max_size=30), st.text(max_size=50))
def test_what_a_client_writes_never_changes_whom_we_see(hops: list[object], junk: str) -> None:
    written = junk.encode("ascii", "replace").decode() + ", " + ", ".join(map(str, hops))
    assert name("10.1.1.1", f"{written}, 203.0.113.9") == "address:203.0.113.9"
    assert name("198.51.100.7", written) == "address:198.51.100.7"


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert name("10.1.1.1", "203.0.113.9", trusted=()) == "address:10.1.1.1"
    assert ip_address("10.1.1.1") in ip_network("10.0.0.0/8")


def test_a_trusted_proxy_that_is_no_network_is_an_error() -> None:
    with pytest.raises(TrustedProxyError, match="address or a network"):
        build_name_client(["10.0.0.0/99"])


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", "identity"),
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("gzip;q=0.8, br;q=0.5", "gzip"),
        ("br;q=0, gzip;q=0", "identity"),
        ("*", "br"),
        ("*;q=0.5, gzip;q=0.9", "gzip"),
        ("br;q=0, *", "gzip"),
        ("identity;q=1, br;q=0.5", "identity"),
        ("identity;q=0", "identity"),
        ("GZIP ; q=1.0", "gzip"),
        ("br;q=nonsense", "identity"),
        ("br;q=nan", "identity"),
        ("br;q=7", "identity"),
        ("br," * 200, "identity"),
    ],
)
def test_the_encoding_is_the_best_that_both_sides_like(accepted: str, expected: str) -> None:
    assert choose_encoding(accepted.encode()) == expected


@given(st.binary(max_size=300))
def test_any_accept_encoding_gets_an_encoding(accepted: bytes) -> None:
    assert choose_encoding(accepted) in ("identity", "gzip", "br")


@given(st.binary(max_size=2000))
def test_what_is_compressed_comes_back(body: bytes) -> None:
    assert gzip.decompress(compress(body, "gzip")) == body
    assert brotli.decompress(compress(body, "br")) == body
    assert compress(body, "gzip") == compress(body, "gzip")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", W/"a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ("", False),
        ('"a-gz"', False),
    ],
)
def test_a_condition_names_tags_by_weak_comparison(condition: str, expected: bool) -> None:
    assert is_match(condition.encode(), b'"a"') is expected


def test_origins_are_listed_or_any_without_credentials() -> None:
    listed = Cors(["https://skate.example"])
    asks = {b"origin": b"https://skate.example"}
    assert (b"access-control-allow-origin", b"https://skate.example") in listed.find_lines(asks)
    assert listed.find_lines({b"origin": b"https://other.example"}) == []
    assert listed.find_lines({}) == []
    anybody = Cors(["*"])
    assert (b"access-control-allow-origin", b"*") in anybody.find_lines(asks)
    assert anybody.find_lines({**asks, b"authorization": b"Bearer x"}) == []
    with pytest.raises(OriginError):
        Cors(["skate.example"])


def test_a_preflight_is_told_what_a_page_may_ask() -> None:
    preflight = {b"origin": b"https://skate.example", b"access-control-request-method": b"GET"}
    listed, anybody = Cors(["https://skate.example"]), Cors(["*"])
    assert listed.is_preflight("OPTIONS", preflight)
    assert not listed.is_preflight("GET", preflight)
    assert b"Authorization" in dict(listed.answer_preflight(preflight))[b"access-control-allow-headers"]
    assert b"Authorization" not in dict(anybody.answer_preflight(preflight))[b"access-control-allow-headers"]
    other = {**preflight, b"origin": b"https://other.example"}
    assert listed.answer_preflight(other) == [(b"vary", b"Origin")]


def test_a_header_that_comes_twice_is_joined() -> None:
    raw = [(b"x-forwarded-for", b"1.1.1.1"), (b"host", b"h"), (b"x-forwarded-for", b"2.2.2.2")]
    assert join_repeated(raw) == {b"x-forwarded-for": b"1.1.1.1, 2.2.2.2", b"host": b"h"}


def test_ids_differ_and_a_callers_own_is_kept_if_it_can_stand_in_a_log() -> None:
    tell, tell_elsewhere = build_request_ids(), build_request_ids()
    assert tell(b"my-own-id-1") == b"my-own-id-1"
    made = {tell(None), tell(b"short"), tell(b"with space in it"), tell_elsewhere(None), tell(b"a\nb" * 5)}
    assert len(made) == 5
    assert all(8 <= len(one) <= 64 and one.isalnum() for one in made)


def test_of_a_long_header_only_the_end_is_read() -> None:
    padded = "203.0.113.7," + " " * 5000 + "198.51.100.1, 203.0.113.9"
    assert name("10.1.1.1", padded) == "address:203.0.113.9"
    # a hop that is cut is nobody's address, and what is before it is not looked at
    proxies = ", ".join(["10.2.2.2"] * 200)
    assert name("10.1.1.1", f"198.51.100.1, {proxies}") == "address:10.2.2.2"
    cut = "203.0.113.99," + " " * 1261 + "10.2.2.2"
    assert name("10.1.1.1", cut) == "address:10.2.2.2"
    assert name("10.1.1.1", "1" * 5000) == "address:10.1.1.1"
