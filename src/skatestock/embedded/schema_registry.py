"""A real schema registry in a folder, run as our own child: Apicurio and its Confluent-compatible API."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path

from skatestock.embedded.children import Child
from skatestock.embedded.errors import EmbeddedError
from skatestock.embedded.jars import Progress
from skatestock.embedded.java_server import JavaServer
from skatestock.embedded.ports import HOST, choose_port
from skatestock.embedded.shelter import SHELTER

_API = "/apis/ccompat/v7"
# Of its kinds of storage this one keeps everything over restarts and needs no other server. Kept in Kafka or
# PostgreSQL, the registry would fall with them, and leave tables in a database that is somebody else's.
# Without the delay a commit is in the file when it is answered: an id that was handed out is never handed out
# again, for another schema, after a crash.
_STORAGE = "jdbc:h2:file:./data/registry;WRITE_DELAY=0"


class EmbeddedSchemaRegistry(JavaServer):
    """Apicurio Registry in `folder`, on loopback only; `port` None means: any free one, remembered.

    `settings` are further properties of its configuration.
    """

    bundle_name = "registry"

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path,
        port: int | None = None,
        java: Path | None = None,
        heap_mb: int = 256,
        settings: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        shelter: Path = SHELTER,
    ) -> None:
        super().__init__(
            folder, "registry", cache=cache, java=java, heap_mb=heap_mb, progress=progress, shelter=shelter
        )
        self._configured_port = port
        self._settings = dict(settings or {})
        self._management_port = 0
        self.port = 0

    @property
    def url(self) -> str:
        """Where clients of Confluent's REST API find it; known after `prepare` or `start`."""
        return self.address(self.port)

    @staticmethod
    def address(port: int | str) -> str:
        """Build the address of a registry from what a folder remembers of it."""
        return f"http://{HOST}:{port}{_API}"

    async def prepare(self) -> None:
        """Fetch what is missing, make the folder, choose the ports."""
        await self._prepare_program()
        server = "The schema registry"
        self.port = choose_port(self.folder / "port", configured=self._configured_port, server=server)
        self._management_port = choose_port(
            self.folder / "management-port", configured=None, server=server, avoid=(self.port,)
        )

    def child(self) -> Child:
        """Describe the server for the supervisor."""
        return Child(
            name=self.name,
            command=self._build_command,
            ready=self._is_ready,
            ready_timeout_seconds=120,
            env=self._env(),
            own_env=False,
            account=self._account,
            cwd=self.home,
            address=self.url,
            stop_signal=signal.SIGTERM,
            stop_timeout_seconds=20,
        )

    async def _build_command(self) -> list[str]:
        properties = [f"-D{name}={value}" for name, value in self._configuration().items()]
        return self._java_command(*properties, "-jar", str(self._files / "quarkus-run.jar"))

    async def _is_ready(self) -> bool:
        async with asyncio.timeout(5):
            return await self._answers()

    async def _answers(self) -> bool:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            writer.write(f"GET {_API}/subjects HTTP/1.0\r\nHost: {HOST}:{self.port}\r\n\r\n".encode())
            await writer.drain()
            status = (await reader.readline()).split()
            return status[1:2] == [b"200"]
        except ValueError as error:
            raise EmbeddedError(f"what listens on port {self.port} is no registry") from error
        finally:
            writer.close()

    def _configuration(self) -> dict[str, str]:
        return {
            # All of them: what is not told listens on every address of the machine.
            "quarkus.http.host": HOST,
            "quarkus.http.port": str(self.port),
            "quarkus.management.host": HOST,
            "quarkus.management.port": str(self._management_port),
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": _STORAGE,
            # Twenty connections to a file are eighteen too many.
            "apicurio.datasource.jdbc.initial-size": "2",
            "apicurio.datasource.jdbc.min-size": "2",
            "apicurio.datasource.jdbc.max-size": "10",
            "quarkus.http.access-log.enabled": "false",
            "quarkus.banner.enabled": "false",
            "quarkus.log.console.format": "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p [%c] %m%n",
            "quarkus.log.level": "WARN",
            'quarkus.log.category."io.apicurio".level': "WARN",
            'quarkus.log.category."io.quarkus.bootstrap.runner.Timing".level': "INFO",
            **self._settings,
        }
