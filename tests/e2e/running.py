"""A running `skatestock up` in a folder of its own, for tests that watch it, ask it and kill parts of it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.e2e.processes import command_environ

from skatestock.embedded.addresses import Addresses, find_addresses
from skatestock.embedded.process_records import RECORDS_NAME

_READY_STATES = ("ready", "done")


class RunningPlatform:
    """One supervisor and its children, seen from outside."""

    def __init__(self, folder: Path, supervisor: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.supervisor = supervisor

    def children(self) -> dict[str, dict[str, Any]]:
        """Read what the supervisor records of its children."""
        try:
            content = json.loads((self.folder / RECORDS_NAME).read_text())
        except (OSError, ValueError):
            return {}
        return {child["name"]: child for child in content["children"]}

    def addresses(self) -> Addresses:
        """Tell where the servers answer."""
        found = find_addresses(self.folder)
        assert found is not None
        return found

    @property
    def database_url(self) -> str:
        """Return the database's address."""
        url = self.addresses().database_url
        assert url is not None
        return url

    async def wait_ready(self, timeout_seconds: float = 90) -> None:
        """Wait until every child is up."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                assert self.supervisor.poll() is None, self.folder.with_name("supervisor.log").read_text()
                children = self.children()
                if children and all(child["state"] in _READY_STATES for child in children.values()):
                    return
                await asyncio.sleep(0.1)

    def kill(self, name: str) -> bool:
        """Send SIGKILL to one child's process; False when it has none just now."""
        return self.signal(name, signal.SIGKILL) is not None

    def signal(self, name: str, number: int) -> int | None:
        """Send a signal to one child's process and tell its pid; None when it has none just now."""
        pid: int | None = self.children().get(name, {}).get("pid")
        if pid is None:
            return None
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return None
        return pid


@asynccontextmanager
async def run_platform(
    folder: Path, environ: Mapping[str, str], *arguments: str
) -> AsyncIterator[RunningPlatform]:
    """Run `skatestock up` (or another command that supervises) in a folder, and stop it at the end."""
    with (folder / "supervisor.log").open("wb") as log:
        supervisor = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "skatestock",
                *(arguments or ("up",)),
                "--data",
                str(folder / "data"),
                "--port",
                "0",
            ],
            env=command_environ(environ),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    running = RunningPlatform(folder / "data", supervisor)
    try:
        await running.wait_ready()
        yield running
    finally:
        supervisor.send_signal(signal.SIGTERM)
        await asyncio.to_thread(supervisor.wait, 120)
