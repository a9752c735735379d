"""Whether an offer can be bought."""

from enum import StrEnum


class Availability(StrEnum):
    """What is known of one offer's stock.

    `UNKNOWN` where a shop says nothing and nothing is guessed. `GONE` is a conclusion, never an observation:
    the listing was delisted, or is offered without this variant.
    """

    IN_STOCK = "in_stock"
    OUT_OF_STOCK = "out_of_stock"
    GONE = "gone"
    UNKNOWN = "unknown"

    @classmethod
    def from_flag(cls, available: bool | None) -> "Availability":
        """Read a shop's yes, no or silence."""
        if available is None:
            return cls.UNKNOWN
        return cls.IN_STOCK if available else cls.OUT_OF_STOCK
