"""How to reach the servers that run in a data folder, for commands that come along while they run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skatestock.embedded.errors import DamagedFolderError
from skatestock.embedded.kafka import EmbeddedKafka
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.embedded.process_records import find_processes
from skatestock.embedded.schema_registry import EmbeddedSchemaRegistry
from skatestock.embedded.valkey import EmbeddedValkey

POSTGRES_FOLDER = "postgres"
VALKEY_FOLDER = "valkey"
KAFKA_FOLDER = "kafka"
REGISTRY_FOLDER = "registry"


@dataclass(frozen=True)
class Addresses:
    """Where the servers of a data folder answer."""

    database_url: str | None
    redis_url: str | None
    kafka_servers: str | None = None
    schema_registry_url: str | None = None


def runs_server(folder: Path, name: str) -> bool:
    """Tell whether a server of this name runs in a folder under a living supervisor."""
    processes = find_processes(folder)
    return (
        processes is not None and processes.supervised and any(one.name == name for one in processes.children)
    )


def find_addresses(folder: Path) -> Addresses | None:
    """Find the servers that run in a folder under a living supervisor; None when none does.

    Raises DamagedFolderError when a server runs whose port or password file is gone.
    """
    processes = find_processes(folder)
    if processes is None or not processes.supervised:
        return None
    running = {child.name for child in processes.children}
    return Addresses(
        database_url=_postgres_url(folder / POSTGRES_FOLDER) if "postgres" in running else None,
        redis_url=_valkey_url(folder / VALKEY_FOLDER) if "valkey" in running else None,
        kafka_servers=_kafka_servers(folder / KAFKA_FOLDER) if "kafka" in running else None,
        schema_registry_url=_registry_url(folder / REGISTRY_FOLDER) if "registry" in running else None,
    )


def _postgres_url(folder: Path) -> str:
    return EmbeddedPostgres.address(_read(folder / "password"), _read(folder / "port"))


def _valkey_url(folder: Path) -> str:
    return EmbeddedValkey.address(_read(folder / "password"), _read(folder / "port"))


def _kafka_servers(folder: Path) -> str:
    return EmbeddedKafka.address(_read(folder / "port"))


def _registry_url(folder: Path) -> str:
    return EmbeddedSchemaRegistry.address(_read(folder / "port"))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise DamagedFolderError(
            f"A server runs in {file.parent}, but {file} cannot be read: {error}"
        ) from error
