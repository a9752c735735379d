"""The control API: what it does, and how it refuses what it cannot do."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skatestock.replica.client import ReplicaControl, fetch
from skatestock.replica.control import ControlFace
from skatestock.replica.errors import ControlRefusedError
from skatestock.replica.reply import Request
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

START_AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def servers() -> AsyncIterator[ReplicaServers]:
    async with ReplicaServers(World(5, START_AT, listings_per_shop=12)) as running:
        yield running


@pytest.fixture
def control(servers: ReplicaServers) -> ReplicaControl:
    return ReplicaControl(servers.addresses.control_url)


async def test_the_state_names_the_shops_and_where_they_are(
    servers: ReplicaServers, control: ReplicaControl
) -> None:
    state = await control.state()
    assert (state.now, state.seed, state.rate, state.demo) == (START_AT, 5, None, True)
    assert {shop.slug: shop.url for shop in state.shops} == dict(servers.addresses.shop_urls)
    assert [shop.listings for shop in state.shops] == [12] * 5
    assert state.truth_records == sum(shop.offers for shop in state.shops)


async def test_the_clock_goes_forward_by_seconds_or_to_a_moment(control: ReplicaControl) -> None:
    there = await control.advance(86_400)
    assert there.now == START_AT + timedelta(days=1)
    further = await control.set_clock(START_AT + timedelta(days=20))
    assert further.now == START_AT + timedelta(days=20)
    assert there.changes + further.changes == len(await control.truth(since=START_AT))


async def test_the_clock_follows_and_stands(control: ReplicaControl) -> None:
    assert (await control.follow(1000)).rate == 1000
    assert (await control.follow(None)).rate is None
    now = (await control.state()).now
    assert (await control.state()).now == now


async def test_the_truth_is_asked_for_by_moment_and_shop(control: ReplicaControl) -> None:
    await control.advance(86_400 * 30)
    whole = await control.truth()
    since = START_AT + timedelta(days=10)
    assert await control.truth(since=since, shop="nj") == [
        r for r in whole if r.at > since and r.shop == "nj"
    ]


async def test_faults_are_set_listed_and_cleared(servers: ReplicaServers, control: ReplicaControl) -> None:
    fault = await control.set_fault("nj", "slow_drip", times=3, page=2, bytes_per_second=50_000)
    assert (fault.kind, fault.times, fault.page, fault.parameters) == (
        "slow_drip",
        3,
        2,
        {"bytes_per_second": 50_000},
    )
    await control.set_fault("labor", "not_found")
    await fetch(servers.addresses.shop_urls["nj"] + "/products.json?page=2")
    assert [fault.played for fault in await control.faults()] == [1, 0]
    assert await control.clear_faults(shop="labor") == 1
    assert await control.clear_faults() == 1
    assert await control.faults() == []


async def test_a_refusal_is_an_error_that_says_what_was_wrong(control: ReplicaControl) -> None:
    with pytest.raises(ControlRefusedError, match=r"400 .*earthquake"):
        await control.set_fault("nj", "earthquake")
    with pytest.raises(ControlRefusedError, match=r"400 .*set_to"):
        await control.set_clock(START_AT - timedelta(days=1))


@pytest.mark.parametrize(
    ("method", "target", "body", "field"),
    [
        ("POST", "/clock", {}, "body"),
        ("POST", "/clock", {"advance_seconds": 1, "follow": None}, "body"),
        ("POST", "/clock", {"advance_seconds": 86_400 * 500}, "advance_seconds"),
        ("POST", "/clock", {"set_to": "9999-12-31T23:59:59-12:00"}, "set_to"),
        ("POST", "/clock", {"set_to": "yesterday"}, "set_to"),
        ("POST", "/faults", {"shop": "nj"}, "kind"),
        ("POST", "/faults", {"shop": "nj", "kind": "bom", "colour": 1}, "colour"),
        ("POST", "/faults", {"shop": "nj", "kind": "bom", "times": "1"}, "times"),
        (
            "POST",
            "/faults",
            {"shop": "nj", "kind": "slow_drip", "parameters": {"bytes_per_second": 0.5}},
            "parameters.bytes_per_second",
        ),
        ("GET", "/truth?since=yesterday", None, "since"),
        ("GET", "/truth?since=2026-01-01T00:00:00", None, "since"),
        ("GET", "/truth?shop=zumiez", None, "shop"),
        ("GET", "/requests?after=-1", None, "after"),
        ("GET", "/requests?shop=zumiez", None, "shop"),
        ("DELETE", "/faults?fault_id=x", None, "fault_id"),
    ],
)
async def test_bad_input_is_400_and_names_the_field(
    servers: ReplicaServers, method: str, target: str, body: object, field: str
) -> None:
    sent = b"" if body is None else json.dumps(body).encode()
    response = await fetch(servers.addresses.control_url + target, method=method, body=sent)
    assert (response.status, response.json()["field"]) == (400, field)
    assert response.json()["error"]


async def test_other_paths_and_methods_are_refused(servers: ReplicaServers) -> None:
    assert (await fetch(servers.addresses.control_url + "/other")).status == 404
    response = await fetch(servers.addresses.control_url + "/clock")
    assert (response.status, response.headers["allow"]) == (405, "POST")


@pytest.fixture(scope="module")
def face() -> ControlFace:
    servers = ReplicaServers(World(5, START_AT, listings_per_shop=2))
    return ControlFace(servers.world, servers.clock, servers.board, servers.log, {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
CLOCK_LIKE = st.dictionaries(st.sampled_from(["advance_seconds", "set_to", "follow"]), JSON, max_size=2)
FAULT_LIKE = st.dictionaries(
    st.sampled_from(["shop", "kind", "times", "path", "page", "parameters"]),
    JSON | st.sampled_from(["nj", "*", "slow_drip", "bom"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(path=st.sampled_from(["/clock", "/faults"]), value=CLOCK_LIKE | FAULT_LIKE | JSON)
def test_any_order_is_obeyed_or_refused_with_a_field(face: ControlFace, path: str, value: object) -> None:
    reply = face.answer(Request("POST", path, {}, json.dumps(value).encode()))
    assert reply.status in (200, 201, 400)
    assert (reply.status == 400) is ("field" in json.loads(reply.body))


@given(st.text(), st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_question_is_answered_or_refused(face: ControlFace, since: str, after: str) -> None:
    for target in (f"/truth?since={since}", f"/requests?after={after}", f"/faults?fault_id={after}"):
        for method in ("GET", "DELETE"):
            assert face.answer(Request(method, target, {})).status in (200, 400, 405)
