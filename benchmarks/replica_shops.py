"""Replica shops in a process of their own, so that serving them costs the measured processes nothing.

python -m benchmarks.replica_shops LISTINGS_PER_SHOP
"""

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from skatestock.crawl.shops import Shop, derive_demo_shops, load_shops
from skatestock.replica.client import ReplicaControl
from skatestock.replica.server import Addresses, serve
from skatestock.replica.world import World
from skatestock.vocabulary.time import utc_now

_PAST = timedelta(days=7)


class ReplicaShops(NamedTuple):
    """The running replicas."""

    shops: tuple[Shop, ...]
    control: ReplicaControl

    def write_file(self, file: Path) -> None:
        """Write the shops as a file that `SKATESTOCK_SHOPS_FILE` can name."""
        tables = []
        for shop in self.shops:
            values = msgspec.to_builtins(shop)
            # What JSON writes for strings, numbers, booleans and lists of strings is TOML too.
            lines = [
                f"{name} = {msgspec.json.encode(value).decode()}"
                for name, value in values.items()
                if value is not None
            ]
            tables.append("\n".join(["[[shops]]", *lines, "", ""]))
        file.write_text("".join(tables), encoding="utf-8")


@contextmanager
def open_replica_shops(listings_per_shop: int) -> Generator[ReplicaShops]:
    """Serve the five replica shops until the end of the block; their clock stands, a week ago."""
    command = [sys.executable, "-m", "benchmarks.replica_shops", str(listings_per_shop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the replica shops did not start")
            addresses = msgspec.json.decode(line, type=Addresses)
            shops = derive_demo_shops(load_shops(), addresses.shop_urls)
            yield ReplicaShops(shops, ReplicaControl(addresses.control_url))
        finally:
            process.terminate()


def main() -> None:
    """Serve until ended, after one line that tells the addresses."""
    world = World(1, utc_now() - _PAST, int(sys.argv[1]))

    def tell(addresses: Addresses) -> None:
        print(msgspec.json.encode(addresses).decode(), flush=True)

    asyncio.run(serve(world, on_ready=tell))


if __name__ == "__main__":
    main()
