"""How a shop writes titles, and by which names it calls itself a vendor: found from its listings. Pure."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from skatestock.vocabulary.colours import find_trailing_colour
from skatestock.vocabulary.normaliser import current_normaliser
from skatestock.vocabulary.text import clean_text
from skatestock.vocabulary.titles import TitleHabit, read_title

ENOUGH = 12
"""Of fewer listings nothing is said."""
# Decks, wheels and stickers have no colour to be written: a good part of the titles is enough.
_LEAST_SHARE = 0.2
_CLEAR_FACTOR = 2
_PLAIN_SHARE = 0.1
_DASH = " - "
# What shops add to their names, the longer first: "The Premier Store" is Premier.
_ENDINGS = ("skateboardshop", "boardshop", "skateshop", "skateboards", "skate", "store", "shop")
_MAX_NAME = 200


class SeenTitle(NamedTuple):
    """A listing's title and vendor as the shop writes them."""

    title: str
    vendor: str | None


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """What listings say of their shop's way of writing."""

    title_habit: TitleHabit | None
    """None where it is not clear."""
    titles_so: int
    """How many titles are written so; with the plain habit, how many set no colour off."""
    titles: int
    """How many there were."""
    vendor_is_shop: tuple[str, ...]
    """The vendors that are the shop itself, the most frequent first."""
    vendors_so: int
    """How many listings have such a vendor."""


def find_habits(seen: Sequence[SeenTitle], names: Collection[str], url: str) -> Habits:
    """Find a shop's habits from some of its listings, its names, and its address."""
    vendors = Counter(clean_text(one.vendor, _MAX_NAME) for one in seen if one.vendor)
    # "Labor Skateboard Shop, New York": what follows says where, not who.
    known = (*names, *(name.partition(",")[0] for name in names), _site_name(url))
    cores = {core for core in map(_core, known) if core}
    own = tuple(vendor for vendor, _ in vendors.most_common() if _core(vendor) in cores)
    habit, count = _find_title_habit(seen)
    return Habits(
        title_habit=habit,
        titles_so=count,
        titles=len(seen),
        vendor_is_shop=own,
        vendors_so=sum(vendors[vendor] for vendor in own),
    )


def _find_title_habit(seen: Sequence[SeenTitle]) -> tuple[TitleHabit | None, int]:
    votes = Counter(filter(None, (_vote(one) for one in seen)))
    (best, count), (_, second) = _two_best(votes)
    if len(seen) < ENOUGH:
        return None, 0
    if count >= _LEAST_SHARE * len(seen) and count >= _CLEAR_FACTOR * second:
        return best, count
    if votes.total() <= _PLAIN_SHARE * len(seen):
        return TitleHabit.PLAIN, len(seen) - votes.total()
    return None, 0


def _two_best(votes: Counter[TitleHabit]) -> Sequence[tuple[TitleHabit, int]]:
    return [*votes.most_common(2), (TitleHabit.PLAIN, 0), (TitleHabit.PLAIN, 0)][:2]


def _vote(one: SeenTitle) -> TitleHabit | None:
    """Tell by which habit a title is written; None where it sets nothing off that could be a colour."""
    title = clean_text(one.title)
    before, dash, _ = title.partition(_DASH)
    if _has_colour(title, TitleHabit.HYPHEN_COLOURS):
        return TitleHabit.HYPHEN_COLOURS
    if not dash:
        return None if find_trailing_colour(title) in (None, 0) else TitleHabit.TRAILING_COLOURS
    if _is_maker(before, one.vendor) or _has_bracketed_colour(title):
        return TitleHabit.BRAND_DASH
    if find_trailing_colour(before):
        return TitleHabit.TRAILING_COLOURS
    return TitleHabit.DASH_COLOURS if _has_colour(title, TitleHabit.DASH_COLOURS) else None


def _has_colour(title: str, habit: TitleHabit) -> bool:
    return read_title(title, habit, None, ()).colourway is not None


def _has_bracketed_colour(title: str) -> bool:
    return title.endswith(")") and _has_colour(title, TitleHabit.BRAND_DASH)


def _is_maker(words: str, vendor: str | None) -> bool:
    """Tell whether words before a dash are a maker's name and nothing else."""
    return current_normaliser().brands.find(words) is not None or _letters(words) == _letters(vendor or "")


def _site_name(url: str) -> str:
    host = (urlsplit(url).hostname or "").removeprefix("www.")
    return "" if host.replace(".", "").isdigit() else host.split(".")[0]


def _core(name: str) -> str:
    """Return the letters of a name without what shops add to theirs; all of them where nothing is left."""
    letters = core = _letters(name)
    for ending in _ENDINGS:
        core = core.removesuffix(ending)
    core = core.removeprefix("the") if core != letters else core
    return core or letters


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
