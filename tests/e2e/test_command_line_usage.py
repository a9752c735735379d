"""What a person meets first: help that teaches, and errors that say what to do, each with its exit code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.processes import command_environ, run_command

from skatestock.cli.app import COMMANDS, main

NESTED = [("deadletters", verb) for verb in ("list", "show", "replay", "discard")]
EVERY_COMMAND = [*((name,) for name in COMMANDS), *NESTED]


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_the_help_of_a_command_shows_its_usage_purpose_and_exit_codes(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(capsys, *command)
    assert text.startswith(f"Usage: skatestock {' '.join(command)}")
    assert "Exit codes: 0 done" in text
    assert len(text.splitlines()[2]) > 20, "the purpose stands below the usage"


def test_the_help_of_everything_lists_each_command_under_what_it_is_for() -> None:
    ended = run_command("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    places = [ended.stdout.index(f"│ {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert "skatestock demo" in ended.stdout
    assert "replica " not in ended.stdout.replace("replica shops", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fly"], 2, ['Unknown command "fly"', "demo", "skatestock --help"]),
        (["up", "--fast"], 2, ["--fast", "skatestock up --help"]),
        (["up", "--port", "70000"], 2, ["70000", "--port", "65535"]),
        (["demo", "--days", "soon"], 2, ["--days", "soon"]),
        (["demo", "--listings", "0"], 2, ["--listings", ">= 1"]),
        (["deadletters", "list", "--state", "lost"], 2, ["--state", "waiting", "discarded"]),
        (["deadletters", "show", "first"], 2, ["LETTER", "first"]),
        (["deadletters", "replay"], 2, ["ids of dead letters", "--every"]),
        (["deadletters", "discard", "1", "--every"], 2, ["ids of dead letters", "--every"]),
        (["import-feeds"], 2, ["name the feeds to import"]),
        (["crawl", "nowhere"], 1, ["no shop 'nowhere'", "labor"]),
        (["status"], 3, ["skatestock up", "SKATESTOCK_DATABASE_URL"]),
        (["api"], 3, ["skatestock up", "SKATESTOCK_DATABASE_URL"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].isalpha() else "",
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    arguments: list[str], code: int, words: list[str], console: Console
) -> None:
    console.check_error(arguments, code, words)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("2024-09-10_labor.json", None, ["2024-09-10_labor.json: cannot be read", "No such file"]),
        ("labor.json", b"[]", ["labor.json: the name of a feed", "such as 2024-09-10_labor.json"]),
        ("2024-09-10_nowhere.json", b"[]", ["no shop 'nowhere'"]),
        ("2024-09-10_labor.json", b"<html>", ["2024-09-10_labor.json", "no JSON"]),
        ("2024-09-10_labor.json", b"{}", ["2024-09-10_labor.json", "JSON array"]),
    ],
    ids=["missing", "named wrongly", "of no shop", "no JSON", "no array"],
)
def test_a_file_that_is_no_feed_is_named_and_nothing_is_started(
    name: str, body: bytes | None, words: list[str], console: Console, tmp_path: Path
) -> None:
    feed = tmp_path / name
    if body is not None:
        feed.write_bytes(body)
    console.check_error(["import-feeds", str(feed)], 1, words)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("LOG_LEVEL", "loud", ["SKATESTOCK_LOG_LEVEL: expected one of debug", "loud"]),
        ("API_PROT", "8000", ["api_prot", "docs/CONFIGURATION.md"]),
        ("CONFIG", "/nowhere/settings.toml", ["/nowhere/settings.toml", "cannot be read"]),
    ],
)
def test_a_broken_setting_is_named(
    setting: str, value: str, words: list[str], console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SKATESTOCK_{setting}", value)
    console.check_error(["shops"], 1, words)


def test_a_broken_file_of_shops_is_told_by_a_process_as_well(tmp_path: Path) -> None:
    file = tmp_path / "shops.toml"
    file.write_text('shop = "labor"\n')
    ended = run_command("shops", environ={"SKATESTOCK_SHOPS_FILE": str(file)})
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"error: {file}: there is no key 'shop' beside [[shops]]\n"


def test_a_wrong_option_ends_a_process_with_2() -> None:
    ended = run_command("up", "--qqqq")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: Unknown option: --qqqq. `skatestock up --help` tells more.\n"


class Console:
    """The command line in this process, in a data folder that must stay untouched."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self._folder = folder

    def check_error(self, arguments: list[str], code: int, words: list[str]) -> None:
        """Run a command and expect one line on stderr with these words."""
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, said = self._capsys.readouterr()
        assert (ended.value.code, out) == (code, ""), said
        assert said.startswith("error: ")
        assert said.count("\n") == 1, "one line"
        for word in words:
            assert word in said
        assert not self._folder.exists(), "nothing was made for a command that cannot work"


@pytest.fixture
def console(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Console:
    for name in os.environ:
        if name.startswith("SKATESTOCK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SKATESTOCK_DATA", str(tmp_path / "data"))
    return Console(capsys, tmp_path / "data")


def test_shops_lists_what_the_file_says_for_people_and_scripts() -> None:
    table = run_command("shops", environ={"COLUMNS": "100"})
    assert "https://laborskateshop.com" in table.stdout, "an address is not cut at 100 columns"
    listed = json.loads(run_command("shops", "--json").stdout)
    assert [shop["slug"] for shop in listed] == ["seasons", "premier", "labor", "nj", "blacksheep"]
    assert all(shop["slug"] in table.stdout for shop in listed)


@pytest.mark.parametrize("arguments", [["shops"], ["shops", "--json"]], ids=" ".join)
def test_a_reader_that_goes_away_is_no_error(arguments: list[str]) -> None:
    reader, writer = socket.socketpair()
    reader.close()
    with writer:
        ended = subprocess.run(
            [sys.executable, "-m", "skatestock", *arguments],
            stdout=writer.fileno(),
            stderr=subprocess.PIPE,
            env=dict(command_environ()),
            timeout=60.0,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["up", "api"])
def test_a_port_that_is_taken_is_told_by_its_number(command: str, data_folder: Path) -> None:
    environ = {"SKATESTOCK_DATA": str(data_folder), "SKATESTOCK_DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_command(command, "--port", port, environ=environ)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.lower().startswith("error: the api")
    assert port in ended.stderr
    assert ended.stderr.count("\n") == 1
