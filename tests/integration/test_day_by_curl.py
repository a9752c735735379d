"""The day that `docs/API.md` tells of, run word for word against the real thing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
from tests.integration.api_process import served
from tests.integration.catalog_rows import Catalogue
from tests.integration.fuzz_scene import now
from tests.shared_data import missing

DOCS = Path(__file__).parents[2] / "docs" / "API.md"


def read_session() -> str:
    """Return the commands of the page's chapter."""
    (chapter,) = re.findall(
        r"^## A day by curl\n(.*?)^## ", DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    (session,) = re.findall(r"^```bash\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)
    return str(session)


async def fill(pool: asyncpg.Pool) -> int:
    """Write a shoe in two sizes, of which one became cheaper, and a dearer one; returns the cheaper's id."""
    catalogue = Catalogue(pool)
    shop = await catalogue.add_shop("labor")
    await catalogue.add_crawl(shop, now())
    for name, price in (("Tyshawn Low", 8000), ("Busenitz Vulc II", 4500)):
        product = await catalogue.add_product(name, brand="adidas")
        listing = await catalogue.add_listing(product, shop, title=name)
        for size in ("M 9.5", "M 10"):
            offer = await catalogue.add_offer(listing, price, title=size)
            await pool.execute("UPDATE offers SET size = $2 WHERE id = $1", offer, size)
            await catalogue.add_point(offer, now() - timedelta(days=40), 6000, changes=("first_seen",))
            await catalogue.add_point(offer, now() - timedelta(days=2), price)
    await catalogue.index()
    return product


async def test_a_users_day_works_as_it_is_written(
    pool: asyncpg.Pool, database_dsn: str, tmp_path: Path
) -> None:
    bash, curl = shutil.which("bash"), shutil.which("curl")
    if bash is None or curl is None:
        missing("curl", "bash and curl are not both installed")
    product = await fill(pool)
    with served(database_dsn) as (_, api):
        done = subprocess.run(
            [bash, "-euo", "pipefail", "-c", read_session()],
            env={"API": api, "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    *answers, first, second, third, fourth = done.stdout.split("\n")[:-1]
    assert (first, second, third, fourth) == ("204", "401", "204", "401")
    sign_up, me, found, history, wish, search, wishes = (json.loads(answer) for answer in answers)
    assert sign_up["status"] == "accepted"
    assert me["email"] == "mika@example.org"
    assert found["items"][0]["id"] == product
    assert found["total"] == 2
    check_history(history)
    assert (wish["product_id"], wish["size"], wish["target_met"]) == (product, "M 9.5", False)
    assert search["name"] == "my size"
    assert [item["product_id"] for item in wishes["items"]] == [product]


def check_history(history: dict[str, Any]) -> None:
    """Only the size that was asked for, and both of its steps."""
    (offer,) = history["offers"]
    assert offer["title"] == "M 9.5"
    assert [step["price"]["minor"] for step in offer["steps"]] == [6000, 4500]


def test_the_day_needs_curl_alone() -> None:
    programs = set(re.findall(r"(?:^|\| |\$\()(\w+) ", read_session(), re.MULTILINE))
    assert programs <= {"ask", "status", "pick", "grep", "head", "cut", "curl"}
