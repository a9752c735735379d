"""The cache of Java programs: verified, mended, and never left half by a network, a kill or a neighbour."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.maven_repository import Repository, make_archive, make_jars, serve_repository, tree_of

from skatestock.embedded.archives import unpack
from skatestock.embedded.errors import (
    DamagedDownloadError,
    EmbeddedError,
    FetchError,
    MissingExtraError,
    UnsafeArchiveError,
)
from skatestock.embedded.jars import Bundle, FetchProgress, fetch_bundle, get_bundle, is_cached

ROOT = Path(__file__).parents[2]
JARS = ("one", "two", "three")
MEMBERS = {"run.jar": b"run", "lib/main/a.jar": b"a" * 5000, "lib/main/b.jar": b"b"}

_FETCH = """
import asyncio, json, sys
from pathlib import Path
from skatestock.embedded.jars import Bundle, PinnedFile, fetch_bundle
asked = json.loads(sys.argv[2])
files = tuple(PinnedFile(*one) for one in asked["files"])
print(asyncio.run(fetch_bundle(Bundle(asked["name"], asked["version"], files), Path(sys.argv[1]))))
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    with serve_repository() as repository:
        configuration = tmp_path / "jgo.conf"
        configuration.write_text(f"[repositories]\ncentral = {repository.url}\n")
        monkeypatch.setenv("JGO_CONFIG_FILE", str(configuration))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield repository


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _start_fetch(bundle: Bundle, cache: Path) -> subprocess.Popen[str]:
    files = [(file.coordinate, file.size_bytes, file.sha256) for file in bundle.files]
    asked = json.dumps({"name": bundle.name, "version": bundle.version, "files": files})
    command = [sys.executable, "-c", _FETCH, str(cache), asked]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_until(said: str, seconds: float, condition: object) -> None:
    assert callable(condition)
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, said
        time.sleep(0.02)


async def test_files_come_once_and_are_then_there(repository: Repository, cache: Path) -> None:
    bundle = make_jars(repository, *JARS)
    assert not is_cached(bundle, cache)
    folder = await fetch_bundle(bundle, cache)
    assert {path.name for path in folder.iterdir()} == {"one-1.0.jar", "two-1.0.jar", "three-1.0.jar"}
    assert (folder / "one-1.0.jar").read_bytes() == repository.files["/org/example/one/1.0/one-1.0.jar"]
    assert is_cached(bundle, cache)
    asked = repository.asked.copy()
    assert await fetch_bundle(bundle, cache) == folder
    assert repository.asked == asked


async def test_progress_grows_to_the_whole_in_the_callers_thread(repository: Repository, cache: Path) -> None:
    bundle = make_jars(repository, *JARS)
    told: list[FetchProgress] = []
    threads: set[int] = set()

    def progress(state: FetchProgress) -> None:
        told.append(state)
        threads.add(threading.get_ident())

    await fetch_bundle(bundle, cache, progress=progress)
    await asyncio.sleep(0)
    assert told[0] == FetchProgress("example", 0, 300_000)
    assert [state.bytes_done for state in told] == sorted(state.bytes_done for state in told)
    assert told[-1].done
    assert not told[-2].done
    assert threads == {threading.get_ident()}


async def test_a_damaged_file_is_noticed_and_alone_fetched_again(repository: Repository, cache: Path) -> None:
    bundle = make_jars(repository, *JARS)
    folder = await fetch_bundle(bundle, cache)
    damaged = folder / "two-1.0.jar"
    content = bytearray(damaged.read_bytes())
    content[50_000] ^= 1
    damaged.write_bytes(content)
    assert not is_cached(bundle, cache)
    await fetch_bundle(bundle, cache)
    assert is_cached(bundle, cache)
    assert (repository.asked["one-1.0.jar"], repository.asked["two-1.0.jar"]) == (1, 2)


async def test_a_file_that_is_not_pinned_never_gets_on_the_class_path(
    repository: Repository, cache: Path
) -> None:
    bundle = make_jars(repository, *JARS)
    folder = await fetch_bundle(bundle, cache)
    (folder / "stranger.jar").write_bytes(b"x")
    (folder / "strangers").mkdir()
    await fetch_bundle(bundle, cache)
    assert len(list(folder.iterdir())) == len(JARS)


async def test_what_is_not_pinned_so_is_refused(repository: Repository, cache: Path) -> None:
    bundle = make_jars(repository, *JARS)
    repository.replace(bundle.files[1], b"an error page" * 7693)
    with pytest.raises(DamagedDownloadError, match=r"org\.example:two:1\.0 is not the file"):
        await fetch_bundle(bundle, cache)
    assert not list(cache.rglob("two-1.0.jar"))
    assert not (cache / "example.partial").exists()


async def test_a_cut_off_download_is_tried_again(repository: Repository, cache: Path) -> None:
    bundle = make_jars(repository, *JARS)
    repository.cut_off["one-1.0.jar"] = 1
    await fetch_bundle(bundle, cache)
    assert is_cached(bundle, cache)
    assert repository.asked["one-1.0.jar"] == 2


async def test_a_download_that_never_ends_well_is_one_clear_error(
    repository: Repository, cache: Path
) -> None:
    bundle = make_jars(repository, "one")
    repository.cut_off["one-1.0.jar"] = 99
    with pytest.raises(FetchError, match=r"org\.example:one:1\.0 could not be fetched: "):
        await fetch_bundle(bundle, cache)
    assert not list(cache.rglob("*.jar"))


async def test_a_file_that_no_repository_has_is_named(repository: Repository, cache: Path) -> None:
    bundle = make_jars(repository, "one")
    repository.files.clear()
    with pytest.raises(FetchError, match=r"org\.example:one:1\.0 could not be fetched: no repository has it"):
        await fetch_bundle(bundle, cache)


async def test_without_a_network_the_error_says_what_to_do(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    bundle = make_jars(repository, "one")
    (tmp_path / "jgo.conf").write_text("[repositories]\ncentral = http://127.0.0.1:1\n")
    with pytest.raises(FetchError, match="see that this machine can reach them") as raised:
        await fetch_bundle(bundle, cache)
    assert "Connection refused" in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_without_jgo_the_error_names_the_extra(
    repository: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_jars(repository, "one")
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'skatestock\[kafka\]'"):
        await fetch_bundle(bundle, cache)


async def test_what_is_cached_needs_neither_jgo_nor_a_network(
    repository: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_jars(repository, *JARS)
    folder = await fetch_bundle(bundle, cache)
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    repository.files.clear()
    assert await fetch_bundle(bundle, cache) == folder


async def test_a_cache_that_cannot_be_made_is_one_clear_error(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match="cannot keep example's files"):
        await fetch_bundle(make_jars(repository, "one"), tmp_path / "file" / "cache")


def test_a_killed_fetch_leaves_nothing_that_is_trusted(repository: Repository, cache: Path) -> None:
    bundle = make_jars(repository, "one", "two", size=2_000_000)
    repository.slow = {"two-1.0.jar"}
    fetch = _start_fetch(bundle, cache)
    _wait_until("a half file never lay there", 20, lambda: list(cache.glob("example.partial/**/two-1.0.jar")))
    _wait_until("the first never came", 20, lambda: list(cache.glob("example-1.0-*/one-1.0.jar")))
    fetch.kill()
    fetch.communicate()
    assert not list(cache.glob("example-1.0-*/two-1.0.jar"))
    repository.hurry.set()
    folder = asyncio.run(fetch_bundle(bundle, cache))
    assert is_cached(bundle, cache)
    assert {path.name for path in folder.iterdir()} == {"one-1.0.jar", "two-1.0.jar"}
    assert not (cache / "example.partial").exists()
    assert repository.asked["one-1.0.jar"] == 1


def test_processes_that_fetch_at_once_fetch_once(repository: Repository, cache: Path) -> None:
    bundle = make_jars(repository, *JARS, size=400_000)
    repository.slow = {"two-1.0.jar"}
    fetches = [_start_fetch(bundle, cache) for _ in range(3)]
    answers = [fetch.communicate(timeout=60) for fetch in fetches]
    assert [fetch.returncode for fetch in fetches] == [0, 0, 0], answers
    assert is_cached(bundle, cache)
    assert all(count == 1 for name, count in repository.asked.items() if name.endswith(".jar"))


async def test_a_cancelled_fetch_stops_fetching(repository: Repository, cache: Path) -> None:
    bundle = make_jars(repository, "one", size=4_000_000)
    repository.slow = {"one-1.0.jar"}
    fetch = asyncio.create_task(fetch_bundle(bundle, cache))
    while not list(cache.glob("example.partial/**/one-1.0.jar")):
        await asyncio.sleep(0.02)
    fetch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetch
    for _ in range(250):
        if not (cache / "example.partial").exists():
            break
        await asyncio.sleep(0.02)
    assert not (cache / "example.partial").exists()
    assert not is_cached(bundle, cache)


async def test_an_archive_is_unpacked_whole(repository: Repository, cache: Path) -> None:
    bundle = make_archive(repository, MEMBERS, tree_of(MEMBERS))
    folder = await fetch_bundle(bundle, cache)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jar")}
    assert found == MEMBERS
    assert is_cached(bundle, cache)
    assert {path.name for path in cache.iterdir()} == {bundle.folder_name, "example-app.lock"}


@pytest.mark.parametrize("damage", ["changed", "missing", "added"])
async def test_a_damaged_unpacked_archive_is_replaced(
    repository: Repository, cache: Path, damage: str
) -> None:
    bundle = make_archive(repository, MEMBERS, tree_of(MEMBERS))
    folder = await fetch_bundle(bundle, cache)
    if damage == "changed":
        (folder / "run.jar").write_bytes(b"ran")
    elif damage == "missing":
        (folder / "run.jar").unlink()
    else:
        (folder / "lib" / "main" / "c.jar").write_bytes(b"c")
    assert not is_cached(bundle, cache)
    await fetch_bundle(bundle, cache)
    assert is_cached(bundle, cache)
    assert not (folder / "lib" / "main" / "c.jar").exists()


async def test_an_archive_that_unpacks_to_something_else_is_refused(
    repository: Repository, cache: Path
) -> None:
    bundle = make_archive(repository, MEMBERS, "0" * 64)
    with pytest.raises(DamagedDownloadError):
        await fetch_bundle(bundle, cache)
    assert not (cache / bundle.folder_name).exists()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "lib/../../outside"])
def test_a_member_that_would_land_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(UnsafeArchiveError, match="outside"):
        unpack(archive, tmp_path / "unpacked")
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_neither_file_nor_folder_is_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("link")
        member.type = kind
        member.linkname = "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(UnsafeArchiveError):
        unpack(archive, tmp_path / "unpacked")


@pytest.mark.parametrize("name", ["kafka", "registry"])
def test_every_pinned_file_has_a_size_a_hash_and_a_name_of_its_own(name: str) -> None:
    bundle = get_bundle(name)
    assert all(file.size_bytes > 0 and len(bytes.fromhex(file.sha256)) == 32 for file in bundle.files)
    assert len({file.name for file in bundle.files}) == len(bundle.files)
    assert any(f":{bundle.version}" in file.coordinate for file in bundle.files)


def test_the_pins_are_those_of_the_versions_that_are_asked_for() -> None:
    from skatestock.embedded.pin_jars import KAFKA, REGISTRY

    assert (get_bundle("kafka").version, get_bundle("registry").version) == (KAFKA, REGISTRY)
    assert f"kafka_2.13-{KAFKA}.jar" in {file.name for file in get_bundle("kafka").files}
    assert [file.name for file in get_bundle("registry").files] == [
        f"apicurio-registry-app-{REGISTRY}-all.tar.gz"
    ]
