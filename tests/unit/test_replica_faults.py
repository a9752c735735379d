"""Faults: what may be set, when they play, and that the manual says the same as the code."""

import json
import re
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.replica.control import read_order
from skatestock.replica.errors import ControlInputError
from skatestock.replica.fault_effects import cut_page, damage, render_edited_page, stream_zeros
from skatestock.replica.faults import CATALOGUE_PATHS, FAULT_KINDS, Fault, FaultBoard, FaultKind
from skatestock.replica.rates import Rates
from skatestock.replica.reply import Reply
from skatestock.replica.schemas import ClockOrder, FaultOrder
from skatestock.replica.world import World

MANUAL = Path(__file__).parents[2] / "docs" / "REPLICA.md"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
LISTINGS = World(1, NOW, listings_per_shop=10).state_at("labor")


def manual_row(name: str, kind: FaultKind) -> str:
    parameters = "; ".join(
        f"`{word}` ({parameter.default}): {parameter.says}"
        + (f" ({', '.join(f'`{choice}`' for choice in parameter.choices)})" if parameter.choices else "")
        for word, parameter in kind.parameters.items()
    )
    where = "" if kind.paths == CATALOGUE_PATHS else f" On {', '.join(f'`{path}`' for path in kind.paths)}"
    never = f", save {', '.join(f'`{path}`' for path in kind.never)}" if kind.never else ""
    return f"| `{name}` | {kind.says}.{where}{never}{'.' if where else ''} | {parameters or '–'} |"


@pytest.mark.parametrize("name", sorted(FAULT_KINDS))
def test_the_manual_describes_the_fault_as_it_is(name: str) -> None:
    assert manual_row(name, FAULT_KINDS[name]) in MANUAL.read_text().splitlines()


def test_the_manual_describes_no_fault_that_is_not_there() -> None:
    faults = MANUAL.read_text().partition("## Faults")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", faults, re.MULTILINE)) == set(FAULT_KINDS)


def test_the_manual_names_everything_that_happens_in_the_world() -> None:
    world = MANUAL.read_text().partition("## The world")[2].partition("## The truth")[0]
    assert {f"`{episode}`" for episode in Rates().episodes} <= set(re.findall(r"`\w+`", world))


def set_fields(**order: Any) -> str:
    with pytest.raises(ControlInputError) as caught:
        Fault(**({"shop": "labor", "kind": "bom"} | order))
    return caught.value.field


def test_what_cannot_be_set_names_the_field_at_fault() -> None:
    assert set_fields(shop="zumiez") == "shop"
    assert set_fields(kind="earthquake") == "kind"
    assert set_fields(times=0) == "times"
    assert set_fields(parameters={"speed": 1}) == "parameters.speed"
    assert set_fields(kind="slow_drip", parameters={"bytes_per_second": 0}) == "parameters.bytes_per_second"
    assert (
        set_fields(kind="slow_drip", parameters={"bytes_per_second": True}) == "parameters.bytes_per_second"
    )
    assert set_fields(kind="wrong_charset", parameters={"charset": "ebcdic"}) == "parameters.charset"
    assert set_fields(kind="redirect_off_host", parameters={"location": "a\r\nb: c"}) == "parameters.location"


def test_a_fault_cannot_be_set_at_a_shop_that_the_world_does_not_have() -> None:
    board = FaultBoard(("nj", "plain-plaza"))
    with pytest.raises(ControlInputError, match="'labor' is not one of: nj, plain-plaza") as caught:
        board.set_fault(Fault("labor", "bom"))
    assert caught.value.field == "shop"
    assert board.set_fault(Fault("plain-plaza", "bom")) in board.faults()


def test_parameters_that_are_not_given_are_the_manuals_defaults() -> None:
    assert Fault("labor", "too_many_requests").parameters == {"retry_after_seconds": 30, "form": "seconds"}


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (ClockOrder, b'{"advance_seconds": "1"}', "advance_seconds"),
        (ClockOrder, b'{"advance_seconds": -1}', "advance_seconds"),
        (ClockOrder, b'{"advance_seconds": 1e99}', "advance_seconds"),
        (ClockOrder, b'{"set_to": "2026-01-01T00:00:00"}', "set_to"),
        (ClockOrder, b'{"follow": {"rate": 0}}', "follow.rate"),
        (ClockOrder, b'{"follow": {"speed": 1}}', "follow.speed"),
        (ClockOrder, b'{"jump": 1}', "jump"),
        (ClockOrder, b"nonsense", "body"),
        (ClockOrder, b"[]", "body"),
        (ClockOrder, b'"\xff"', "body"),
        (FaultOrder, b'{"kind": "bom"}', "shop"),
        (FaultOrder, b'{"shop": "nj", "kind": "bom", "page": 0}', "page"),
        (FaultOrder, b'{"shop": "nj", "kind": "bom", "parameters": []}', "parameters"),
    ],
)
def test_a_bad_order_names_the_field_at_fault(kind: type[Any], body: bytes, field: str) -> None:
    with pytest.raises(ControlInputError) as caught:
        read_order(body, kind)
    assert caught.value.field == field


@given(st.binary())
def test_any_bytes_are_an_order_or_refused(body: bytes) -> None:
    with suppress(ControlInputError):
        assert read_order(body, FaultOrder).shop is not None


def test_a_fault_plays_as_often_as_it_should_and_then_no_more() -> None:
    board = FaultBoard()
    fault = board.set_fault(Fault("labor", "not_found", times=2))
    taken = [len(board.take("labor", "/products.json", page)) for page in (1, 2, 3)]
    assert taken == [1, 1, 0]
    assert (fault.played, fault.is_spent) == (2, True)


def test_a_fault_plays_only_at_its_shop_on_its_paths_and_page() -> None:
    board = FaultBoard()
    board.set_fault(Fault("labor", "not_found", page=2))
    board.set_fault(Fault("nj", "bom", path="/products/*.js"))
    assert not board.take("labor", "/products.json", 1)
    assert not board.take("nj", "/products.json", 2)
    assert not board.take("labor", "/robots.txt", 2)
    assert board.take("labor", "/collections/sale/products.json", 2)
    assert board.take("nj", "/products/x.js", 1)


def test_a_fault_at_every_shop_plays_everywhere() -> None:
    board = FaultBoard()
    board.set_fault(Fault("*", "password_page"))
    assert board.take("seasons", "/", 1)
    assert not board.take("seasons", "/password", 1)


def test_an_answering_fault_plays_alone() -> None:
    board = FaultBoard()
    damaging = board.set_fault(Fault("labor", "bom"))
    answering = board.set_fault(Fault("labor", "not_found", times=1))
    assert board.take("labor", "/products.json", 1) == [answering]
    assert damaging.played == 0
    assert board.take("labor", "/products.json", 1) == [damaging]


def test_clearing_takes_only_what_matches_everything_given() -> None:
    board = FaultBoard()
    kept = board.set_fault(Fault("labor", "bom"))
    board.set_fault(Fault("labor", "not_found"))
    board.set_fault(Fault("nj", "not_found"))
    assert board.clear(shop="labor", kind="not_found") == 1
    assert board.clear(kind="not_found") == 1
    assert board.faults() == [kept]
    assert board.clear(fault_id=kept.fault_id) == 1


def paged(*faults: Fault, limit: int = 4) -> list[list[int]]:
    ids = [listing.listing_id for listing in LISTINGS]
    return [
        [ids.index(listing.listing_id) for listing in cut_page(LISTINGS, limit, page, faults)]
        for page in (1, 2, 3)
    ]


def test_pages_without_faults_are_the_catalogue_in_order() -> None:
    assert paged() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_drift_repeats_or_skips_at_the_pages_edge() -> None:
    assert paged(Fault("labor", "page_drift")) == [[0, 1, 2, 3], [3, 4, 5, 6], [7, 8, 9]]
    removed = Fault("labor", "page_drift", parameters={"change": "removed", "from_page": 3})
    assert paged(removed) == [[0, 1, 2, 3], [4, 5, 6, 7], [9]]


def test_a_repeated_and_a_missing_listing_move_the_rest() -> None:
    repeated = Fault("labor", "listing_repeated", parameters={"position": 3})
    assert paged(repeated) == [[0, 1, 2, 3], [3, 4, 5, 6], [7, 8, 9]]
    missing = Fault("labor", "listing_missing", parameters={"position": 1, "count": 2})
    assert paged(missing) == [[0, 3, 4, 5], [6, 7, 8, 9], []]


def test_empty_and_short_catalogues() -> None:
    assert paged(Fault("labor", "empty_catalogue")) == [[], [], []]
    assert paged(Fault("labor", "short_catalogue")) == [[0, 1, 2, 3], [], []]


def edited(kind: str, **parameters: Any) -> list[Any]:
    body = render_edited_page(LISTINGS, [Fault("labor", kind, parameters=parameters)], NOW)
    products: list[Any] = json.loads(body)["products"]
    return products


def test_prices_are_nothing_or_a_hundredfold_where_the_fault_says() -> None:
    whole = [product["variants"][0]["price"] for product in edited("price_zero", count=1, position=9)]
    hundredfold = [product["variants"][0]["price"] for product in edited("price_times_100", position=9)]
    assert whole[9] == "0.00"
    assert whole[:9] == hundredfold[:9]
    assert float(hundredfold[9]) == 100 * LISTINGS[9].offers[0].price_minor / 100
    assert {v["price"] for product in edited("price_zero") for v in product["variants"]} == {"0.00"}


def test_one_product_is_bad_in_each_way_and_the_others_are_whole() -> None:
    assert edited("bad_product", position=1)[1]["variants"] is None
    assert "variants" not in edited("bad_product", how="variants_missing")[0]
    assert edited("bad_product", how="price_text")[0]["variants"][0]["price"] == "abc"
    assert "id" not in edited("bad_product", how="no_id")[0]
    assert edited("bad_product", how="not_an_object")[0] == "product"
    assert edited("bad_product", how="not_an_object")[1:] == edited("price_zero", count=1)[1:]
    assert all(product["variants"] for product in edited("bad_product", position=500))


@pytest.mark.parametrize("size", [1, 1000, 2**20, 2**20 + 1, 5 * 2**20 + 17])
def test_a_bomb_is_a_right_gzip_of_so_many_zeros(size: int) -> None:
    packed = b"".join(stream_zeros(size))
    assert zlib.decompress(packed, 31) == bytes(size)
    assert len(packed) < max(200, size // 500)


def test_a_bomb_of_a_gigabyte_is_small_on_the_wire() -> None:
    assert sum(map(len, stream_zeros(2**30))) < 2**21


@pytest.mark.parametrize(
    ("body", "mark"),
    [(b'[{"name":"A"}]', b'"name":"\xff\xfeA"'), (b"<title>A</title>", b"<title>\xff\xfeA"), (b"{}", b"{}")],
)
def test_broken_letters_stand_in_the_first_title_of_every_platform(body: bytes, mark: bytes) -> None:
    reply = damage(Reply(200, body, "x"), [Fault("labor", "invalid_utf8")])
    assert mark in reply.body


@pytest.mark.parametrize(
    ("body", "shape", "becomes"),
    [
        (b'{"products":[1]}', "list", b"[1]"),
        (b"[1]", "list", b"[[1]]"),
        (b'{"items":[]}', "list", b'[{"items":[]}]'),
        (b"[1]", "null", b"null"),
    ],
)
def test_json_of_another_shape_is_that_for_every_platform(body: bytes, shape: str, becomes: bytes) -> None:
    reply = damage(Reply(200, body, "x"), [Fault("labor", "unexpected_json", parameters={"shape": shape})])
    assert reply.body == becomes
