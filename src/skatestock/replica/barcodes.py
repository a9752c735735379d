"""Barcodes: a maker's number for a size of a thing, the same in every shop that says it at all."""

from skatestock.replica.chance import seeded_dice
from skatestock.replica.model import Design

# What GS1 keeps for demonstrations: no thing in the world bears a number of it.
_PREFIX = "952"


def write_barcode(design: Design, size: int, colour: int) -> str:
    """Make the thirteen digits of a design in its size and colour, each by its place."""
    digits = f"{_PREFIX}{design.number % 10**6:06d}{size % 100:02d}{colour % 10}"
    weighted = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-weighted % 10}"


def choose_barcodes(shop: str, design: Design, places: list[tuple[int, int]], first: int) -> list[str | None]:
    """Choose what a shop says as barcodes of a listing: the maker's, numbers of its own, or nothing."""
    # Dice of their own: whoever asks for barcodes sees the world that everybody else sees.
    way = seeded_dice("barcode", shop, design.number).choices(("maker", "own", "none"), (7, 1, 2))[0]
    if way == "none":
        return [None] * len(places)
    if way == "own":
        return [f"{(first + place) % 1000:03d}" for place in range(len(places))]
    return [write_barcode(design, size, colour) for size, colour in places]
