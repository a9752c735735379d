"""The documentation page: complete without any outside network, and rendered by a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.integration.api_process import find_port, served
from tests.shared_data import missing

from skatestock.api.endpoints import ENDPOINTS
from skatestock.api.operations import OPERATION

ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png", "start.js")


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """Serve without a database: the documentation needs none."""
    with served(f"postgresql://nobody@127.0.0.1:{find_port()}/none", demo=True) as (_, address):
        yield address


@pytest.fixture
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        missing("browser", "no Chromium is installed")
    return found


def test_the_page_loads_only_what_is_served_here(api: str) -> None:
    page = httpx.get(f"{api}/api-docs")
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {f"/api-docs/assets/{name}" for name in ASSETS} | {"/api-docs/openapi.json"} == set(loaded)
    for address in loaded:
        answer = httpx.get(api + address)
        assert answer.status_code == 200
        assert len(answer.content) > 100


def test_the_style_asks_for_nothing_outside(api: str) -> None:
    style = httpx.get(f"{api}/api-docs/assets/swagger-ui.css").text
    assert "@import" not in style
    assert all(address.startswith("data:") for address in re.findall(r"url\([\"']?([^\"')]+)", style))


def test_the_policy_lets_the_page_ask_only_us(api: str) -> None:
    policy = httpx.get(f"{api}/api-docs").headers["content-security-policy"]
    sources = {source for rule in policy.split("; ") for source in rule.split()[1:]}
    assert sources <= {"'none'", "'self'", "'unsafe-inline'", "data:"}
    assert "script-src 'self';" in policy


def test_a_browser_shows_every_operation_and_unfolds_one(api: str, browser: str, tmp_path: Path) -> None:
    shown = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            # whatever the page would ask of another host fails, and is logged
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={tmp_path}",
            "--enable-logging=stderr",
            "--virtual-time-budget=15000",
            "--dump-dom",
            f"{api}/api-docs#/Products/get_price_history",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    for endpoint in ENDPOINTS:
        operation = endpoint.opt[OPERATION]
        assert operation.summary in shown.stdout
        assert f"operations-{operation.tag}-{operation.name}" in shown.stdout
    assert re.findall(r'data-param-name="(\w+)"', shown.stdout) == ["product_id", "days", "shop", "size"]
    assert "OAS 3.1" in shown.stdout, "the page shows the document itself, no older rendition"
    assert "Demo: simulated shops" in shown.stdout
    assert "Unable to render" not in shown.stdout
    console = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert not [line for line in console if re.search(r"error|refused|violat|failed", line, re.IGNORECASE)]
