"""`docs/SECURITY.md` is held to what there is: tests it names, tables it lists, numbers it gives."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from skatestock.accounts.commands_attempts import (
    ADDRESS_FREE,
    LONGEST_DELAY_SECONDS,
    PAIR_FREE,
    SIGN_UPS_FREE,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "SECURITY.md").read_text("utf-8")
NUMBER = re.compile(r"V(\d{1,2})\.(\d{1,2})\.(\d{1,2})")


class Row(NamedTuple):
    """One line of the table."""

    number: str
    level: str
    asks: str
    state: str
    how: str
    test: str


def read_rows() -> list[Row]:
    table = PAGE.split("## ASVS 5.0\n")[1]
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in re.findall(r"^\| V.*$", table, re.MULTILINE)
    ]
    return [Row(*row) for row in cells]


def find_tests(file: Path) -> set[str]:
    """Return the names of a file's tests, those in classes after their class."""
    tree = ast.parse(file.read_text("utf-8"))
    found = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for group in tree.body:
        if isinstance(group, ast.ClassDef):
            found |= {
                f"{group.name}::{node.name}"
                for node in group.body
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
    return {name for name in found if name.split("::")[-1].startswith("test_")}


ROWS = read_rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_a_requirement_that_is_met_names_a_test_that_there_is(row: Row) -> None:
    assert row.state in ("met", "in part", "open", "n/a")
    assert row.level in ("1", "2", "1–2")
    assert row.asks
    assert row.how
    assert all(NUMBER.fullmatch(part) for part in row.number.split("–"))
    assert bool(row.test) == (row.state == "met")
    if row.test:
        file, _, name = row.test.strip("`").partition("::")
        (path,) = (ROOT / "tests").rglob(file)
        assert find_tests(path)
        assert not name or name in find_tests(path)


def test_the_rows_are_in_order_and_each_number_comes_once() -> None:
    numbers = [tuple(map(int, found)) for row in ROWS for found in NUMBER.findall(row.number.split("–")[0])]
    assert numbers == sorted(set(numbers))
    assert {chapter for chapter, _, _ in numbers} == set(range(1, 18))
    assert len(numbers) > 100


def test_a_test_that_there_is_not_would_be_found() -> None:
    assert "test_nothing_of_the_kind" not in find_tests(Path(__file__))
    assert "test_the_page_has_its_chapters" in find_tests(Path(__file__))


def test_the_page_has_its_chapters() -> None:
    chapters = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert chapters == [
        "Who might do what",
        "What is kept",
        "Secrets",
        "Telling us",
        "Behind a proxy",
        "ASVS 5.0",
    ]
    assert re.search(r"updated within \d+ days", PAGE)


def test_every_table_about_people_is_listed() -> None:
    migrations = ROOT / "src" / "skatestock" / "database" / "migrations" / "versions"
    (file,) = migrations.glob("*_accounts.sql")
    made = set(re.findall(r"CREATE TABLE (\w+)", file.read_text("utf-8")))
    kept = PAGE.split("## What is kept\n")[1].split("\n## ")[0]
    assert made <= set(re.findall(r"`(\w+)`", kept))


def test_the_delays_in_the_docs_are_those_that_hold() -> None:
    accounts = (ROOT / "docs" / "API.md").read_text("utf-8").split("\n## Accounts\n")[1]
    assert f"After {PAIR_FREE} failures with one e-mail address" in accounts
    assert (
        f"or {ADDRESS_FREE} from one network\n" in accounts
        or f"or {ADDRESS_FREE} from one network " in accounts
    )
    assert f"up to {LONGEST_DELAY_SECONDS // 60} minutes" in accounts
    assert f"{SIGN_UPS_FREE} from one network address are free" in accounts


def test_every_dependency_is_locked_with_hashes() -> None:
    for name in ("runtime.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text("utf-8")
        pinned = [
            part for part in re.split(r"\n(?=[A-Za-z])", text) if re.match(r"[A-Za-z0-9._\[\]-]+==", part)
        ]
        assert len(pinned) > 20
        assert [part for part in pinned if "--hash=sha256:" not in part] == []
