"""Our own check and a real registry side by side, and what the registry's client makes of every answer."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from tests.forwarding import forwarded
from tests.schema_changes import CHANGES

from skatestock.eventlog.errors import (
    IncompatibleSchemaError,
    RegistryRefusedError,
    RegistryUnavailableError,
    SchemaNotRegisteredError,
)
from skatestock.eventlog.schema_registry import SchemaRegistry
from skatestock.events.compatibility import find_incompatibilities
from skatestock.events.versions import EVENTS, load_schema

pytestmark = pytest.mark.xdist_group("registry")


@pytest.fixture
def topic() -> str:
    """Return a topic that no other test has subjects for."""
    return f"c-{os.urandom(6).hex()}"


@pytest.fixture
async def registry(schema_registry_url: str, topic: str) -> AsyncGenerator[SchemaRegistry]:
    registry = SchemaRegistry(schema_registry_url, topic)
    yield registry
    await registry.close()


def to_schema(schema: dict[str, Any]) -> Schema:
    return Schema(json.dumps(schema), "AVRO")


@pytest.mark.parametrize("name", CHANGES)
def test_the_registry_judges_a_change_as_we_do(schema_registry_url: str, topic: str, name: str) -> None:
    change = CHANGES[name]
    client = SchemaRegistryClient({"url": schema_registry_url})
    client.set_compatibility(topic, "BACKWARD")
    client.register_schema(topic, to_schema(change.old))

    try:
        accepts = client.test_compatibility(topic, to_schema(change.new))
    except SchemaRegistryError as error:
        # Apache's checker raises where two fields of the writer match one, and the registry passes that on.
        accepts = error.http_status_code != 422
    assert accepts is (find_incompatibilities(change.new, change.old) == [])
    assert accepts is change.is_compatible


async def test_registering_gives_every_event_its_subject_rule_and_id(
    registry: SchemaRegistry, topic: str
) -> None:
    with pytest.raises(SchemaNotRegisteredError, match="run `skatestock schemas register`"):
        await registry.load_ids()

    made = [await registry.register(event) for event in EVENTS]
    assert [registration.subject for registration in made] == [
        f"{topic}-skatestock.events.ListingObserved",
        f"{topic}-skatestock.events.CrawlCompleted",
    ]
    assert [registration.version for registration in made] == [1, 1]
    assert len({registration.schema_id for registration in made}) == 2
    for event, registration in zip(EVENTS, made, strict=True):
        assert await registry.fetch_compatibility(event) == "BACKWARD"
        assert registry.id_of(event) == registration.schema_id
        assert registry.find_schema(registration.schema_id) is not None


async def test_registering_twice_or_at_once_changes_nothing(
    registry: SchemaRegistry, schema_registry_url: str, topic: str
) -> None:
    others = [SchemaRegistry(schema_registry_url, topic) for _ in range(4)]
    made = await asyncio.gather(*(each.register("CrawlCompleted") for each in (registry, *others)))
    assert len({registration[:3] for registration in made}) == 1
    again = await registry.register("CrawlCompleted")
    assert again[:3] == made[0][:3]
    assert len(await registry.fetch_versions("CrawlCompleted")) == 1
    for other in others:
        await other.close()


def evolved(event: str, **more: Any) -> dict[str, Any]:
    schema = load_schema(event)
    return schema | {"fields": [*schema["fields"], {"name": "season", "type": "string", **more}]}


async def test_the_registry_tells_what_may_follow(registry: SchemaRegistry) -> None:
    assert await registry.accepts("ListingObserved", load_schema("ListingObserved"))
    await registry.register("ListingObserved")
    assert await registry.accepts("ListingObserved", evolved("ListingObserved", default=""))
    assert not await registry.accepts("ListingObserved", evolved("ListingObserved"))
    assert not await registry.accepts("ListingObserved", {"type": "nothing"})
    assert len(await registry.fetch_versions("ListingObserved")) == 1


async def test_a_schema_that_cannot_follow_is_refused_in_one_line(
    registry: SchemaRegistry, schema_registry_url: str
) -> None:
    subject = registry.subject_of("CrawlCompleted")
    client = SchemaRegistryClient({"url": schema_registry_url})
    older = load_schema("CrawlCompleted")
    older["fields"] = [field for field in older["fields"] if field["name"] != "pages"]
    client.register_schema(subject, to_schema(older))

    with pytest.raises(IncompatibleSchemaError, match="refuses the schema") as caught:
        await registry.register("CrawlCompleted")
    assert "\n" not in str(caught.value)
    with pytest.raises(SchemaNotRegisteredError):
        await registry.load_ids()


async def test_a_writers_schema_is_learned_once_and_kept(
    registry: SchemaRegistry, schema_registry_url: str, topic: str
) -> None:
    schema_id = (await registry.register("ListingObserved")).schema_id
    async with forwarded(schema_registry_url) as way:
        learner = SchemaRegistry(way.url, topic)
        await learner.learn([schema_id])
        assert learner.find_schema(schema_id) is not None
        assert way.connections == 1
        await way.cut()
        await learner.learn([schema_id])
        with pytest.raises(RegistryUnavailableError):
            await learner.learn([schema_id + 1])
        await learner.close()


Answer = Callable[[str], tuple[int, str, str]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncGenerator[tuple[str, list[str]]]:
    """Serve answers made from a request's text; yields the address and the requests so far."""
    requests: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        requests.append(head)
        status, kind, body = answer(head)
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body.encode())}\r\n"
            f"Connection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", requests


JSON = "application/json"
HTML = "<!doctype html><title>Sign in</title>"

REFUSALS: dict[str, tuple[tuple[int, str, str], type[Exception], str]] = {
    "a login that is wanted": ((401, "text/html", HTML), RegistryRefusedError, "refuses us without a login"),
    "a right that is missing": ((403, JSON, "{}"), RegistryRefusedError, "check SKATESTOCK_SCHEMA_REGISTRY"),
    "another server's 404": ((404, "text/html", HTML), RegistryRefusedError, "is no schema registry"),
    "another server's JSON 404": ((404, JSON, '{"detail": "x"}'), RegistryRefusedError, "no schema registry"),
    "a page": ((200, "text/html", HTML), RegistryRefusedError, "its answers are not a registry's"),
    "a list": ((200, JSON, "[]"), RegistryRefusedError, "is no schema registry"),
    "an empty object": ((200, JSON, "{}"), RegistryRefusedError, "is no schema registry"),
    "a way to another place": ((302, "text/html", HTML), RegistryRefusedError, "it answers 302"),
    "a schema that is none": (
        (422, JSON, '{"error_code": 42201, "message": "Invalid\\n schema"}'),
        RegistryRefusedError,
        "answers 422: Invalid schema",
    ),
    "a registry that starts": ((503, "text/plain", "starting"), RegistryUnavailableError, "answers 503"),
    "a registry that broke": (
        (500, JSON, '{"error_code": 50001, "message": "store"}'),
        RegistryUnavailableError,
        "answers 500: store",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_whatever_is_answered_becomes_one_clear_line(what: str) -> None:
    answer, kind, words = REFUSALS[what]
    async with answering(lambda _: answer) as (url, _):
        registry = SchemaRegistry(url, "c-topic")
        for ask in asking(registry):
            with pytest.raises(kind, match=words) as caught:
                await ask()
            assert "\n" not in str(caught.value)
            assert url in str(caught.value)
        await registry.close()


def asking(registry: SchemaRegistry) -> list[Callable[[], Awaitable[Any]]]:
    return [registry.load_ids, lambda: registry.learn([7])]


async def test_an_id_that_nobody_has_is_asked_for_again_later(topic: str) -> None:
    moment = [1000.0]
    nothing = (404, JSON, '{"error_code": 40403, "message": "Schema 7 not found"}')
    found = (200, JSON, json.dumps({"schema": json.dumps(load_schema("CrawlCompleted"))}))
    answers = iter([nothing, found])
    async with answering(lambda _: next(answers)) as (url, requests):
        registry = SchemaRegistry(url, topic, monotonic=lambda: moment[0])
        for moment[0] in (1000.0, 1001.0, 1029.0):
            await registry.learn([7, 2**32 - 1])
            assert registry.find_schema(7) is None
        assert len(requests) == 1
        moment[0] = 1031.0
        await registry.learn([7])
        assert registry.find_schema(7) == load_schema("CrawlCompleted")
        await registry.close()


@pytest.mark.parametrize("in_url", [False, True])
async def test_the_login_is_sent_and_never_shown(in_url: bool) -> None:
    async with answering(lambda _: (401, JSON, "{}")) as (url, requests):
        if in_url:
            registry = SchemaRegistry(url.replace("//", "//ada:s%40crt@"), "c-topic")
        else:
            registry = SchemaRegistry(url, "c-topic", user="ada", password="s@crt")
        with pytest.raises(RegistryRefusedError, match="refuses the user ada") as caught:
            await registry.load_ids()
        assert "crt" not in str(caught.value)
        assert f"Basic {base64.b64encode(b'ada:s@crt').decode()}" in requests[0]
        assert registry.url == url


async def test_a_registry_that_is_away_is_worth_another_try() -> None:
    async with answering(lambda _: (200, JSON, "{}")) as (url, _):
        pass
    registry = SchemaRegistry(url, "c-topic")
    with pytest.raises(RegistryUnavailableError, match=f"at {url} does not answer") as caught:
        await registry.load_ids()
    assert isinstance(caught.value, ConnectionError)


async def test_a_registry_that_hangs_is_left_after_the_timeout() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        registry = SchemaRegistry(f"http://127.0.0.1:{port}", "c-topic", timeout_seconds=0.2)
        async with asyncio.timeout(5):
            with pytest.raises(RegistryUnavailableError, match="does not answer"):
                await registry.learn([1])
        await registry.close()


async def test_what_stands_before_a_proven_registry_does_not_stop_us(topic: str) -> None:
    answers = iter(
        [
            (404, JSON, '{"error_code": 40403, "message": "Schema 7 not found"}'),
            (200, JSON, json.dumps({"schema": json.dumps(load_schema("CrawlCompleted"))})),
            (404, "text/html", HTML),
        ]
    )
    async with answering(lambda _: next(answers)) as (url, _):
        registry = SchemaRegistry(url, topic)
        await registry.learn([7, 8])
        assert registry.find_schema(7) is None
        with pytest.raises(RegistryUnavailableError, match="is away: it answers 404"):
            await registry.learn([9])
        await registry.close()


async def test_a_registry_on_this_machine_is_asked_past_any_proxy(
    schema_registry_url: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    registry = SchemaRegistry(schema_registry_url, topic)
    assert await registry.fetch_versions("CrawlCompleted") == []
    await registry.close()


@pytest.mark.parametrize("url", ["registry:8081", "ftp://registry", "http//registry"])
async def test_an_address_that_cannot_be_one_is_one_clear_line(url: str) -> None:
    with pytest.raises(RegistryRefusedError, match="SKATESTOCK_SCHEMA_REGISTRY_URL cannot be used"):
        SchemaRegistry(url, "c-topic")


async def test_a_registry_that_confuses_two_schemas_is_not_believed() -> None:
    """Some registries compare schemas without the order of their fields; records need it."""
    shuffled = load_schema("ListingObserved")
    shuffled["fields"].reverse()
    text = json.dumps(shuffled)

    def answer(head: str) -> tuple[int, str, str]:
        return 200, JSON, json.dumps({"subject": "s", "version": 1, "id": 5, "schema": text})

    async with answering(answer) as (url, _):
        registry = SchemaRegistry(url, "c-topic")
        with pytest.raises(RegistryRefusedError, match="although records are written differently"):
            await registry.load_ids()
        await registry.close()
