"""A real PostgreSQL in a folder, run as our own child: a password of its own, loopback only, crash-proof."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import psutil
import structlog

from skatestock.embedded.accounts import Account, find_server_account, give_to, make_folder
from skatestock.embedded.binaries import PostgresBinaries, get_postgres
from skatestock.embedded.child_process import ChildProcess, Launch
from skatestock.embedded.children import Child
from skatestock.embedded.errors import DamagedFolderError, EmbeddedError, OtherMajorVersionError
from skatestock.embedded.leftovers import end_leftovers
from skatestock.embedded.log_files import read_last_lines
from skatestock.embedded.passwords import ensure_password, write_private
from skatestock.embedded.ports import HOST, choose_port
from skatestock.embedded.server import EmbeddedServer, describe_exit
from skatestock.embedded.shelter import SHELTER, place_home, place_postgres

USER = "skatestock"
DATABASE = "skatestock"

_SETTINGS_NAME = "skatestock.conf"
_INCLUDE = f"\ninclude_if_exists = '{_SETTINGS_NAME}'\n"
_INITDB_TIMEOUT_SECONDS = 300

log = structlog.get_logger(__name__)


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL in `folder`, with one database of ours.

    `port` None means: any free one, remembered in the folder. `binaries` None means: the wheel, then the
    system's. `settings` are further lines of configuration. `durable=False` trades crash safety for speed and
    is for tests only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        database: str = DATABASE,
        binaries: Path | PostgresBinaries | None = None,
        settings: Mapping[str, str] | None = None,
        durable: bool = True,
        shelter: Path = SHELTER,
    ) -> None:
        super().__init__(folder, "postgres")
        self.database = database
        self._configured_port = port
        self._configured_binaries = binaries
        self._settings = dict(settings or {})
        self._durable = durable
        self._shelter = shelter
        self._account: Account | None = None
        self._binaries: PostgresBinaries | None = None
        self._home: Path | None = None
        self._password = ""
        self._database_made = False
        self.port = 0

    @property
    def dsn(self) -> str:
        """The address of our database, with its password; known after `prepare` or `start`."""
        return self.dsn_of(self.database)

    def dsn_of(self, database: str) -> str:
        """The address of any database of this server."""
        return self.address(self._password, self.port, database)

    @staticmethod
    def address(password: str, port: int | str, database: str = DATABASE) -> str:
        """Build the address of a database from what a folder remembers of its server."""
        return f"postgresql://{USER}:{password}@{HOST}:{port}/{database}"

    @property
    def data(self) -> Path:
        """PostgreSQL's own data folder, wherever it really lies."""
        assert self._home is not None, "prepare() comes first"
        return self._home / "data"

    @property
    def binaries(self) -> PostgresBinaries:
        """The programs in use."""
        assert self._binaries is not None, "prepare() comes first"
        return self._binaries

    async def prepare(self) -> None:
        """Find the programs, make the data folder when it is new, choose the port, write the settings."""
        self._account = find_server_account(self.folder.parent)
        make_folder(self.folder)
        configured = self._configured_binaries
        found = configured if isinstance(configured, PostgresBinaries) else get_postgres(configured)
        self._binaries = place_postgres(found, self._account, self._shelter)
        self._home = place_home(self.folder, self._account, self._shelter)
        self._password = self._get_password()
        if not self.data.exists():
            await self._make_data()
        self._check_version()
        await self._clear_leftovers()
        self.port = choose_port(self.folder / "port", configured=self._configured_port, server="PostgreSQL")
        self._write_configuration()

    def child(self) -> Child:
        """Describe the server for the supervisor."""
        return Child(
            name=self.name,
            command=self._build_command,
            ready=self._is_ready,
            # Recovery after a crash replays what was written since the last checkpoint.
            ready_timeout_seconds=120,
            env=self._env(),
            own_env=False,
            account=self._account,
            cwd=self._home,
            address=f"{HOST}:{self.port}/{self.database}",
            # SIGINT is the fast shutdown: it ends sessions, where SIGTERM would wait for them.
            stop_signal=signal.SIGINT,
            stop_timeout_seconds=60,
            # SIGQUIT takes the sessions down too, where SIGKILL would leave them to notice by themselves.
            death_signal=signal.SIGQUIT,
        )

    async def _build_command(self) -> list[str]:
        await self._clear_leftovers()
        return [str(self.binaries.postgres), "-D", str(self.data)]

    async def _is_ready(self) -> bool:
        try:
            # No TLS on loopback; asking for it would also look into a home folder that may not be ours.
            connection = await asyncpg.connect(self.dsn_of("postgres"), timeout=5, ssl=False)
            try:
                await self._ensure_database(connection)
            finally:
                await connection.close(timeout=5)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            # The last two are what asyncpg says when the server dies, or speaks strangely, in mid-sentence.
            raise EmbeddedError(str(error)) from error
        return True

    async def _ensure_database(self, connection: asyncpg.Connection) -> None:
        if self._database_made or self.database == "postgres":
            return
        known = await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", self.database)
        if not known:
            name = '"' + self.database.replace('"', '""') + '"'
            await connection.execute(f"CREATE DATABASE {name}")
        self._database_made = True

    def _get_password(self) -> str:
        file = self.folder / "password"
        if self.data.exists() and not file.exists():
            raise DamagedFolderError(
                f"{self.folder} has PostgreSQL's data but not its password file {file}. Bring the file back "
                "from where it went, or choose another folder."
            )
        return ensure_password(file)

    async def _make_data(self) -> None:
        """Make a new data folder beside its place and move it there when it is whole."""
        assert self._home is not None
        for left in self._home.glob("data.partial*"):
            shutil.rmtree(left, ignore_errors=True)
        # A name of its own: a creation that was cut off may still be writing to the last one.
        partial = self._home / f"data.partial-{secrets.token_hex(4)}"
        password_file = self._home / "initial-password"
        write_private(password_file, self._password + "\n")
        give_to(self._account, password_file)
        try:
            await self._run_initdb(partial, password_file)
        finally:
            password_file.unlink()
        with (partial / "postgresql.conf").open("a", encoding="utf-8") as stream:
            stream.write(_INCLUDE)
        partial.rename(self.data)
        log.info("postgres_data_made", folder=str(self.data), version=self.binaries.version)

    async def _run_initdb(self, data: Path, password_file: Path) -> None:
        """Run initdb as the server's account; raises EmbeddedError with what it said."""
        command = [str(self.binaries.initdb), "-D", str(data), "-U", USER, "--pwfile", str(password_file)]
        command += ["--locale=C", "--encoding=UTF8", "--data-checksums", "--auth=scram-sha-256"]
        if not self._durable:
            command.append("--no-sync")
        said = self.folder / "initdb.log"
        said.unlink(missing_ok=True)
        process = ChildProcess(Launch(command, said, self._env(), self._account, self._home))
        try:
            async with asyncio.timeout(_INITDB_TIMEOUT_SECONDS):
                code = await process.wait()
        finally:
            process.signal(signal.SIGKILL, whole_group=True)
        if code != 0:
            lines = "\n".join(read_last_lines(said))
            raise EmbeddedError(f"PostgreSQL's initdb: {describe_exit(code)}. It said:\n{lines}")
        said.unlink()

    def _check_version(self) -> None:
        file = self.data / "PG_VERSION"
        if not file.exists():
            raise DamagedFolderError(
                f"{self.data} is no data folder of PostgreSQL: it has no PG_VERSION. Choose another folder, "
                "or move what lies there out of the way."
            )
        written_by = file.read_text(encoding="ascii").strip()
        if written_by != str(self.binaries.major):
            raise OtherMajorVersionError(self.data, written_by, self.binaries.major)

    async def _clear_leftovers(self) -> None:
        """End what a crashed server left running, and remove a pid file that would block the next start."""
        await end_leftovers(self.data, self.cluster_name)
        pid_file = self.data / "postmaster.pid"
        try:
            first_line = pid_file.read_text(encoding="utf-8").partition("\n")[0]
        except FileNotFoundError:
            return
        # A dead pid is PostgreSQL's own business. A living one is somebody else's by now: no server of this
        # folder is left. An empty file is what a full disk or a power cut leaves.
        if not first_line.isdigit() or psutil.pid_exists(int(first_line)):
            log.warning("postgres_stale_pid_file_removed", file=str(pid_file), pid=first_line)
            pid_file.unlink()

    def _write_configuration(self) -> None:
        self._write_owned("pg_hba.conf", f"host all all {HOST}/32 scram-sha-256\n")
        lines = "".join(f"{name} = '{value}'\n" for name, value in self._configuration().items())
        self._write_owned(
            _SETTINGS_NAME, f"# Written at every start; use ALTER SYSTEM for your own.\n{lines}"
        )

    def _write_owned(self, name: str, text: str) -> None:
        file = self.data / name
        write_private(file, text)
        give_to(self._account, file)

    def _configuration(self) -> dict[str, str]:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "cluster_name": self.cluster_name,
            "max_connections": "100",
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_destination": "stderr",
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] %q%a ",
            "password_encryption": "scram-sha-256",
        }
        if sys.platform.startswith("linux"):
            # After a crash one call syncs what a thousand would, file by file: back three times as fast.
            settings["recovery_init_sync_method"] = "syncfs"
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return settings | self._settings

    @property
    def cluster_name(self) -> str:
        """The name in the title of each of the server's processes: leftovers are recognised by it."""
        return f"skatestock-{hashlib.sha256(str(self.data).encode()).hexdigest()[:16]}"

    def _env(self) -> dict[str, str]:
        kept = {
            name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ
        }
        return {**kept, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self._home)}
