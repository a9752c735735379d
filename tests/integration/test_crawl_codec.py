"""A crawl says what it has to say in the codec that it was handed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

import msgspec
import pytest
import pytest_asyncio
from tests.crawl_scene import START_AT, Scene

from skatestock.eventlog.port import Message
from skatestock.events.codec import FIXED, Codec
from skatestock.events.versions import AvroSchema
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]


class Registry:
    """Gives out ids of its own."""

    def id_of(self, event: str) -> int:
        return FIXED.id_of(event) + 7000

    def find_schema(self, schema_id: int) -> AvroSchema | None:
        return FIXED.find_schema(schema_id - 7000)

    async def learn(self, schema_ids: Collection[int]) -> None:
        """Learn nothing."""


class Messages:
    """A publisher that keeps what it was given."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        self.values.extend(message.value for message in messages)


@pytest_asyncio.fixture(loop_scope="session")
async def scene() -> AsyncIterator[Scene]:
    async with ReplicaServers(World(7, START_AT, listings_per_shop=20)) as replica:
        yield Scene.of(replica)


async def test_a_crawl_writes_with_the_ids_of_its_registry(scene: Scene) -> None:
    codec, messages = Codec(Registry()), Messages()
    scene.ports = msgspec.structs.replace(scene.ports, publisher=messages, encode=codec.encode)
    outcome = await scene.crawl()
    assert len(messages.values) == outcome.changed + 1
    ids = [Registry().id_of(event) for event in ("ListingObserved", "CrawlCompleted")]
    assert [value[:5].hex() for value in messages.values[-2:]] == [f"00{each:08x}" for each in ids]
    assert all(codec.decode(value, clock=lambda: outcome.completed_at) for value in messages.values)
