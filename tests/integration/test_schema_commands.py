"""`skatestock schemas` as a person runs it, on a real registry and with the package in several versions."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.e2e.processes import run_command

import skatestock
from skatestock.eventlog.schema_registry import SchemaRegistry
from skatestock.events.versions import EVENTS

pytestmark = pytest.mark.xdist_group("registry")

PACKAGE = Path(skatestock.__file__).parent
LISTING = "skatestock.events.ListingObserved"


class Said(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    err: str


class Installation:
    """A copy of the package that speaks of a topic of its own, so that its subjects are no other test's."""

    def __init__(self, folder: Path, topic: str, registry_url: str) -> None:
        self.package = folder / "skatestock"
        shutil.copytree(PACKAGE, self.package)
        consumer = self.package / "ingest" / "consumer.py"
        text = consumer.read_text("utf-8")
        assert text.count('TOPIC = "listing-observations"') == 1
        consumer.write_text(text.replace('TOPIC = "listing-observations"', f'TOPIC = "{topic}"'), "utf-8")
        self.environment = {
            "PYTHONPATH": str(folder),
            "SKATESTOCK_DATA": str(folder / "data"),
            "SKATESTOCK_SCHEMA_REGISTRY_URL": registry_url,
            "COLUMNS": "200",
        }

    def change(self, before: str, after: str, *, release: bool) -> None:
        """Edit the schema of ListingObserved, and release it with the next number."""
        schema = self.package / "events" / "schemas" / "ListingObserved.avsc"
        text = schema.read_text("utf-8")
        assert text.count(before) == 1
        schema.write_text(text.replace(before, after), "utf-8")
        if release:
            history = self.package / "events" / "schemas" / "history" / "ListingObserved"
            shutil.copy(schema, history / f"{len(list(history.iterdir())) + 1}.avsc")

    async def run(self, *words: str, **environment: str) -> Said:
        environ = {**self.environment, **environment}
        ended = await asyncio.to_thread(run_command, "schemas", *words, environ=environ)
        return Said(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def topic() -> str:
    return f"c-{os.urandom(6).hex()}"


@pytest.fixture
def installation(tmp_path: Path, topic: str, schema_registry_url: str) -> Installation:
    return Installation(tmp_path, topic, schema_registry_url)


@pytest.fixture
async def registry(topic: str, schema_registry_url: str) -> AsyncGenerator[SchemaRegistry]:
    registry = SchemaRegistry(schema_registry_url, topic)
    yield registry
    await registry.close()


async def test_registering_says_subject_version_and_id_and_is_safe_again(
    installation: Installation, registry: SchemaRegistry, topic: str
) -> None:
    before = await installation.run("check")
    assert (before.code, before.out.count("is not registered yet")) == (0, 2)

    first, again = await installation.run("register"), await installation.run("register")
    assert [said.code for said in (first, again)] == [0, 0]
    assert (first.out.count("new"), again.out.count("as before")) == (2, 2)
    found = await registry.find_registration("ListingObserved")
    assert found is not None
    (line,) = [line.split() for line in first.out.splitlines() if LISTING in line]
    assert line == [f"{topic}-{LISTING}", "1", str(found.schema_id), "BACKWARD", "new"]
    assert await registry.fetch_compatibility("CrawlCompleted") == "BACKWARD"

    listed = await rows_of(installation)
    assert [(row["event"], row["version"], row["is_ours"]) for row in listed] == [
        ("ListingObserved", 1, True),
        ("CrawlCompleted", 1, True),
    ]
    assert listed[0]["id"] == found.schema_id
    assert (await installation.run("check")).code == 0


async def register_all(registry: SchemaRegistry) -> None:
    for event in EVENTS:
        await registry.register(event)


async def rows_of(installation: Installation) -> list[dict[str, Any]]:
    said = await installation.run("list", "--json")
    assert said.code == 0
    rows: list[dict[str, Any]] = json.loads(said.out)["schemas"]
    return rows


async def test_a_compatible_change_is_told_and_registered_as_the_next_version(
    installation: Installation, registry: SchemaRegistry
) -> None:
    await register_all(registry)
    added = '{"name": "season", "type": ["null", "string"], "default": null, "doc": "."}, {"name": "handle",'
    installation.change('{"name": "handle",', added, release=True)

    said = await installation.run("check")
    assert said.code == 0
    assert "ListingObserved may follow version 1" in said.out
    assert "season: new, null or string, default None" in said.out
    assert (await installation.run("list")).out.count("is not registered as it is here") == 1

    assert (await installation.run("register")).code == 0
    assert [(row["version"], row["is_ours"]) for row in await rows_of(installation)] == [
        (1, False),
        (2, True),
        (1, True),
    ]


@pytest.mark.parametrize("release", [False, True], ids=["unreleased", "released"])
async def test_an_incompatible_change_is_refused_with_the_reason(
    installation: Installation, registry: SchemaRegistry, release: bool
) -> None:
    await register_all(registry)
    installation.change(
        '{"name": "price_minor", "type": "long"', '{"name": "price_minor", "type": "int"', release=release
    )
    said = await installation.run("check")
    assert said.code == 1
    assert (
        "ListingObserved.avsc cannot follow version 1: offers[].price_minor: int cannot read long" in said.out
    )
    assert "ListingObserved cannot follow version 1; the registry refuses it" in said.out
    assert "offers[].price_minor: was long, is int" in said.out
    assert "CrawlCompleted reads its 1 released version" in said.out

    refused = await installation.run("register")
    assert refused.code == 1
    assert "offers[].price_minor: int cannot read long" in refused.err
    assert len(await registry.fetch_versions("ListingObserved")) == 1


async def test_a_subject_with_another_rule_is_a_fault_until_it_is_registered_again(
    installation: Installation, registry: SchemaRegistry
) -> None:
    await register_all(registry)
    client = registry._client
    client.set_compatibility(registry.subject_of("CrawlCompleted"), "NONE")
    said = await installation.run("check")
    assert (said.code, "CrawlCompleted: its rule is NONE, not BACKWARD" in said.out) == (1, True)
    await register_all(registry)
    assert (await installation.run("check")).code == 0


async def test_without_a_registry_the_fixed_ids_are_listed(installation: Installation) -> None:
    del installation.environment["SKATESTOCK_SCHEMA_REGISTRY_URL"]
    assert await rows_of(installation) == [
        {"event": "ListingObserved", "version": 3, "id": 201},
        {"event": "CrawlCompleted", "version": 1, "id": 2},
    ]
    assert (await installation.run("check")).code == 0
    said = await installation.run("register")
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert "set SKATESTOCK_SCHEMA_REGISTRY_URL" in said.err


@pytest.mark.parametrize("words", ["register", "check", "list"])
async def test_what_is_wrong_with_a_registry_is_one_line(installation: Installation, words: str) -> None:
    for url, code, text in (
        ("http://127.0.0.1:9/x", 3, "does not answer"),
        ("registry:8081", 3, "SKATESTOCK_SCHEMA_REGISTRY_URL cannot be used"),
    ):
        said = await installation.run(words, SKATESTOCK_SCHEMA_REGISTRY_URL=url)
        assert (said.code, said.err.count("\n")) == (code, 1)
        assert text in said.err
