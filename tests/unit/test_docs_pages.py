"""The Markdown pages hold together: links, rooms, decisions, and the commands and settings they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from skatestock.cli.app import COMMANDS
from skatestock.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
OTHER_VARIABLES = {
    f"{PREFIX}CONFIG",
    f"{PREFIX}TEST_REQUIRE",
    f"{PREFIX}TEST_API_EXAMPLES",
    f"{PREFIX}TEST_POSTGRES",
    f"{PREFIX}TEST_BLOOM",
    f"{PREFIX}TEST_FUZZ",
    f"{PREFIX}TEST_MIXED",
    f"{PREFIX}TEST_KAFKA",
    f"{PREFIX}TEST_KAFKA_KILLS",
    f"{PREFIX}TEST_KILLS",
    f"{PREFIX}TEST_REGISTRY",
}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make, as GitHub does it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and images that lead to no other host."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def broken_links(page: Path) -> Iterator[str]:
    for target in links(page):
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


def code_of(page: Path) -> list[str]:
    """Return what a page sets as code: the lines of its blocks, and the words between backticks."""
    blocks = re.split(r"^```.*\n", page.read_text("utf-8"), flags=re.MULTILINE)
    lines = [line for block in blocks[1::2] for line in block.splitlines()]
    return lines + [code for text in blocks[0::2] for code in re.findall(r"`([^`\n]+)`", text)]


@every_page
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_a_broken_link_or_anchor_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One & two\n[a](page.md#one--two) [b](#three) [c](gone.md) [d](https://example.org)\n")
    assert list(broken_links(page)) == ["#three", "gone.md"]


@every_page
def test_the_commands_and_targets_that_a_page_names_exist(page: Path) -> None:
    code = "\n".join(code_of(page))
    commands = set(re.findall(r"(?:^|[ /])skatestock ([a-z][a-z-]+)", code, re.MULTILINE))
    assert commands <= set(COMMANDS)
    targets = set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE))
    assert targets <= TARGETS


@every_page
def test_the_variables_that_a_page_names_exist(page: Path) -> None:
    names = set(re.findall(rf"{PREFIX}[A-Z0-9_]+", page.read_text("utf-8")))
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__} | OTHER_VARIABLES
    assert names <= known


def test_the_architecture_lists_the_rooms_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    table = text.split("## The rooms\n")[1].split("\n## ")[0]
    listed = [cell for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for cell in row.split(", ")]
    source = ROOT / "src" / "skatestock"
    rooms = {f"{file.parent.name}/" for file in source.glob("*/__init__.py")}
    modules = {file.name for file in source.glob("*.py") if not file.name.startswith("__")}
    assert sorted(cell.strip("`") for cell in listed) == sorted(rooms | modules)


def test_the_contracts_know_every_room() -> None:
    layers = (ROOT / ".importlinter").read_text().split("layers =\n")[1].split("\n\n")[0]
    rooms = {file.parent.name for file in (ROOT / "src" / "skatestock").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"\w+", layers))


def test_the_index_of_decisions_lists_each_under_its_title() -> None:
    folder = ROOT / "docs" / "adr"
    index = re.findall(r"^\d+\. \[(.+)\]\((.+)\)$", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    files = sorted(file for file in folder.glob("*.md") if file.name != "README.md")
    assert [name for _, name in index] == [file.name for file in files]
    for number, ((title, _), file) in enumerate(zip(index, files, strict=True), start=1):
        assert file.read_text("utf-8").startswith(f"# {number}. {title}\n")
        assert file.name.startswith(f"{number:04}-")
        assert "**Status:**" in file.read_text("utf-8")


def test_every_target_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split()
    assert set(phony) == TARGETS
    assert [name for name in phony if not re.search(rf"^{name}:.* ## \S", text, re.MULTILINE)] == []
