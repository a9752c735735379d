"""Time from a page's bytes to its observations, and to its messages, beside the bare JSON decode.

The page is a replica shop's `/products.json` with 250 products, the most that Shopify gives. Its limit is
msgspec's decode of the same bytes into plain Python objects; the standard library's is shown too.

    python -m benchmarks.page [--rounds 25] [--shop labor] [--profile]
"""

import argparse
import cProfile
import json
import pstats
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
from benchmarks.figures import Figure, make_report, publish
from benchmarks.rounds import compare, measure_in_turns

from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms.shopify import parse_products_page
from skatestock.crawl.shops import get_shop, load_shops
from skatestock.events.codec import encode
from skatestock.replica.model import SHOP_SLUGS
from skatestock.replica.shopify import render_page
from skatestock.replica.world import World

WHAT = "parse, normalise and fingerprint a page of 250 products"
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
PRODUCTS = 250
_LIMIT = "msgspec decode"


def make_page(slug: str) -> bytes:
    """Render the first page of a replica shop."""
    return render_page(World(1, AT, listings_per_shop=400).state_at(slug)[:PRODUCTS], AT)


def make_works(body: bytes, sighting: Sighting) -> dict[str, Callable[[], object]]:
    """Name what is timed."""
    page = parse_products_page(body, sighting)
    if len(page.observations) + len(page.rejected) != PRODUCTS:
        raise SystemExit(f"{page.product_count} products, not {PRODUCTS}: nothing was measured")
    return {
        "decode": lambda: msgspec.json.decode(body),
        "observe": lambda: parse_products_page(body, sighting),
        "stdlib": lambda: json.loads(body),
        "encode": lambda: encode_page(page),
    }


def encode_page(page: ParsedPage) -> list[bytes]:
    """Write every observation of a page as it goes onto the log."""
    return [encode(event) for event in page.observations]


def measure(body: bytes, sighting: Sighting, rounds: int) -> list[Figure]:
    """Take the rounds."""
    taken = measure_in_turns(make_works(body, sighting), rounds)
    whole = [sum(parts) for parts in zip(taken["observe"], taken["encode"], strict=True)]
    size = f"{len(body):,} bytes"
    return [
        compare("page to observations", taken["observe"], _LIMIT, taken["decode"], size),
        compare("… if all of them changed: to messages", whole, _LIMIT, taken["decode"]),
        compare("page to observations", taken["observe"], "json.loads", taken["stdlib"]),
    ]


def print_profile(body: bytes, sighting: Sighting) -> None:
    """Print where the time goes."""
    profile = cProfile.Profile()
    with profile:
        for _ in range(10):
            encode_page(parse_products_page(body, sighting))
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=f"Time to {WHAT}.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--shop", choices=SHOP_SLUGS, default="labor")
    parser.add_argument("--profile", action="store_true", help="print a profile instead")
    options = parser.parse_args(arguments)
    sighting = Sighting(shop=get_shop(load_shops(), options.shop), crawl_id="bench", observed_at=AT)
    body = make_page(options.shop)
    if options.profile:
        print_profile(body, sighting)
        return 0
    return publish(make_report("page", WHAT, measure(body, sighting, options.rounds)))


if __name__ == "__main__":
    raise SystemExit(main())
