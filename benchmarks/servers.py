"""Servers for benchmarks: embedded, durable as in earnest, in a folder that vanishes afterwards."""

import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from skatestock.cli.platform import prepare_database
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.embedded.valkey import EmbeddedValkey
from skatestock.settings import PREFIX
from skatestock.telemetry.logs import configure_logging


class Servers(NamedTuple):
    """A migrated PostgreSQL and a Valkey."""

    folder: Path
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey

    @property
    def environ(self) -> dict[str, str]:
        """The settings under which a process of ours works on these servers."""
        return {
            f"{PREFIX}DATA": str(self.folder),
            f"{PREFIX}DATABASE_URL": self.postgres.dsn,
            f"{PREFIX}REDIS_URL": self.valkey.url,
            f"{PREFIX}LOG_LEVEL": "warning",
        }


@contextmanager
def make_folder() -> Generator[Path]:
    """Make a folder that PostgreSQL's account can enter too, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="skatestock-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def open_servers() -> AsyncGenerator[Servers]:
    """Start both servers as `skatestock up` would, with every commit on the disk before it is answered."""
    configure_logging("bench", json=False, level="warning")
    with make_folder() as folder:
        servers = Servers(folder, EmbeddedPostgres(folder / "postgres"), EmbeddedValkey(folder / "valkey"))
        try:
            await servers.postgres.start()
            await servers.valkey.start()
            await prepare_database(servers.postgres.dsn)
            yield servers
        finally:
            await servers.valkey.stop()
            await servers.postgres.stop()
