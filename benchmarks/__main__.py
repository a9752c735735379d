"""`python -m benchmarks [NAME …]`: run all benchmarks, or some of them, each in a process of its own."""

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import msgspec
from benchmarks.figures import RESULTS, Report, format_table

BENCHMARKS: Mapping[str, str] = {
    "page": "a page of 250 products to observations, against the bare JSON decode",
    "parsing": "one page of each platform to observations, against the bare decode or tree",
    "ingest": "rows written by ingest, against a raw binary COPY of the same rows",
    "latency": "byte received to price point visible, against bare commits",
    "kafka": "ingest from Kafka, appends and latency, against bare clients and COPY",
    "crawl": "a whole crawl of 400 listings, against bare fetching of its pages",
    "redis": "a page check of the unchanged-filter, against a bare HMGET; its hit rate over a week",
    "bloom": "errors and memory of the filter of never-seen listings, at a million of them",
    "normalisation": "brand and category as a person reads them, and the time of reading titles",
    "edge": "cached and uncached answers of the API, against bare ASGI functions, nginx and pgbench",
    "products": "lists of products on 100,000 listings, against the bare statement and pgbench",
    "memory": "memory of each process of `skatestock up`, against the bare programs",
}
"""Every benchmark with what it measures; each is a module of this package with options of its own."""

_EPILOGUE = """
Each benchmark has options of its own: `python -m benchmarks.latency --help`.
The figures of the last run of each are kept in benchmarks/results/ as JSON.
Exit codes: 0 every figure is within its reach, 1 one is not or a benchmark failed, 2 wrong usage.
"""


def run_benchmark(name: str) -> int:
    """Run one benchmark, keep what it said, and return its exit code."""
    said: list[str] = []
    # What an earlier run has kept must not pass for this one's.
    (RESULTS / f"{name}.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line.rstrip("\n"))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text("\n".join(said) + "\n", encoding="utf-8")
    return process.returncode


def print_summary(codes: Mapping[str, int]) -> None:
    """Print what every benchmark has kept in one table, and how each ended."""
    reports = [report for name in codes if (report := find_report(name)) is not None]
    figures = [figure for report in reports for figure in report.figures]
    if figures:
        print("\nIn short\n")
        print(format_table([msgspec.structs.replace(figure, note="") for figure in figures]))
    for name, code in codes.items():
        print(f"  {name}: {'done' if code == 0 else f'exit code {code}'}")


def find_report(name: str) -> Report | None:
    """Read what a benchmark kept of its last run; None where it keeps no report."""
    try:
        return msgspec.json.decode((RESULTS / f"{name}.json").read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError):
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the names and run."""
    listing = "\n".join(f"  {name:<13} {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure SkateStock, each figure beside its limit of the same run.\n\n{listing}",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; all without one")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and run none")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    if options.list:
        print(listing)
        return 0
    return _run_all(options.names or list(BENCHMARKS))


def _run_all(names: Sequence[str]) -> int:
    codes: dict[str, int] = {}
    for name in names:
        began = time.monotonic()
        codes[name] = run_benchmark(name)
        print(f"  ({name} took {time.monotonic() - began:.0f} s)")
    print_summary(codes)
    return 0 if not any(codes.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
