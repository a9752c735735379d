"""A small `up` for tests: PostgreSQL, Valkey, a one-shot child and two workers in a data folder.

Prints one JSON line with the addresses once all are up. With `--as NAME` it gives up root's rights first.
"""

from __future__ import annotations

import argparse
import asyncio
import encodings.ascii
import encodings.idna  # noqa: F401
import json
import os
import pwd
import sys
from pathlib import Path

import asyncpg.connect_utils  # noqa: F401 - everything is imported while root's own Python can still be read

from skatestock.embedded.backoff import Backoff
from skatestock.embedded.children import Child
from skatestock.embedded.data_folder import hold_folder
from skatestock.embedded.errors import EmbeddedError
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.embedded.supervisor import Supervisor
from skatestock.embedded.valkey import EmbeddedValkey

SLEEPER = ["/bin/sh", "-c", "sleep 1000 & wait"]


async def supervise(folder: Path, *, stubborn: bool) -> None:
    """Run the servers and workers until a signal comes."""
    async with hold_folder(folder) as held:
        postgres = EmbeddedPostgres(folder / "postgres")
        valkey = EmbeddedValkey(folder / "valkey")
        await postgres.prepare()
        await valkey.prepare()
        worker = Child(name="worker", command=SLEEPER, depends_on=("prepare", "valkey"))
        children = [
            worker,
            Child(name="prepare", command=["/bin/true"], one_shot=True, depends_on=("postgres",)),
            postgres.child(),
            valkey.child(),
        ]
        if stubborn:
            command = ["/bin/sh", "-c", "trap '' TERM; sleep 1000 & while :; do wait; done"]
            children.append(Child(name="stubborn", command=command, stop_timeout_seconds=120))

        async def tell() -> None:
            sys.stdout.write(json.dumps({"dsn": postgres.dsn, "url": valkey.url}) + "\n")
            sys.stdout.flush()

        await Supervisor(held, children, backoff=Backoff(first_seconds=0.05, max_seconds=1)).run(tell)


def _become(name: str) -> None:
    account = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def main() -> int:
    """Parse the arguments and supervise; an error of ours is one line and exit code 3."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--as", dest="account")
    parser.add_argument("--stubborn", action="store_true")
    arguments = parser.parse_args()
    if arguments.account:
        _become(arguments.account)
    try:
        asyncio.run(supervise(arguments.folder, stubborn=arguments.stubborn))
    except EmbeddedError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
