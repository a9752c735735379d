"""Categories: what kind of thing a product is."""

from enum import StrEnum


class Category(StrEnum):
    """The kinds of things that skate shops sell."""

    DECKS = "decks"
    COMPLETES = "completes"
    TRUCKS = "trucks"
    WHEELS = "wheels"
    BEARINGS = "bearings"
    HARDWARE = "hardware"
    GRIP_TAPE = "grip-tape"
    SHOES = "shoes"
    TEES = "tees"
    SHIRTS = "shirts"
    SWEATSHIRTS = "sweatshirts"
    JACKETS = "jackets"
    PANTS = "pants"
    SHORTS = "shorts"
    HATS = "hats"
    BEANIES = "beanies"
    SOCKS = "socks"
    BAGS = "bags"
    ACCESSORIES = "accessories"
    PROTECTIVE = "protective"
    MEDIA = "media"
    GIFT_CARDS = "gift-cards"
    OTHER = "other"

    @property
    def label(self) -> str:
        """Return the name for people, such as `Grip tape`."""
        return self.value.replace("-", " ").capitalize()
