"""`skatestock accounts`: who has an account, what they may do, and what happened to it."""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.markup import escape

from skatestock.accounts import commands
from skatestock.accounts.model import Account, AuditEntry, AuditKind, Role, parse_email
from skatestock.accounts.passwords import Passwords, check_new_password
from skatestock.accounts.queries import find_accounts, find_audit, find_keys, find_sessions, get_account_of
from skatestock.accounts.queries_wishes import find_searches, find_wishes
from skatestock.cli.errors import FAILED, UsageError
from skatestock.cli.options import Data, Json, flag, settings_from
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, open_platform
from skatestock.cli.terminal import Terminal, count_of, make_table, print_json
from skatestock.database.pool import Connection
from skatestock.database.transactions import transaction
from skatestock.jobs.queries import fetch_now
from skatestock.vocabulary.time import format_moment

Limit = Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))]
Yes = Annotated[bool, flag("Delete without asking.", name="--yes")]

_Change = Callable[[Connection, str, datetime], Awaitable[bool]]

app = App(
    name="accounts",
    help="List, make and change accounts, and show what happened to them.",
    help_format="markdown",
)


@app.command(name="list")
async def list_accounts(
    *, role: Role | None = None, limit: Limit = 100, as_json: Json = False, data: Data = None
) -> int:
    """List accounts in the order in which they were made.

    Parameters
    ----------
    role
        Only those with this role.
    limit
        At most so many.
    """
    async with _work(data) as (connection, _now):
        found = await find_accounts(connection, role=role, limit=limit)
    if as_json:
        print_json([_describe(account) for account in found])
        return 0
    if not found:
        Terminal().say("There are no accounts.")
        return 0
    table = make_table("e-mail", "role", "made", "state")
    for account in found:
        state = "disabled" if account.disabled_at else ""
        table.add_row(escape(account.email), account.role, format_moment(account.created_at), state)
    Terminal().print(table)
    return 0


@app.command
async def show(email: str, /, *, as_json: Json = False, data: Data = None) -> int:
    """Show one account and how much hangs on it.

    Parameters
    ----------
    email
        The account's e-mail address.
    """
    async with _work(data) as (connection, now):
        account = await get_account_of(connection, parse_email(email))
        counts = {
            "sessions": len(await find_sessions(connection, account.id, now)),
            "keys": len(await find_keys(connection, account.id)),
            "wishes": len(await find_wishes(connection, account.id)),
            "searches": len(await find_searches(connection, account.id)),
        }
    if as_json:
        print_json(_describe(account) | counts)
        return 0
    terminal = Terminal()
    for name, value in (_describe(account) | counts).items():
        terminal.say(f"{name.replace('_', ' ')}: {escape(str(value if value is not None else '–'))}")
    return 0


@app.command
async def create(email: str, /, *, role: Role = "user", data: Data = None) -> int:
    """Make an account; the password is asked for, or read from the first line of stdin.

    Parameters
    ----------
    email
        The account's e-mail address.
    role
        What it may do.
    """
    email = parse_email(email)
    password_hash = await _read_new_password(email)
    async with _work(data) as (connection, now):
        await commands.create_account(connection, email, password_hash, role, now)
    Terminal().say(f"Made an account for {escape(email)}, role {role}.")
    return 0


@app.command(name="set-role")
async def set_role(email: str, role: Role, /, *, data: Data = None) -> int:
    """Give an account another role; it holds from the next request on.

    Parameters
    ----------
    email
        The account's e-mail address.
    role
        What it may do.
    """
    async with _work(data) as (connection, now):
        changed = await commands.set_role(connection, parse_email(email), role, now)
    Terminal().say(f"{escape(email)} is {role} {'now' if changed else 'already'}.")
    return 0


@app.command
async def disable(email: str, /, *, data: Data = None) -> int:
    """Let an account sign in no more; its sessions end at once, its keys rest.

    Parameters
    ----------
    email
        The account's e-mail address.
    """
    return await _change(email, data, commands.disable_account, "disabled")


@app.command
async def enable(email: str, /, *, data: Data = None) -> int:
    """Let a disabled account sign in again.

    Parameters
    ----------
    email
        The account's e-mail address.
    """
    return await _change(email, data, commands.enable_account, "enabled")


@app.command(name="reset-password")
async def reset_password(email: str, /, *, data: Data = None) -> int:
    """Give an account another password, asked for or read from stdin, and end its sessions.

    Parameters
    ----------
    email
        The account's e-mail address.
    """
    email = parse_email(email)
    password_hash = await _read_new_password(email)
    async with _work(data) as (connection, now):
        await commands.reset_password(connection, email, password_hash, now)
    Terminal().say(f"{escape(email)} has a new password; all sessions have ended.")
    return 0


@app.command
async def delete(email: str, /, *, yes: Yes = False, data: Data = None) -> int:
    """Delete an account with its sessions, keys, wishlist, searches and log.

    Parameters
    ----------
    email
        The account's e-mail address.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked here: say --yes to delete the account")
        answer = Terminal().input(f"Delete {escape(email)} and all that is theirs? [y/N] ")
        if answer.strip().casefold() not in ("y", "yes"):
            Terminal().say("Nothing was deleted.")
            return FAILED
    async with _work(data) as (connection, now):
        account = await get_account_of(connection, parse_email(email))
        await commands.delete_account(connection, account.id, now)
    Terminal().say(f"Deleted {escape(email)}.")
    return 0


@app.command
async def audit(
    email: str | None = None,
    /,
    *,
    kind: AuditKind | None = None,
    limit: Limit = 50,
    as_json: Json = False,
    data: Data = None,
) -> int:
    """Show what happened, the newest first: to one account, or to everybody.

    Parameters
    ----------
    email
        Only what happened to this account.
    kind
        Only what is of this kind.
    limit
        At most so many.
    """
    async with _work(data) as (connection, _now):
        account_id = None if email is None else (await get_account_of(connection, parse_email(email))).id
        found = await find_audit(connection, account_id=account_id, kind=kind, limit=limit)
    if as_json:
        print_json([entry._asdict() for entry in found])
    elif found:
        _print_audit(found)
    else:
        Terminal().say("Nothing of that happened.")
    return 0


@asynccontextmanager
async def _work(data: Path | None) -> AsyncGenerator[tuple[Connection, datetime]]:
    """Lend a connection inside a transaction, and tell the database's time."""
    async with (
        open_platform(
            settings_from(data),
            "accounts",
            interactive=True,
            needs_log=False,
            pool_size=1,
            patience_seconds=SHORT_PATIENCE_SECONDS,
        ) as platform,
        transaction(platform.pool) as connection,
    ):
        yield connection, (await fetch_now(connection)).replace(microsecond=0)


async def _change(email: str, data: Path | None, change: _Change, word: str) -> int:
    async with _work(data) as (connection, now):
        changed = await change(connection, parse_email(email), now)
    Terminal().say(f"{escape(email)} is {word} {'now' if changed else 'already'}.")
    return 0


async def _read_new_password(email: str) -> str:
    """Ask for a password twice, or read it from stdin where nobody can be asked, and hash it.

    Never from the command line: every process of the machine can read that. Raises PasswordRefusedError.
    """
    if sys.stdin.isatty():
        password = getpass("New password: ")
        if getpass("The same again: ") != password:
            raise UsageError("the two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    check_new_password(password, email)
    passwords = Passwords()
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()


def _describe(account: Account) -> dict[str, Any]:
    described = account._asdict()
    for name in ("created_at", "password_changed_at", "disabled_at"):
        described[name] = None if described[name] is None else format_moment(described[name])
    return described


def _print_audit(entries: Sequence[AuditEntry]) -> None:
    table = make_table("when", "what", "whose", "from", "more")
    for entry in entries:
        more = " ".join(part for part in (entry.key_id, entry.detail) if part)
        table.add_row(
            format_moment(entry.at),
            entry.kind.replace("_", " "),
            escape(entry.email or "–"),
            escape(entry.address or "operator"),
            escape(more),
        )
    Terminal().print(table)
    Terminal().say(f"{count_of(len(entries), 'entry')}.".replace("entrys", "entries"))
