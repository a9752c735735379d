"""A real Valkey in a folder, run as our own child: a cache that forgets everything when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from skatestock.embedded.accounts import Account, find_server_account, give_to, make_folder
from skatestock.embedded.binaries import get_valkey
from skatestock.embedded.children import Child
from skatestock.embedded.passwords import ensure_password, write_private
from skatestock.embedded.ports import HOST, choose_port
from skatestock.embedded.server import EmbeddedServer
from skatestock.embedded.shelter import SHELTER, place_home, place_program


class EmbeddedValkey(EmbeddedServer):
    """Valkey in `folder`, without persistence, bounded in memory, evicting what was least recently used.

    `port` None means: any free one, remembered in the folder. `program` None means: the wheel's, then the
    system's valkey-server or redis-server.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        max_memory: str = "256mb",
        program: Path | None = None,
        shelter: Path = SHELTER,
    ) -> None:
        super().__init__(folder, "valkey")
        self._configured_port = port
        self._configured_program = program
        self._max_memory = max_memory
        self._shelter = shelter
        self._account: Account | None = None
        self._program = Path()
        self._home: Path | None = None
        self._password = ""
        self.port = 0

    @property
    def url(self) -> str:
        """The server's address, with its password; known after `prepare` or `start`."""
        return self.address(self._password, self.port)

    @staticmethod
    def address(password: str, port: int | str) -> str:
        """Build the address of a server from what a folder remembers of it."""
        return f"redis://:{password}@{HOST}:{port}/0"

    async def prepare(self) -> None:
        """Find the program, make the folder and the password, choose the port, write the configuration."""
        self._account = find_server_account(self.folder.parent)
        make_folder(self.folder)
        self._program = place_program(get_valkey(self._configured_program), self._account, self._shelter)
        self._home = place_home(self.folder, self._account, self._shelter)
        self._password = ensure_password(self.folder / "password")
        self.port = choose_port(self.folder / "port", configured=self._configured_port, server="Valkey")
        file = self._home / "valkey.conf"
        write_private(file, self._configuration())
        give_to(self._account, file)

    def child(self) -> Child:
        """Describe the server for the supervisor."""
        return Child(
            name=self.name,
            command=self._build_command,
            ready=self._is_ready,
            ready_timeout_seconds=30,
            env={name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
            own_env=False,
            account=self._account,
            cwd=self._home,
            address=f"{HOST}:{self.port}/0",
            stop_signal=signal.SIGTERM,
            stop_timeout_seconds=10,
        )

    async def _build_command(self) -> list[str]:
        assert self._home is not None, "prepare() comes first"
        # A snapshot from elsewhere would be loaded in spite of the settings: a cache must come up empty.
        for snapshot in self._home.glob("*.rdb"):
            snapshot.unlink()
        return [str(self._program), str(self._home / "valkey.conf")]

    def _configuration(self) -> str:
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "protected-mode": "yes",
            "requirepass": self._password,
            "daemonize": "no",
            "dir": f'"{self._home}"',
            "save": '""',
            "appendonly": "no",
            "maxmemory": self._max_memory,
            "maxmemory-policy": "allkeys-lru",
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    async def _is_ready(self) -> bool:
        async with asyncio.timeout(5):
            return await self._ping()

    async def _ping(self) -> bool:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            writer.write(f"AUTH {self._password}\r\nPING\r\n".encode())
            await writer.drain()
            return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"
        finally:
            writer.close()
