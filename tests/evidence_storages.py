"""Storages of evidence that misbehave, and a real server that speaks S3."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from urllib.parse import quote

from tests.ports import choose_quiet_port

from skatestock.evidence.address import open_store
from skatestock.evidence.errors import EvidenceUnavailableError

ACCESS_KEY, SECRET_KEY = "skate", "ha/rd+flip"
BUCKET = "evidence"


class FailingStorage:
    """Takes nothing while it is away, or never answers."""

    place = "nowhere"

    def __init__(self, *, hangs: bool = False) -> None:
        self.tries = 0
        self.is_away = True
        self.hangs = hangs

    async def write(self, name: str, content: bytes) -> None:
        self.tries += 1
        if self.hangs:
            await asyncio.sleep(60)
        if self.is_away:
            raise EvidenceUnavailableError("the storage nowhere cannot be used: it is away")

    async def read(self, name: str) -> bytes:
        raise EvidenceUnavailableError("the storage nowhere cannot be used: it is away")

    async def list_folders(self, prefix: str) -> list[str]:
        raise EvidenceUnavailableError("the storage nowhere cannot be used: it is away")

    async def list_objects(self, prefix: str) -> AsyncIterator[list[str]]:
        for name in await self.list_folders(prefix):
            yield [name]

    async def delete(self, names: Sequence[str]) -> None:
        raise EvidenceUnavailableError("the storage nowhere cannot be used: it is away")


def find_weed() -> Path | None:
    """Find the program of SeaweedFS, which speaks S3, beside our own or on the path."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    return None if found is None else Path(found)


@contextmanager
def serve_s3(program: Path, folder: Path) -> Iterator[str]:
    """Run SeaweedFS on loopback, which checks the signatures of its one user; gives a bucket's address."""
    first = choose_quiet_port(following=8)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    config = folder / "identities.json"
    config.write_text(json.dumps({"identities": [identity]}))
    names = ("master", "volume", "filer", "s3")
    ports = [
        option
        for place, name in enumerate(names)
        for option in (f"-{name}.port={first + 2 * place}", f"-{name}.port.grpc={first + 2 * place + 1}")
    ]
    server = subprocess.Popen(
        [
            *(str(program), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports),
            *("-filer", "-s3", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-master.telemetry=false", "-volume.max=8", "-master.volumeSizeLimitMB=64"),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "weed.log").open("wb"),
    )
    try:
        yield f"s3+http://{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@127.0.0.1:{first + 6}/{BUCKET}"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


async def wait_for_s3(url: str) -> None:
    """Wait until something can be written, which makes the bucket too."""
    until = time.monotonic() + 60
    while True:
        try:
            await open_store(url, Path()).put(b"hello", date(2000, 1, 1))
        except EvidenceUnavailableError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)
        else:
            return
