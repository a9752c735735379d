"""`skatestock deadletters`: what could not be processed is listed, shown, replayed once and discarded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest
from tests.e2e.platforms import open_test_platform
from tests.e2e.processes import run_command
from tests.ingest_shop import add_shop, seen

from skatestock.eventlog.port import Message
from skatestock.events.codec import encode
from skatestock.ingest.consumer import TOPIC

SHOP = "corner"
POISON = b"[/] no event"
"""It looks like markup, which a table must not obey."""


@pytest.fixture
def dsn(database_dsn: str) -> str:
    """Give a database where ingest has met bytes that are no event, and an event of an unknown shop."""
    asyncio.run(append(database_dsn, POISON, encode(seen(0, shop=SHOP))))
    call(database_dsn, "ingest", "--until-idle")
    return database_dsn


async def append(dsn: str, *values: bytes) -> None:
    async with open_test_platform(dsn, None) as platform:
        await platform.log.append(TOPIC, [Message(key=SHOP, value=value) for value in values])


def call(dsn: str, *arguments: str, code: int = 0) -> str:
    """Run a command, expect its exit code, and return what it said."""
    ended = run_command(*arguments, environ={"SKATESTOCK_DATABASE_URL": dsn, "COLUMNS": "100"})
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout if code == 0 else ended.stderr


def listed(dsn: str, *options: str) -> list[dict[str, Any]]:
    letters: list[dict[str, Any]] = json.loads(call(dsn, "deadletters", "list", "--json", *options))
    return letters


async def count_listings(dsn: str) -> tuple[int, int]:
    connection = await asyncpg.connect(dsn)
    try:
        counts = "SELECT (SELECT count(*) FROM listings), (SELECT count(*) FROM price_points)"
        row = await connection.fetchrow(counts)
        assert row is not None
        return row[0], row[1]
    finally:
        await connection.close()


async def open_shop(dsn: str) -> None:
    async with open_test_platform(dsn, None) as platform:
        await add_shop(platform.pool, SHOP)


def test_a_letter_is_found_shown_and_discarded(dsn: str) -> None:
    poison, stranger = listed(dsn)
    assert (poison["kind"], stranger["kind"]) == ("bad_magic_byte", "unknown_shop")
    assert listed(dsn, "--kind", "unknown_shop") == [stranger]

    table = call(dsn, "deadletters", "list")
    for word in (str(poison["id"]), "bad_magic_byte", "unknown_shop", SHOP, "deadletters show ID", " s "):
        assert word in table

    shown = call(dsn, "deadletters", "show", str(poison["id"]))
    assert f"value: {POISON.hex()}" in shown
    assert "cannot be read" in shown
    event = json.loads(call(dsn, "deadletters", "show", str(stranger["id"]), "--json"))["event"]
    assert (event["shop"], event["listing_id"]) == (SHOP, "1")
    assert "skatestock deadletters list" in call(dsn, "deadletters", "show", "9999", code=1)

    said = call(dsn, "deadletters", "discard", str(poison["id"]), "--dry-run")
    assert said.endswith("\n1 dead letter would be discarded.\n")
    assert "bad_magic_byte" in said
    assert listed(dsn) == [poison, stranger]
    assert call(dsn, "deadletters", "discard", str(poison["id"])) == "1 dead letter discarded.\n"
    assert listed(dsn) == [stranger]
    assert [letter["id"] for letter in listed(dsn, "--state", "discarded")] == [poison["id"]]
    assert "1 waits" in call(dsn, "status")


def test_once_the_cause_is_mended_a_replayed_letter_is_stored_once(dsn: str) -> None:
    poison, stranger = (str(letter["id"]) for letter in listed(dsn))
    assert asyncio.run(count_listings(dsn)) == (0, 0)
    asyncio.run(open_shop(dsn))

    said = call(dsn, "deadletters", "replay", "--every", "--dry-run")
    assert said.endswith("\n2 dead letters would be replayed.\n")
    assert call(dsn, "deadletters", "replay", stranger) == "1 dead letter replayed.\n"
    call(dsn, "ingest", "--until-idle")
    assert asyncio.run(count_listings(dsn)) == (1, 1)

    said = call(dsn, "deadletters", "replay", stranger)
    assert said == "0 dead letters replayed; 1 had been settled before.\n"
    call(dsn, "ingest", "--until-idle")
    assert asyncio.run(count_listings(dsn)) == (1, 1)
    assert [str(letter["id"]) for letter in listed(dsn)] == [poison]


def test_filters_choose_what_is_listed_replayed_and_discarded(dsn: str) -> None:
    poison, stranger = listed(dsn)
    topic, partition, _ = poison["source"].split("/")
    assert listed(dsn, "--shop", SHOP, "--topic", topic, "--partition", partition) == [poison, stranger]
    assert listed(dsn, "--text", "NO SHOP", "--group", "ingest") == [stranger]
    assert listed(dsn, "--since", "2020-01-01", "--until", poison["dead_at"]) == []
    assert listed(dsn, "--since", poison["dead_at"]) == [poison, stranger]
    assert "of 2" in call(dsn, "deadletters", "list", "--limit", "1")
    assert "--state all" in call(dsn, "deadletters", "list", "--shop", "nobody")
    assert "ever discarded" in call(dsn, "deadletters", "list", "--state", "discarded")

    asyncio.run(open_shop(dsn))
    of_strangers = ("--every", "--kind", "unknown_shop", "--shop", SHOP, "--json")
    said = json.loads(call(dsn, "deadletters", "replay", *of_strangers, "--dry-run"))
    expected = {"replayed": [stranger["id"]], "dry_run": True, "settled_before": 0, "of_another_log": 0}
    assert said == expected
    assert json.loads(call(dsn, "deadletters", "replay", *of_strangers)) == {**expected, "dry_run": False}
    call(dsn, "ingest", "--until-idle")
    assert asyncio.run(count_listings(dsn)) == (1, 1)
    assert listed(dsn) == [poison]

    said = json.loads(call(dsn, "deadletters", "discard", "--every", "--text", "begins with", "--json"))
    assert said["discarded"] == [poison["id"]]
    assert "everything that was appended" in call(dsn, "deadletters", "list")
    assert call(dsn, "deadletters", "discard", "--every") == "0 dead letters discarded.\n"


def test_letters_of_another_log_are_left_out_or_refused(dsn: str) -> None:
    poison, _ = listed(dsn)
    asyncio.run(move_to_kafka(dsn, poison["id"]))
    said = call(dsn, "deadletters", "replay", str(poison["id"]), "--dry-run", code=1)
    assert "came from Kafka" in said
    assert "SKATESTOCK_KAFKA_SERVERS" in said
    said = call(dsn, "deadletters", "replay", "--every")
    assert said == ("1 dead letter replayed; 1 came from another event log than the one in use and stay.\n")
    assert [letter["id"] for letter in listed(dsn)] == [poison["id"]]
    assert "without the schema registry" in call(dsn, "deadletters", "show", str(poison["id"]))
    assert call(dsn, "deadletters", "discard", "--every") == "1 dead letter discarded.\n"


async def move_to_kafka(dsn: str, letter: int) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE dead_letters SET log = 'a-topic-of-kafka' WHERE id = $1", letter)
    await connection.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "--since", "yesterday"), ("--since", "yesterday", "2026-03-02T08:00:00Z")),
        (("list", "--until", "2026-03-02T08:00:00"), ("--until", "no time zone")),
        (("list", "--since", "2026-03-02", "--until", "2026-03-02"), ("--since 2026-03-02 is not before",)),
        (("list", "--partition", "-1"), ("--partition",)),
        (("replay", "7", "--every"), ("ids of dead letters", "--every")),
        (("replay", "7", "--kind", "truncated"), ("ids of dead letters", "not both")),
        (("discard", "--kind", "truncated"), ("say --every with the filters",)),
        (("discard", "first"), ("LETTERS", "first")),
    ],
    ids=lambda value: " ".join(value) if value[0] in {"list", "replay", "discard"} else "",
)
def test_a_choice_that_cannot_be_is_one_line_and_wrong_usage(
    arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = run_command("deadletters", *arguments)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    for word in words:
        assert word in ended.stderr
