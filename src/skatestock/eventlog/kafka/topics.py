"""Topics as a step of deploying: made where they are missing, and brought to what is documented."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from skatestock.eventlog.errors import PartitionCountError, UnknownTopicError
from skatestock.eventlog.kafka.connection import KafkaServers, check_servers, explain_exception, open_client
from skatestock.eventlog.kafka.dead_letter_topic import MAX_LETTER_BYTES, dead_letter_topic_of

_Result = TypeVar("_Result")

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""The largest message, and the largest batch of them, that a topic takes; in bytes as they are stored."""
DEAD_LETTER_RETENTION_DAYS = 365

_DAY_MS = 24 * 60 * 60 * 1000
_REQUEST_SECONDS = 15.0
# A topic that was just made is not known to every broker at once.
_SETTLE_TRIES = 50
_SETTLE_SECONDS = 0.1
_BROKERS_DEFAULT = -1
# the client has no types for these two
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_SAFE_REPLICATION = 3
_NOT_YET = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    # a topic that was deleted and made again under the same name begins its epochs anew
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
)


class Bounds(NamedTuple):
    """The offsets between which a partition has records: its first one, and the next free one."""

    start: int
    end: int


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as Kafka has it."""

    name: str
    id: str
    """Given by Kafka; a topic that is deleted and made anew has another one."""
    partitions: int
    replication: int
    """Of the partition that has fewest copies."""
    settings: Mapping[str, str]
    """What is set for the topic, where it differs from the brokers' own settings."""


async def ensure_topics(
    servers: KafkaServers, topics: Mapping[str, int], *, replication: int | None, retention_days: int
) -> list[str]:
    """Set up the topics and those of their dead letters, and return the names of the new ones.

    `topics` tells the number of partitions of each; without `replication` the brokers' own number counts.
    Idempotent and safe to run concurrently; settings that differ from what is documented are set back.
    Raises PartitionCountError when a topic stands with another number of partitions, LogUnavailableError or
    LogRefusedError when Kafka cannot be asked.
    """
    await check_servers(servers)
    admin = open_client(AdminClient, servers)
    wanted = {**topics, **{dead_letter_topic_of(topic): 1 for topic in topics}}
    try:
        made = await _create_missing(admin, wanted, replication)
        found = await _wait_for(admin, list(wanted))
    except KafkaException as exception:
        raise explain_exception(exception, servers) from exception
    check_partitions(found, wanted)
    for name in wanted:
        letters = name not in topics
        settings = _settings_of(
            replication, DEAD_LETTER_RETENTION_DAYS if letters else retention_days, letters
        )
        try:
            await _alter_settings(admin, name, settings)
        except KafkaException as exception:
            raise explain_exception(exception, servers, topic=name) from exception
    return sorted(made)


async def describe_topics(servers: KafkaServers, names: Iterable[str]) -> dict[str, Topic]:
    """Tell what Kafka has of these topics, by name; one that is missing there is missing here.

    Raises LogUnavailableError or LogRefusedError.
    """
    await check_servers(servers)
    admin = open_client(AdminClient, servers)
    try:
        return await fetch_topics(admin, list(names), with_settings=True)
    except KafkaException as exception:
        raise explain_exception(exception, servers) from exception


async def fetch_topics(
    admin: AdminClient, names: list[str], *, with_settings: bool = False
) -> dict[str, Topic]:
    """Ask Kafka for topics by name; raises KafkaException."""
    topics = {}
    answers = admin.describe_topics(TopicCollection(names), request_timeout=_REQUEST_SECONDS) if names else {}
    for name, answer in answers.items():
        try:
            found = await _wait(answer)
        except KafkaException as exception:
            if exception.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise
        topics[name] = Topic(
            name=name,
            id=str(found.topic_id),
            partitions=len(found.partitions),
            replication=min(len(partition.replicas) for partition in found.partitions),
            settings=await _fetch_settings(admin, name) if with_settings else {},
        )
    return topics


async def fetch_topic_id(admin: AdminClient, servers: KafkaServers, name: str) -> str:
    """Tell the id that Kafka gave a topic.

    Raises UnknownTopicError, LogUnavailableError or LogRefusedError.
    """
    try:
        found = await fetch_topics(admin, [name])
    except KafkaException as exception:
        raise explain_exception(exception, servers, topic=name) from exception
    if name not in found:
        raise not_set_up(name)
    return found[name].id


async def fetch_bounds(admin: AdminClient, name: str, partitions: Collection[int]) -> dict[int, Bounds]:
    """Tell where each of the partitions begins and ends; raises KafkaException."""
    starts, ends = await asyncio.gather(
        _fetch_offsets(admin, name, partitions, _EARLIEST), fetch_ends(admin, name, partitions)
    )
    return {partition: Bounds(starts[partition], ends[partition]) for partition in partitions}


async def fetch_ends(admin: AdminClient, name: str, partitions: Collection[int]) -> dict[int, int]:
    """Tell the next free offset of each of the partitions; raises KafkaException."""
    return await _fetch_offsets(admin, name, partitions, _LATEST)


async def _fetch_offsets(
    admin: AdminClient, name: str, partitions: Collection[int], which: OffsetSpec
) -> dict[int, int]:
    """Ask for one offset of every partition, all in one request."""
    asked = {TopicPartition(name, partition): which for partition in partitions}
    answers = admin.list_offsets(asked, request_timeout=_REQUEST_SECONDS) if asked else {}
    # all are waited for, so that no second failure is left unheard
    found = await asyncio.gather(*(_wait(answers[one]) for one in asked), return_exceptions=True)
    offsets = {}
    for partition, answer in zip(partitions, found, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        offsets[partition] = answer.offset
    return offsets


def not_set_up(name: str) -> UnknownTopicError:
    """Say that a topic is missing, and what to do."""
    return UnknownTopicError(
        f"the topic {name!r} is not set up in Kafka: run `skatestock topics ensure` to do so"
    )


def check_partitions(found: Mapping[str, Topic], wanted: Mapping[str, int]) -> None:
    """Raise UnknownTopicError for a topic that is missing, PartitionCountError for another count."""
    for name, partitions in sorted(wanted.items()):
        topic = found.get(name)
        if topic is None:
            raise not_set_up(name)
        if topic.partitions != partitions:
            raise PartitionCountError(
                f"the topic {name!r} has {topic.partitions} partitions in Kafka and cannot have "
                f"{partitions}: its keys would lose their order; set the number back, or begin a new topic"
            )


def _settings_of(replication: int | None, retention_days: int, letters: bool) -> dict[str, str]:
    settings = {
        "cleanup.policy": "delete",
        "retention.ms": str(retention_days * _DAY_MS),
        "retention.bytes": "-1",
        # only whole segments are dropped: one a day keeps what is promised without keeping twice as much
        "segment.ms": str(_DAY_MS),
        "compression.type": "producer",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MAX_LETTER_BYTES if letters else MAX_BATCH_BYTES),
    }
    if replication is not None:
        # with three copies one broker may be away, and what was acknowledged still stands on two
        settings["min.insync.replicas"] = "2" if replication >= _SAFE_REPLICATION else "1"
    return settings


async def _create_missing(
    admin: AdminClient, wanted: Mapping[str, int], replication: int | None
) -> list[str]:
    standing = await fetch_topics(admin, list(wanted))
    new = [
        NewTopic(name, num_partitions=partitions, replication_factor=replication or _BROKERS_DEFAULT)
        for name, partitions in wanted.items()
        if name not in standing
    ]
    made = []
    answers = admin.create_topics(new, request_timeout=_REQUEST_SECONDS) if new else {}
    for name, answer in answers.items():
        try:
            await _wait(answer)
            made.append(name)
        except KafkaException as exception:
            # somebody else was faster
            if exception.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return made


async def _wait_for(admin: AdminClient, names: list[str]) -> dict[str, Topic]:
    """Wait until the brokers lead the partitions of topics that were made just now."""
    found: dict[str, Topic] = {}
    for _ in range(_SETTLE_TRIES):
        try:
            found = await fetch_topics(admin, names)
            if len(found) == len(names):
                await asyncio.gather(
                    *(fetch_ends(admin, one.name, range(one.partitions)) for one in found.values())
                )
                break
        except KafkaException as exception:
            if exception.args[0].code() not in _NOT_YET:
                raise
        await asyncio.sleep(_SETTLE_SECONDS)
    return found


async def _fetch_settings(admin: AdminClient, name: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, name)
    answers = admin.describe_configs([resource], request_timeout=_REQUEST_SECONDS)
    entries = await _wait(answers[resource])
    return {
        entry.name: entry.value for entry in entries.values() if not entry.is_default and _is_of_topic(entry)
    }


def _is_of_topic(entry: Any) -> bool:
    # 1: set for this topic; everything else comes from the brokers
    return int(entry.source) == 1


async def _alter_settings(admin: AdminClient, name: str, settings: Mapping[str, str]) -> None:
    standing = await _fetch_settings(admin, name)
    changes = [
        ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        for setting, value in settings.items()
        if standing.get(setting) != value
    ]
    if changes:
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=changes)
        answers = admin.incremental_alter_configs([resource], request_timeout=_REQUEST_SECONDS)
        await _wait(answers[resource])


async def _wait(answer: "Future[_Result]") -> _Result:
    return await asyncio.wrap_future(answer)
