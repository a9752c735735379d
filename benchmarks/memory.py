"""Memory of each process of a running `skatestock up`, on replica shops with 2,000 listings, after crawls.

The platform runs as a child with its data in a folder of its own; every shop is crawled again and again, an
hour of simulated time apart. RSS counts pages that processes share in each of them; PSS divides them by those
who share, so that it can be added up (Linux only; elsewhere RSS stands in its place). The peak is the highest
RSS that the kernel has seen, or that was sampled where it does not tell; for PostgreSQL, whose processes
share their buffers, the highest sampled PSS.
The limit is the same program doing nothing: a bare Python interpreter, an empty PostgreSQL, an empty Valkey,
sampled in turns with ours.

    python -m benchmarks.memory [--crawls 4] [--listings 400]
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median

import asyncpg
import msgspec
import psutil
from benchmarks.figures import Figure, make_report, publish
from benchmarks.replica_shops import ReplicaShops, open_replica_shops
from benchmarks.servers import make_folder, open_servers

from skatestock.embedded.addresses import find_addresses
from skatestock.embedded.process_records import find_processes
from skatestock.settings import PREFIX

WHAT = "memory of each process of `skatestock up`, 2,000 listings, after some crawls"
PYTHON, POSTGRES, VALKEY = "bare Python", "bare PostgreSQL", "bare Valkey"
_ROUNDS = 7
_MEBIBYTE = 1024 * 1024
_START_SECONDS = 60.0
_CRAWL_SECONDS = 40.0
_ROUND_SECONDS = 2.0
_COUNT_CRAWLS = "SELECT count(*) FROM crawls WHERE complete"
_MAKE_DUE = "UPDATE job_leases SET due_at = now() WHERE kind = 'crawl'"


class Memory(msgspec.Struct, frozen=True):
    """What a process and its children hold, in bytes; PSS is zero where the system does not tell it."""

    rss: int = 0
    pss: int = 0
    peak: int = 0

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.rss + other.rss, self.pss + other.pss, self.peak + other.peak)


class Meter:
    """Collects samples by process name."""

    def __init__(self) -> None:
        self.samples: dict[str, list[Memory]] = {}

    def sample(self, processes: Iterable[tuple[str, int]]) -> None:
        """Read each process now."""
        for name, pid in processes:
            with suppress(psutil.Error):
                self.samples.setdefault(name, []).append(read_memory(psutil.Process(pid)))

    def median_of(self, name: str, field: str, last: int) -> float:
        """Return the median of the last samples, in MiB."""
        return float(median(getattr(memory, field) for memory in self.samples[name][-last:])) / _MEBIBYTE

    def peak_of(self, name: str) -> float:
        """Return the highest that was seen, in MiB."""
        shares = name in ("postgres", POSTGRES)
        field = "pss" if shares and self.samples[name][0].pss else "peak"
        return float(max(getattr(memory, field) for memory in self.samples[name])) / _MEBIBYTE


def read_memory(process: psutil.Process) -> Memory:
    """Read a process together with its children; raises psutil.Error when it is gone."""
    total = _read_one(process)
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += _read_one(child)
    return total


def _read_one(process: psutil.Process) -> Memory:
    full = process.memory_full_info()
    rss = int(full.rss)
    return Memory(rss, int(getattr(full, "pss", 0)), max(rss, _read_high_water(process.pid)))


def _read_high_water(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


class Running:
    """The platform that runs as our child."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._process = process

    def list_processes(self) -> list[tuple[str, int]]:
        """List name and pid of the supervisor and all that it runs."""
        recorded = find_processes(self._folder)
        children = () if recorded is None else recorded.children
        # The supervisor is not counted together with its children: each of them is read by itself.
        return [
            (child.name, child.pid) for child in children if child.pid is not None and child.state == "ready"
        ]

    def read_supervisor(self) -> Memory:
        """Read the supervisor alone."""
        return _read_one(psutil.Process(self._process.pid))

    async def connect(self) -> asyncpg.Connection:
        """Connect to the platform's database once the platform is prepared."""
        give_up_at = time.monotonic() + _START_SECONDS
        while time.monotonic() < give_up_at and self._process.poll() is None:
            addresses = find_addresses(self._folder)
            running = {name for name, _ in self.list_processes()}
            if addresses is not None and addresses.database_url is not None and "crawl" in running:
                return await asyncpg.connect(addresses.database_url)
            await asyncio.sleep(0.2)
        raise SystemExit("`skatestock up` did not start; see the error above")


@asynccontextmanager
async def run_platform(folder: Path, replica: ReplicaShops) -> AsyncGenerator[Running]:
    """Run `skatestock up` on the replica shops."""
    shops_file = folder / "shops.toml"
    replica.write_file(shops_file)
    environ = {**os.environ, f"{PREFIX}SHOPS_FILE": str(shops_file), f"{PREFIX}DATA": str(folder / "data")}
    command = [sys.executable, "-m", "skatestock", "up", "--port", "0"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    try:
        yield Running(folder / "data", process)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 90)


async def crawl_again_and_again(
    connection: asyncpg.Connection, replica: ReplicaShops, crawls: int, meter: Meter, running: Running
) -> None:
    """Let every shop be crawled so often, watching the memory."""
    for number in range(1, crawls + 1):
        give_up_at = time.monotonic() + _CRAWL_SECONDS
        while await connection.fetchval(_COUNT_CRAWLS) < number * len(replica.shops):
            if time.monotonic() > give_up_at:
                raise SystemExit("the shops are not crawled: nothing was measured")
            sample_platform(meter, running)
            await asyncio.sleep(0.2)
        if number < crawls:
            await replica.control.advance(3600)
            await connection.execute(_MAKE_DUE)


def sample_platform(meter: Meter, running: Running) -> None:
    """Read every process of the platform now."""
    meter.sample(running.list_processes())
    meter.samples.setdefault("up", []).append(running.read_supervisor())


@asynccontextmanager
async def run_bare() -> AsyncGenerator[list[tuple[str, int]]]:
    """Run the same programs with nothing to do."""
    async with open_servers() as servers:
        idle = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            assert servers.postgres.pid is not None
            assert servers.valkey.pid is not None
            yield [(PYTHON, idle.pid), (POSTGRES, servers.postgres.pid), (VALKEY, servers.valkey.pid)]
        finally:
            idle.kill()
            idle.communicate()


async def run(crawls: int, listings: int) -> list[Figure]:
    """Run the platform, crawl, and sample it in turns with the bare programs."""
    meter = Meter()
    with make_folder() as folder, open_replica_shops(listings) as replica:
        async with run_platform(folder, replica) as running, run_bare() as bare:
            connection = await running.connect()
            try:
                await crawl_again_and_again(connection, replica, crawls, meter, running)
            finally:
                await connection.close()
            for _ in range(_ROUNDS):
                await asyncio.sleep(_ROUND_SECONDS)
                sample_platform(meter, running)
                meter.sample(bare)
    return make_figures(meter)


def make_figures(meter: Meter) -> list[Figure]:
    """Turn the samples into figures: what each process holds at the end, and the sum."""
    ours = [name for name in meter.samples if name not in (PYTHON, POSTGRES, VALKEY)]
    figures = [_make_figure(meter, name) for name in sorted(ours)]
    total = sum(figure.value for figure in figures)
    limits = (_hold(meter, PYTHON) * (len(ours) - 2), _hold(meter, POSTGRES), _hold(meter, VALKEY))
    whole = Figure(
        name="all together",
        unit="MiB",
        value=total,
        limit_name="as many bare ones",
        limit=sum(limits),
        ratio=total / sum(limits),
        samples=_ROUNDS,
    )
    return [*figures, whole]


def _make_figure(meter: Meter, name: str) -> Figure:
    limit_name = {"postgres": POSTGRES, "valkey": VALKEY}.get(name, PYTHON)
    value, limit = _hold(meter, name), _hold(meter, limit_name)
    rss, bare_rss = (meter.median_of(one, "rss", _ROUNDS) for one in (name, limit_name))
    return Figure(
        name=name,
        unit="MiB",
        value=value,
        limit_name=limit_name,
        limit=limit,
        ratio=value / limit,
        samples=_ROUNDS,
        note=f"RSS {rss:.1f} MiB (bare {bare_rss:.1f} MiB), peak {meter.peak_of(name):.1f} MiB",
    )


def _hold(meter: Meter, name: str) -> float:
    return meter.median_of(name, "pss", _ROUNDS) or meter.median_of(name, "rss", _ROUNDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=f"Tell the {WHAT}.")
    parser.add_argument("--crawls", type=int, default=4, help="how often every shop is crawled before")
    parser.add_argument("--listings", type=int, default=400, help="of each of the five shops")
    options = parser.parse_args(arguments)
    return publish(make_report("memory", WHAT, asyncio.run(run(options.crawls, options.listings))))


if __name__ == "__main__":
    raise SystemExit(main())
