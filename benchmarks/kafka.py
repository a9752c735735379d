"""Ingest from a real Kafka, appends to it, and how soon what was appended is seen.

A broker, a schema registry and PostgreSQL start in a folder of their own. Three parts, each beside its limit:

    ingest   a backlog to the commit, beside a bare consumer that only decodes and a binary COPY of the rows
    append   pages of 250 messages, beside a bare producer with the same settings
    latency  from the append until another connection reads the price point, beside a bare message and commit

    python -m benchmarks.kafka [ingest] [append] [latency] [--listings 20000] [--offers 5] [--rounds 3]
                               [--batch 2000] [--appends 200] [--samples 300]
"""

import argparse
import asyncio
from collections.abc import Sequence

from benchmarks.figures import Figure, make_report, publish
from benchmarks.ingest import open_server
from benchmarks.kafka_append import measure_appends
from benchmarks.kafka_ingest import measure_ingest
from benchmarks.kafka_latency import measure_latency
from benchmarks.kafka_servers import open_kafka_server
from benchmarks.servers import make_folder

from skatestock.embedded.errors import EmbeddedError
from skatestock.telemetry.logs import configure_logging

PARTS = ("ingest", "append", "latency")
WHAT = "ingest from, appends to, and latency over a real Kafka broker"


async def run(options: argparse.Namespace) -> list[Figure]:
    """Measure the parts that are wanted, one after another."""
    configure_logging("bench", json=False, level="warning")
    figures: list[Figure] = []
    parts = options.parts or PARTS
    if "ingest" in parts or "append" in parts:
        with make_folder() as folder:
            async with open_server(None) as server, open_kafka_server(folder) as kafka:
                if "ingest" in parts:
                    figures += await measure_ingest(server, kafka, options)
                if "append" in parts:
                    async with server.database() as pool:
                        figures += await measure_appends(pool, kafka, options.appends)
    if "latency" in parts:
        figures += await measure_latency(options.samples)
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kafka", description=f"Measure {WHAT}.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all without")
    parser.add_argument("--listings", type=int, default=20_000)
    parser.add_argument("--offers", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2_000)
    parser.add_argument("--appends", type=int, default=200)
    parser.add_argument("--samples", type=int, default=300)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    try:
        figures = asyncio.run(run(options))
    except EmbeddedError as error:
        # no Java, no jars, no extra: it says what to do
        raise SystemExit(str(error)) from error
    return publish(make_report("kafka", WHAT, figures))


if __name__ == "__main__":
    raise SystemExit(main())
