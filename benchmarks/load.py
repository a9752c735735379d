"""Load on a web server: wrk where it is installed, else many connections of our own."""

import asyncio
import random
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

_SECONDS_OF = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_LATENCY = re.compile(r"^\s+(50|95|99)(?:\.\d+)?%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_TOTAL = re.compile(r"(\d+) requests in")
_FAILED = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")
_LUA = """
local paths, place = {%s}, %d
request = function()
  place = place %% #paths + 1
  return wrk.format('GET', paths[place])
end
"""


class Load(NamedTuple):
    """What some seconds of load gave."""

    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Return requests per second of the clock."""
        return self.requests / self.seconds


class Work(NamedTuple):
    """Load, and the processor time that a server's processes took for it."""

    load: Load
    cpu_seconds: float

    @property
    def cpu_ms(self) -> float:
        """Return the processor's milliseconds for each request."""
        return self.cpu_seconds * 1000 / max(1, self.load.requests)


def find_wrk() -> str | None:
    """Find the load generator `wrk`."""
    return shutil.which("wrk")


def find_cpu_seconds(pid: int) -> float:
    """Return what a process and its children have taken of the processor."""
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return sum(taken.user + taken.system for taken in times)


async def put_load(
    pid: int,
    port: int,
    paths: Sequence[str],
    seconds: float,
    headers: Mapping[str, str],
    connections: int = 32,
) -> Work:
    """Ask a server on loopback for paths in turn, as fast as it answers, and measure its processes."""
    before = find_cpu_seconds(pid)
    if find_wrk() is None:
        load = await ask_in_turn(port, paths, seconds, headers, connections)
    else:
        load = await asyncio.to_thread(_run_wrk, port, paths, seconds, headers, connections)
    return Work(load, find_cpu_seconds(pid) - before)


def _run_wrk(
    port: int, paths: Sequence[str], seconds: float, headers: Mapping[str, str], connections: int
) -> Load:
    script = Path(f"/tmp/skatestock-wrk-{port}-{random.getrandbits(32)}.lua")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if len(paths) > 1:
        names = ", ".join(f"'{path}'" for path in paths)
        script.write_text(_LUA % (names, random.randrange(len(paths))))
        command += ["-s", str(script)]
    command.append(f"http://127.0.0.1:{port}{paths[0]}")
    began = time.perf_counter()
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        script.unlink(missing_ok=True)
    return _read_wrk(said, time.perf_counter() - began)


def _read_wrk(said: str, seconds: float) -> Load:
    total = _TOTAL.search(said)
    if total is None:
        raise SystemExit(f"wrk said nothing of requests:\n{said}")
    latencies = {percent: float(n) * _SECONDS_OF[unit] * 1000 for percent, n, unit in _LATENCY.findall(said)}
    failed = _FAILED.search(said)
    failures = 0 if failed is None else int(failed[1] or 1)
    p50, p99 = latencies.get("50", 0.0), latencies.get("99", 0.0)
    # wrk tells no 95 %
    return Load(int(total[1]), failures, seconds, p50, 0.0, p99)


async def ask_in_turn(
    port: int, paths: Sequence[str], seconds: float, headers: Mapping[str, str], connections: int
) -> Load:
    """Ask on many connections at once, each again as soon as it is answered."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    questions = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode() for path in paths]
    taken: list[float] = []
    failures = [0]
    began = time.perf_counter()
    asking = [_ask(port, questions, began + seconds, taken, failures) for _ in range(connections)]
    await asyncio.gather(*asking)
    whole = time.perf_counter() - began
    ranked = sorted(taken) or [0.0]
    p50, p95, p99 = (ranked[min(len(ranked) - 1, len(ranked) * part // 100)] * 1000 for part in (50, 95, 99))
    return Load(len(taken), failures[0], whole, p50, p95, p99)


async def _ask(
    port: int, questions: Sequence[bytes], until: float, taken: list[float], failures: list[int]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while (began := time.perf_counter()) < until:
            writer.write(random.choice(questions))
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            taken.append(time.perf_counter() - began)
            failures[0] += not head.startswith(b"HTTP/1.1 2")
    except (OSError, asyncio.IncompleteReadError):
        failures[0] += 1
    finally:
        writer.close()
