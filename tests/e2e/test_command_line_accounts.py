"""`skatestock accounts`: as an operator uses it, with passwords that never stand on the command line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import asyncpg
from tests.account_scene import AccountScene
from tests.e2e.processes import command_environ, run_command

from skatestock.vocabulary.time import utc_now

PASSWORD = "four words nobody guesses"
EMAIL = "kareem@example.org"


def call(dsn: str, *arguments: str, code: int = 0, typed: str = "") -> str:
    """Run `skatestock accounts …` with something on stdin; returns what it said."""
    environ = {"SKATESTOCK_DATABASE_URL": dsn, "COLUMNS": "160"}
    ended = run_command("accounts", *arguments, environ=environ, typed=typed, timeout_seconds=120)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert PASSWORD not in ended.stdout + ended.stderr
    return ended.stdout if code == 0 else ended.stderr


async def test_an_account_is_made_changed_looked_at_and_deleted(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    assert call(database_dsn, "list").strip() == "There are no accounts."
    made = call(database_dsn, "create", "Kareem@Example.org", "--role", "admin", typed=PASSWORD + "\n")
    assert made.strip() == f"Made an account for {EMAIL}, role admin."
    assert "has an account" in call(database_dsn, "create", EMAIL, code=1, typed=PASSWORD)
    scene = AccountScene(pool)
    # the command tells the time by the database
    scene.clock.now = utc_now()
    person = scene.person()
    assert (await person.sign_in()).json()["role"] == "admin"
    assert (await person.sign_in("a wrong password")).status_code == 401

    (listed,) = json.loads(call(database_dsn, "list", "--role", "admin", "--json"))
    assert (listed["email"], listed["role"], listed["disabled_at"]) == (EMAIL, "admin", None)
    assert json.loads(call(database_dsn, "list", "--role", "analyst", "--json")) == []
    assert EMAIL in call(database_dsn, "list")
    assert json.loads(call(database_dsn, "show", EMAIL, "--json"))["sessions"] == 1

    assert "is analyst now" in call(database_dsn, "set-role", EMAIL, "analyst")
    assert "is analyst already" in call(database_dsn, "set-role", EMAIL, "analyst")
    assert (await person.ask("GET", "/auth/me")).json()["role"] == "analyst"

    assert "is disabled now" in call(database_dsn, "disable", EMAIL)
    assert "is disabled already" in call(database_dsn, "disable", EMAIL)
    assert (await person.ask("GET", "/auth/me")).status_code == 401
    assert "is enabled now" in call(database_dsn, "enable", EMAIL)

    assert "sessions have ended" in call(
        database_dsn, "reset-password", EMAIL, typed="another good password\r\n"
    )
    assert (await person.sign_in("another good password")).status_code == 200

    told = json.loads(call(database_dsn, "audit", EMAIL, "--json"))
    assert {entry["kind"] for entry in told} == {
        *("signed_up", "signed_in", "sign_in_failed", "role_changed"),
        *("account_disabled", "account_enabled", "password_reset"),
    }
    assert "203.0.113.7" in call(database_dsn, "audit", EMAIL, "--kind", "sign_in_failed")
    assert "password reset" in call(database_dsn, "audit")

    assert "--yes" in call(database_dsn, "delete", EMAIL, code=2)
    assert call(database_dsn, "delete", EMAIL, "--yes").strip() == f"Deleted {EMAIL}."
    assert (await person.ask("GET", "/auth/me")).status_code == 401
    await scene.close()


def test_who_is_not_there_and_what_is_no_address_or_password_is_told(database_dsn: str) -> None:
    for command in (("show",), ("disable",), ("enable",), ("set-role",), ("delete", "--yes"), ("audit",)):
        role = ("user",) if command == ("set-role",) else ()
        assert "has no account" in call(database_dsn, command[0], EMAIL, *role, *command[1:], code=1)
    assert "has no account" in call(database_dsn, "reset-password", EMAIL, code=1, typed=PASSWORD)
    assert "looks like" in call(database_dsn, "create", "kareem", code=1, typed=PASSWORD)
    assert "most common" in call(database_dsn, "create", EMAIL, code=1, typed="password123")
    assert "10 to 256" in call(database_dsn, "create", EMAIL, code=1, typed="")
    assert "owner" in call(database_dsn, "create", EMAIL, "--role", "owner", code=2, typed=PASSWORD)


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(database_dsn: str) -> None:
    ours, theirs = pty.openpty()
    environ = command_environ({"SKATESTOCK_DATABASE_URL": database_dsn})
    with subprocess.Popen(
        [sys.executable, "-m", "skatestock", "accounts", "create", EMAIL],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        start_new_session=True,
        close_fds=True,
    ) as process:
        os.close(theirs)
        said = b""
        answered = 0
        while True:
            try:
                part = os.read(ours, 1024)
            except OSError:
                break
            if not part:
                break
            said += part
            if said.count(b"password: ") + said.count(b"again: ") > answered:
                answered += 1
                os.write(ours, PASSWORD.encode() + b"\n")
        assert process.wait(60) == 0
    os.close(ours)
    assert answered == 2
    assert b"Made an account" in said
    assert PASSWORD.encode() not in said
