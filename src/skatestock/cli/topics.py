"""`skatestock topics`: the topics of the event log, as a step of deploying and to look at."""

from typing import Any

import msgspec
from cyclopts import App
from rich.markup import escape

from skatestock.cli.event_topics import TOPICS
from skatestock.cli.kafka import kafka_of
from skatestock.cli.options import Data, Json, settings_from
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, complete_settings, get_database_url
from skatestock.cli.terminal import Terminal, make_table, print_json
from skatestock.database.pool import create_pool
from skatestock.eventlog.kafka import describe_topics, ensure_topics
from skatestock.eventlog.kafka.dead_letter_topic import dead_letter_topic_of
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.settings import Settings

app = App(name="topics", help="Set up the topics of the event log, and show them.", help_format="markdown")


@app.command
async def ensure(*, as_json: Json = False, data: Data = None) -> int:
    """Set up the topics of the event log: a step of deploying. Safe at any time, also twice at once.

    On Kafka, missing topics are made and the settings of the others brought up to date; a topic with another
    number of partitions is refused. On tables, `skatestock migrate` has done the same.
    """
    settings = complete_settings(settings_from(data))
    if settings.kafka_servers is None:
        made = await _ensure_tables(settings)
    else:
        made = await ensure_topics(
            kafka_of(settings, "topics"),
            TOPICS,
            replication=settings.kafka_replication,
            retention_days=settings.log_retention_days,
        )
    if as_json:
        print_json({"made": made})
    else:
        done = f"made {', '.join(made)}" if made else "all were there already"
        Terminal().say(f"The topics are set up in {_place_of(settings)}: {done}.")
    return 0


@app.command(name="list")
async def list_topics(*, as_json: Json = False, data: Data = None) -> int:
    """List the topics of the event log, as they stand."""
    settings = complete_settings(settings_from(data))
    names = [name for topic in TOPICS for name in (topic, dead_letter_topic_of(topic))]
    if settings.kafka_servers is None:
        found: list[dict[str, Any]] = [{"name": name, "partitions": TOPICS[name]} for name in TOPICS]
    else:
        topics = await describe_topics(kafka_of(settings, "topics"), names)
        found = [msgspec.to_builtins(topics[name]) for name in names if name in topics]
    if as_json:
        print_json({"log": _place_of(settings), "topics": found})
        return 0
    Terminal().say(f"The event log is {_place_of(settings)}.")
    if settings.kafka_servers is None:
        names = list(TOPICS)
    for name in sorted(set(names) - {topic["name"] for topic in found}):
        Terminal().say(f"[yellow]{name}[/] is missing: `skatestock topics ensure` makes it")
    _print_topics(found)
    return 0


async def _ensure_tables(settings: Settings) -> list[str]:
    pool = await create_pool(
        get_database_url(settings),
        application_name="skatestock topics",
        max_size=1,
        connect_timeout_seconds=SHORT_PATIENCE_SECONDS,
    )
    try:
        await PostgresEventLog(pool, topics=TOPICS).ensure_topics()
    finally:
        await pool.close()
    return []


def _place_of(settings: Settings) -> str:
    return "tables in PostgreSQL" if settings.kafka_servers is None else f"Kafka at {settings.kafka_servers}"


def _print_topics(found: list[dict[str, Any]]) -> None:
    table = make_table("topic", "partitions", "copies", "settings")
    for topic in found:
        settings = ", ".join(f"{name}={value}" for name, value in sorted(topic.get("settings", {}).items()))
        copies = str(topic.get("replication", ""))
        table.add_row(topic["name"], str(topic["partitions"]), copies, escape(settings))
    if found:
        Terminal().print(table)
