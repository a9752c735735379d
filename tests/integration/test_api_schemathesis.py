"""The running API never contradicts its OpenAPI document: Schemathesis with all checks, over a socket.

`make test-api-fuzz` makes 2,000 requests of each kind for each operation; `make test` makes few.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.integration.api_process import AUTH_KEYS, served
from tests.integration.fuzz_scene import fill, kept_open
from tests.servers import PostgresServer, TestServers

ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("SKATESTOCK_TEST_API_EXAMPLES", "3"))
THOROUGH = EXAMPLES >= 100
# The same requests each time, unless they are so many that new ones are worth more.
_SEED = [] if THOROUGH else ["--seed", "20260301"]
_CONFIGURATION = """
continue-on-failure = true
max-stream-events = 1
request-timeout = 30
workers = 2

[checks.negative_data_rejection]
# what is wrong may also be too long
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "414", "415", "429", "431"]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "414", "429"]

[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx"]

[generation]
database = "none"

[phases.coverage]
enabled = {coverage}

[phases.stateful]
enabled = {stateful}
"""

who = pytest.mark.parametrize("who", ["user", "key", *(["admin", "nobody"] if THOROUGH else [])])


class Fuzzed(NamedTuple):
    """An API that may be asked anything."""

    address: str
    dsn: str


@pytest.fixture(scope="module")
def fuzzed(postgres_server: PostgresServer, test_servers: TestServers) -> Iterator[Fuzzed]:
    dsn = postgres_server.create_database(migrated=True)
    asyncio.run(fill(dsn))
    # no limits: they would be the answer to nearly everything
    unlimited: dict[str, Any] = {f"rate_limit_{kind}": 0 for kind in ("address", "user", "key")}
    with served(dsn, redis_url=test_servers.valkey().url, **unlimited) as (_, api), kept_open(dsn):
        yield Fuzzed(api, dsn)
    postgres_server.drop_database(dsn)


def fuzz(api: Fuzzed, folder: Path, who: str) -> dict[str, Any]:
    """Let Schemathesis loose; returns its report."""
    configuration = folder / "schemathesis.toml"
    # all that does not depend on who asks is tried once
    whole = str(THOROUGH or who == "user").lower()
    configuration.write_text(_CONFIGURATION.format(coverage=whole, stateful=whole))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run"),
            *(f"{api.address}/api-docs/openapi.json", "--checks", "all", "--max-examples", str(EXAMPLES)),
            *("--report", "json", "--report-json-path", str(folder / "report.json"), *_SEED),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.integration.fuzz_hooks",
            "FUZZ_DSN": api.dsn,
            "FUZZ_KEYS": AUTH_KEYS,
            "FUZZ_AS": who,
        },
        capture_output=True,
        check=False,
        text=True,
    )
    report = folder / "report.json"
    assert report.exists(), done.stdout + done.stderr
    told: dict[str, Any] = json.loads(report.read_text())
    assert done.returncode == 0, done.stdout
    return told


@pytest.mark.timeout(4 * 3600 if THOROUGH else 300)
@who
def test_no_answer_contradicts_the_document(fuzzed: Fuzzed, tmp_path: Path, who: str) -> None:
    report = fuzz(fuzzed, tmp_path, who)
    assert report["complete"]
    assert report["failures"] == report["errors"] == []
    operations = report["operations"]
    assert operations["tested"] == operations["total"] >= 30
    assert report["test_cases"]["generated"] > operations["total"]
