"""A real Apache Kafka in a folder, run as our own child: one broker that is its own controller (KRaft)."""

from __future__ import annotations

import asyncio
import base64
import secrets
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from skatestock.embedded.child_process import ChildProcess, Launch
from skatestock.embedded.children import Child
from skatestock.embedded.errors import DamagedFolderError, EmbeddedError
from skatestock.embedded.jars import Progress
from skatestock.embedded.java_server import JavaServer
from skatestock.embedded.kafka_wire import fetch_cluster
from skatestock.embedded.log_files import read_last_lines
from skatestock.embedded.ports import HOST, choose_port
from skatestock.embedded.server import describe_exit
from skatestock.embedded.shelter import SHELTER

log = structlog.get_logger(__name__)

_NODE = 1
_FORMAT_TIMEOUT_SECONDS = 120
# Warnings of all, and from where it stands in its life; the rest is more than anybody reads.
_LOG_LEVELS = {
    "defaultLogLevel": "warn",
    "log.kafka.server.BrokerServer": "info",
    "log.kafka.server.KafkaRaftServer": "info",
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "logFile": "System.out",
}


@dataclass(frozen=True)
class Listener:
    """One more address of a broker. With `users` (names and passwords) it asks for SASL PLAIN.

    `advertised_port` is where clients are sent: that of a proxy in front of it, for instance.
    """

    name: str
    users: Mapping[str, str] = field(default_factory=dict)
    advertised_port: int | None = None


class EmbeddedKafka(JavaServer):
    """Kafka in `folder`, on loopback only; `port` None means: any free one, remembered in the folder.

    `settings` are further lines of configuration, `listeners` further addresses.
    """

    bundle_name = "kafka"

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path,
        port: int | None = None,
        java: Path | None = None,
        heap_mb: int = 256,
        settings: Mapping[str, str] | None = None,
        listeners: tuple[Listener, ...] = (),
        progress: Progress | None = None,
        shelter: Path = SHELTER,
    ) -> None:
        super().__init__(
            folder, "kafka", cache=cache, java=java, heap_mb=heap_mb, progress=progress, shelter=shelter
        )
        self._configured_port = port
        self._settings = dict(settings or {})
        self._listeners = listeners
        self._listener_ports: dict[str, int] = {}
        self._controller_port = 0
        self._cluster = ""
        self.port = 0

    @property
    def servers(self) -> str:
        """The broker's address, as clients take it; known after `prepare` or `start`."""
        return self.address(self.port)

    @staticmethod
    def address(port: int | str) -> str:
        """Build the address of a broker from what a folder remembers of it."""
        return f"{HOST}:{port}"

    def port_of(self, listener: str) -> int:
        """The port that a further listener is bound to."""
        return self._listener_ports[listener]

    @property
    def data(self) -> Path:
        """Kafka's own data folder, wherever it really lies."""
        return self.home / "data"

    async def prepare(self) -> None:
        """Fetch what is missing, format the data folder when it is new, choose the ports, configure."""
        await self._prepare_program()
        self._choose_ports()
        if not self.data.exists():
            await self._format()
        self._cluster = self._read_cluster()
        self._write_owned("server.properties", _write_properties(self._configuration("data")))

    def child(self) -> Child:
        """Describe the server for the supervisor."""
        return Child(
            name=self.name,
            command=self._build_command,
            ready=self._is_ready,
            # After a crash it reads again what it had not flushed.
            ready_timeout_seconds=120,
            env=self._env(),
            own_env=False,
            account=self._account,
            cwd=self.home,
            address=self.servers,
            stop_signal=signal.SIGTERM,
            stop_timeout_seconds=30,
        )

    async def _build_command(self) -> list[str]:
        return self._kafka_command("kafka.Kafka", "server.properties")

    def _kafka_command(self, *arguments: str) -> list[str]:
        levels = [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in _LOG_LEVELS.items()]
        return self._java_command(*levels, "-cp", f"{self._files}/*", *arguments)

    async def _is_ready(self) -> bool:
        async with asyncio.timeout(5):
            found = await fetch_cluster(HOST, self.port)
        # A broker is named once it may serve; another cluster's is somebody else's on our port.
        return found.cluster == self._cluster and _NODE in found.brokers

    def _choose_ports(self) -> None:
        chosen = self.port = choose_port(
            self.folder / "port", configured=self._configured_port, server="Kafka"
        )
        taken = {chosen, *(one.advertised_port for one in self._listeners if one.advertised_port is not None)}
        self._controller_port = self._choose("controller", taken)
        self._listener_ports = {one.name: self._choose(one.name.lower(), taken) for one in self._listeners}

    def _choose(self, name: str, taken: set[int]) -> int:
        memory = self.folder / f"{name}-port"
        port = choose_port(memory, configured=None, server="Kafka", avoid=taken)
        taken.add(port)
        return port

    async def _format(self) -> None:
        """Make a new data folder beside its place and move it there when it is whole."""
        for left in self.home.glob("data.partial*"):
            shutil.rmtree(left, ignore_errors=True)
        # A name of its own: a formatting that was cut off may still be writing to the last one.
        partial = f"data.partial-{secrets.token_hex(4)}"
        self._write_owned("format.properties", _write_properties(self._configuration(partial)))
        await self._run_storage_tool()
        (self.home / partial).rename(self.data)
        log.info("kafka_data_made", folder=str(self.data))

    async def _run_storage_tool(self) -> None:
        cluster = base64.urlsafe_b64encode(b"k" + secrets.token_bytes(15)).decode().rstrip("=")
        command = self._kafka_command("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster)
        said = self.folder / "format.log"
        said.unlink(missing_ok=True)
        command += ["-c", "format.properties"]
        process = ChildProcess(Launch(command, said, self._env(), self._account, self.home))
        try:
            async with asyncio.timeout(_FORMAT_TIMEOUT_SECONDS):
                code = await process.wait()
        finally:
            process.signal(signal.SIGKILL, whole_group=True)
        if code != 0:
            lines = "\n".join(read_last_lines(said))
            raise EmbeddedError(f"Kafka's StorageTool: {describe_exit(code)}. It said:\n{lines}")
        said.unlink()

    def _read_cluster(self) -> str:
        file = self.data / "meta.properties"
        try:
            lines = file.read_text(encoding="latin-1").splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            name, _, value = line.partition("=")
            if name == "cluster.id":
                return value.strip()
        raise DamagedFolderError(
            f"{self.data} is no data folder of Kafka: {file} does not name its cluster. Choose another "
            "folder, or move what lies there out of the way."
        )

    def _configuration(self, data: str) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": str(_NODE),
            **self._addresses(),
            # Relative to the home: the list has no way to write a comma of a folder's name.
            "log.dirs": data,
            "auto.create.topics.enable": "false",
            "default.replication.factor": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # For one machine's groups and producers: fifty files of each would only slow the first start.
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker is let in again once the controller, which it is itself, takes it for dead.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "group.min.session.timeout.ms": "6000",
            "num.network.threads": "2",
            "num.io.threads": "4",
            # Taken from the heap at once, and 128 MiB unless said otherwise.
            "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
            **self._settings,
        }

    def _addresses(self) -> dict[str, str]:
        bound = {"PLAINTEXT": self.port, "CONTROLLER": self._controller_port, **self._listener_ports}
        told = {
            **bound,
            **{one.name: one.advertised_port for one in self._listeners if one.advertised_port is not None},
        }
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        further: dict[str, str] = {}
        for one in self._listeners:
            protocols[one.name] = "SASL_PLAINTEXT" if one.users else "PLAINTEXT"
            further |= _describe_users(one)
        return {
            "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in bound.items()),
            "advertised.listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in told.items()),
            "listener.security.protocol.map": ",".join(f"{one}:{how}" for one, how in protocols.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"{HOST}:{self._controller_port}",
            **further,
        }


def _describe_users(listener: Listener) -> dict[str, str]:
    if not listener.users:
        return {}
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    users = " ".join(f'user_{name}="{password}"' for name, password in listener.users.items())
    prefix = f"listener.name.{listener.name.lower()}"
    return {
        f"{prefix}.sasl.enabled.mechanisms": "PLAIN",
        f"{prefix}.plain.sasl.jaas.config": f"{module} required {users};",
    }


def _write_properties(settings: Mapping[str, str]) -> str:
    """Write Java's properties: a backslash is an escape there."""
    lines = "".join("{}={}\n".format(name, value.replace("\\", "\\\\")) for name, value in settings.items())
    return f"# Written at every start.\n{lines}"
