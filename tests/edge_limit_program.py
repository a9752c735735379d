"""One of several processes that share a bucket: asks often, and says how many were admitted and refused."""

from __future__ import annotations

import asyncio
import sys

from skatestock.edge.limiter import ASK, Limiter
from skatestock.edge.pipe import RedisPipe
from skatestock.edge.policies import Limit, Policy
from skatestock.telemetry.logs import configure_logging


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(url: str, client: str, burst: int, count: int) -> None:
    # what this program says is read by a test: logs go elsewhere
    configure_logging("edge-limit-program", json=False, level="error")
    pipe = RedisPipe(url)
    await pipe.start()
    limiter, policy = Limiter(pipe), Policy("address", Limit(1, burst))
    say("ready")
    sys.stdin.readline()

    async def ask() -> bool:
        bucket = limiter.find_bucket(client, policy)
        remaining = limiter.try_take(bucket, asyncio.get_running_loop().time())
        return (await limiter.take(bucket) if remaining == ASK else remaining) >= 0

    admitted = 0
    for began in range(0, count, 10):
        admitted += sum(await asyncio.gather(*(ask() for _ in range(min(10, count - began)))))
    say(f"{admitted} {count - admitted}")
    await limiter.give_back()
    await pipe.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
