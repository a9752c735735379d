"""Colour words: enough of them to find where a title's colours begin when no mark does."""

import re

# The words a colour can end with …
_COLOUR_WORDS = """
    alabaster anthracite aqua beige birch black blue bluebird bone brown burgundy camo carbon
    charcoal chocolate clay coffee cream egret evergreen fir gold graphite gray green grey gum
    heather hemp indigo ivory khaki maroon mesa midnight mint multi natural navy neutral obsidian
    olive onix orange peach peacoat pear pink plum purple red roselle royal rust sage sail sand
    scarlet sesame silver stonewash tan taupe teal thyme tourmaline turq turquoise white yellow
"""
# … and the words that may stand before one. A shoe's own name is none of them: "Pro Black" is a Pro in black.
_SHADE_WORDS = """
    almost better burnt carolina chalk chilli classic clean cloud collegiate cool core cosmic court
    crystal dark deep denim desert dusty electric footwear forest game glacier gold graphite heather
    hyper jade light metallic midnight night off pacific pale pastel persian prussian pure rapid
    royal running rust safety sea semi shadow sky smoke soft star summit sunflower team timber
    university vaporous varsity vibrant vintage warm washed winter wolf wonder zero
"""
_COLOURS = frozenset(_COLOUR_WORDS.split())
_SHADES = frozenset(_SHADE_WORDS.split())
_MATERIALS = frozenset({"leather", "suede", "canvas", "metallic", "tint", "heather"})

_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"[^\W\d_]")
# Sizes that stand where a colour could: 8.25, 10", 52mm, XL, One Size.
_SIZE = re.compile(r"(?:[\d.]+ ?(?:\"|”|mm|in)?|[2-5]?x{0,3}[sl]|m|one size)\Z", re.IGNORECASE)


def looks_like_colourway(text: str) -> bool:
    """Tell whether a text in the place of a colour can be one: it has letters, and is no size or year."""
    return bool(_LETTER.search(text)) and not any(map(str.isdigit, text)) and not _SIZE.match(text)


def find_trailing_colour(text: str) -> int | None:
    """Find where the colour at a text's end begins ("Old Skool Dark Navy": 10); None if it ends in none."""
    words = list(_WORD.finditer(text))
    end = len(words)
    while end > 1 and _plain(words[end - 1]) in _MATERIALS and _plain(words[end - 2]) in _COLOURS | _SHADES:
        end -= 1
    if end < 1 or not all(part in _COLOURS for part in _plain(words[end - 1]).split("/")):
        return None
    start = end - 1
    while start > 0 and _plain(words[start - 1]) in _SHADES:
        start -= 1
    return words[start].start()


def _plain(word: re.Match[str]) -> str:
    return word.group().casefold()
