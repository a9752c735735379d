"""Evidence in a folder: whole or not at all, its owner's alone, and damage never goes unnoticed."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.evidence_storages import FailingStorage

from skatestock.evidence.address import open_store
from skatestock.evidence.errors import (
    EvidenceAddressError,
    EvidenceDamagedError,
    EvidenceMissingError,
    EvidenceUnavailableError,
)
from skatestock.evidence.keeping import CrawlEvidence
from skatestock.evidence.model import KeptCrawl, PageSeen, Pruned
from skatestock.evidence.store import EvidenceStore

DAY = date(2026, 3, 1)
CRAWL = KeptCrawl(DAY, "labor", "labor-1")


def page_seen(number: int = 1, walk: int = 1) -> PageSeen:
    return PageSeen(
        walk=walk,
        number=number,
        kind="listings",
        url=f"https://shop.example/products.json?page={number}",
        headers={"x-wp-total": "7"},
        observed_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        parser="shopify",
        parser_version=1,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


@pytest.fixture
def store(folder: Path) -> EvidenceStore:
    return open_store(None, folder)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(bodies=st.lists(st.binary(max_size=3000), min_size=1, max_size=6))
def test_what_was_put_comes_back_and_the_same_body_is_kept_once(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]
) -> None:
    async def story() -> None:
        folder = tmp_path_factory.mktemp("evidence")
        store = open_store(f"file://{folder}", Path("/nowhere"))
        keys = [await store.put(body, DAY) for body in bodies]
        assert [await store.get(key) for key in keys] == bodies
        assert [await store.put(body, DAY) for body in bodies] == keys
        assert len(files_of(folder)) == len(set(bodies))

    asyncio.run(story())


async def test_puts_of_one_body_at_once_leave_one_whole_file(store: EvidenceStore, folder: Path) -> None:
    body = os.urandom(200_000)
    keys = await asyncio.gather(*(store.put(body, DAY) for _ in range(20)))
    assert len(set(keys)) == 1
    assert await store.get(keys[0]) == body
    assert len(files_of(folder)) == 1


async def test_only_the_owner_may_read_what_is_kept(store: EvidenceStore, folder: Path) -> None:
    before = os.umask(0)
    try:
        await store.note(CRAWL, 1, page_seen(), await store.put(b"body", DAY))
    finally:
        os.umask(before)
    for path in (folder, *folder.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


_KILLED = """
import asyncio, os, signal, sys
from datetime import date
from pathlib import Path
from skatestock.evidence.address import open_store

Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(open_store(None, Path(sys.argv[1])).put(b"body" * 1000, date(2026, 3, 1)))
"""


async def test_a_writer_killed_before_the_rename_leaves_nothing_that_is_read(
    store: EvidenceStore, folder: Path
) -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(folder)], check=False, timeout=60)
    assert ended.returncode == -9
    (left,) = files_of(folder)
    assert left.name.startswith(".")

    key = await store.put(b"body" * 1000, DAY)
    assert await store.get(key) == b"body" * 1000
    assert await store.prune(date(2026, 3, 2), limit=100) == Pruned(2, is_done=True)
    assert list(folder.iterdir()) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), body=st.binary(min_size=1, max_size=500))
def test_a_damaged_file_is_never_taken_for_evidence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, body: bytes
) -> None:
    async def story() -> None:
        folder = tmp_path_factory.mktemp("evidence")
        store = open_store(None, folder)
        key = await store.put(body, DAY)
        (file,) = files_of(folder)
        packed = bytearray(file.read_bytes())
        cut = data.draw(st.integers(0, len(packed)), label="cut")
        place = data.draw(st.integers(0, len(packed) - 1), label="place")
        packed[place] ^= data.draw(st.integers(0, 255), label="flip")
        file.write_bytes(packed[:cut])
        # A few bits of the frame say nothing of the body.
        with suppress(EvidenceDamagedError):
            assert await store.get(key) == body
        if cut < len(packed):
            with pytest.raises(EvidenceDamagedError):
                await store.get(key)
            # Whoever sees the same page again mends it.
            await store.put(body, DAY)
            assert await store.get(key) == body

    asyncio.run(story())


@pytest.mark.parametrize("key", ["", "2026-03-01", "2026-03-01/" + "0" * 64, "../../../etc/passwd", "a/b"])
async def test_a_key_of_nothing_is_told(store: EvidenceStore, key: str) -> None:
    with pytest.raises(EvidenceMissingError):
        await store.get(key)


async def test_a_crawl_is_found_with_its_pages_in_their_order(store: EvidenceStore) -> None:
    evidence = CrawlEvidence(store, CRAWL)
    keys = [await evidence.keep(f"page {number}".encode(), page_seen(number)) for number in range(1, 12)]
    other = KeptCrawl(date(2026, 3, 2), "nj", "nj/../1")
    assert await CrawlEvidence(store, other).keep(b"page", page_seen())

    assert await store.find_crawls() == [CRAWL, other]
    assert await store.find_crawls(shop="nj") == [other]
    assert await store.find_crawls(since=date(2026, 3, 2)) == [other]
    pages = await store.read_pages(CRAWL)
    assert [page.key for page in pages] == keys
    assert [page.seen for page in pages] == [page_seen(number) for number in range(1, 12)]


async def test_pruning_deletes_whole_days_a_part_at_a_time_and_nothing_younger(
    store: EvidenceStore, folder: Path
) -> None:
    days = [date(2026, 3, number) for number in (1, 2, 3)]
    keys = [await store.put(f"{number}".encode(), day) for day in days for number in range(3)]
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("none of ours")

    assert await store.prune(days[2], limit=4) == Pruned(4, is_done=False)
    assert await store.prune(days[2], limit=4) == Pruned(2, is_done=True)
    assert await store.prune(days[2], limit=4) == Pruned(0, is_done=True)
    for key in keys[:6]:
        with pytest.raises(EvidenceMissingError):
            await store.get(key)
    assert [await store.get(key) for key in keys[6:]] == [b"0", b"1", b"2"]
    assert sorted(path.name for path in folder.iterdir()) == ["2026-03-03", "notes"]


async def test_a_folder_that_cannot_be_used_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(EvidenceUnavailableError, match="file/evidence cannot be used"):
        await open_store(None, tmp_path / "file" / "evidence").put(b"body", DAY)


async def test_a_storage_that_is_away_is_left_alone_for_a_minute_and_stops_nothing() -> None:
    storage, now = FailingStorage(), [0.0]
    evidence = CrawlEvidence(EvidenceStore(storage), CRAWL, clock=lambda: now[0])
    assert [await evidence.keep(b"body", page_seen()) for _ in range(3)] == [None] * 3
    assert storage.tries == 1
    now[0], storage.is_away = 61.0, False
    assert await evidence.keep(b"body", page_seen()) is not None


async def test_a_storage_that_never_answers_costs_its_patience_once() -> None:
    storage = FailingStorage(hangs=True)
    evidence = CrawlEvidence(EvidenceStore(storage), CRAWL, patience_seconds=0.05)
    assert [await evidence.keep(b"body", page_seen()) for _ in range(3)] == [None] * 3
    assert storage.tries == 1


SECRET = "s3+https://AKIA:hush%2Fhush@store.example:9000"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (f"{SECRET}/bucket/deep/er?region=eu", "https://store.example:9000/bucket/deep/er"),
        ("s3+http://127.0.0.1:1/bucket", "http://127.0.0.1:1/bucket"),
        ("s3://bucket/prefix?region=eu-west-1", "s3://bucket/prefix"),
        ("file:///var/lib/skate%20stock", "/var/lib/skate stock"),
    ],
)
def test_an_address_names_its_place_without_secrets(url: str, place: str) -> None:
    assert open_store(url, Path("/data")).place == place


@pytest.mark.parametrize(
    "url",
    [
        *(
            SECRET,
            f"{SECRET}/b?regoin=eu",
            f"{SECRET}/b#x",
            "s3://KEY:hush@bucket/b",
            "https://u:hush@host/b",
        ),
        *("relative/hush", "file://host/hush", "s3:///hush", "s3+https://[hush/b", ""),
    ],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(EvidenceAddressError) as caught:
        open_store(url, Path("/data"))
    assert "hush" not in str(caught.value)
