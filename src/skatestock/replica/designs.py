"""Designs: an endless, seeded supply of skate goods, the same for every shop."""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from skatestock.replica.chance import seeded_dice
from skatestock.replica.model import Design


class Kind(NamedTuple):
    """What the designs of one category are drawn from; prices in whole dollars, weight in grams."""

    weight: int
    models: dict[str, tuple[str, ...]]
    size_runs: tuple[tuple[str, ...], ...]
    low: int
    high: int
    grams: int
    coloured: bool = True


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


_SHOE_SIZES = _words("7,7.5,8,8.5,9,9.5,10,10.5,11,11.5,12,13")
_TOPS = _words("S,M,L,XL,XXL")
_WAISTS = _words("28,30,32,34,36,38")
_ONE = ("",)

_SHOES = {
    "Nike SB": _words("Dunk Low Pro,Blazer Mid,Janoski OG+,Force 58,Ishod 2,Air Max Ishod,Pogo Plus"),
    "Adidas": _words(
        "Samba ADV,Gazelle ADV,Tyshawn Low,Busenitz Vulc,Puig Indoor,Matchcourt Mid,Superstar ADV"
    ),
    "Converse": _words("One Star Pro,CTAS Pro Hi,Fastbreak Pro Mid,Louie Lopez Pro"),
    "Vans": _words("Skate Old Skool,Ave 2.0,Skate Half Cab,Skate Era,Sk8-Hi Décon,Rowan 2"),
    "New Balance Numeric": _words("440,425,1010,272,306"),
    "Asics": _words("Japan Pro,Gel-Vickka Pro,GT-2160 Pro"),
    "Last Resort AB": _words("VM001 Lo Suede,VM003 Canvas,CM001 Leather"),
    "DC": _words("Kalis OG,Lynx OG,Court Graffik"),
    "Clarks": _words("Grasshopper,Wallabee"),
}
_DECK_BRANDS = _words(
    "Polar,Quasi,Fucking Awesome,Hockey,Real,Anti Hero,Krooked,Baker,Palace,GX1000,Magenta,"
    "Alien Workshop,Chocolate,"
    "Girl,StrangeLove,Jacuzzi,Welcome,Carpet Company,Snack,Sci-Fi Fantasy"
)
_DECK_MODELS = _words(
    "Team Logo Deck,Price Point Deck,Pro Model Deck,Classic Eagle Deck,Flower Deck,"
    "Notebook Deck,Café Deck,Dog Deck,"
    "Big Bird Deck,Slick Deck,Stripe Deck,Fuzzy Deck,Postcard Deck,Night Bus Deck,"
    "Shaped Deck,Twin Tail Deck"
)
_SOFT_BRANDS = _words(
    "Polar,Dime,Stussy,Carhartt WIP,Noah,Parra,Bronze 56K,Butter Goods,POP Trading Company,"
    "Quartersnacks,Alltimers,"
    "Grand Collection,HUF,Thrasher,Skate Jawn,Sexhippies,Cash Only,Dickies,Fucking Awesome,"
    "Limosine,Nike SB,Gramicci"
)

KINDS: dict[str, Kind] = {
    "shoes": Kind(30, _SHOES, (_SHOE_SIZES, _SHOE_SIZES[2:11]), 65, 130, 900),
    "decks": Kind(
        14,
        dict.fromkeys(_DECK_BRANDS, _DECK_MODELS),
        (
            _words("7.75,8,8.125,8.25,8.38,8.5"),
            _words("8,8.25,8.5,8.75"),
            ("8.25",),
            ("8.5",),
            ("8.38", "8.5"),
        ),
        55,
        75,
        1300,
        coloured=False,
    ),
    "completes": Kind(
        2,
        dict.fromkeys(_words("Real,Girl,Toy Machine"), _words("Complete Board,Mini Complete,Team Complete")),
        (("7.75", "8", "8.25"),),
        95,
        130,
        2400,
        False,
    ),
    "trucks": Kind(
        4,
        {
            "Independent": _words("Stage 11 Standard,Stage 11 Hollow,Mid Trucks"),
            "Thunder": _words("Hollow Lights,Team Edition,Polished Lights"),
            "Venture": _words("Polished Standard,Hollow Lights"),
            "Ace": _words("AF1,AF1 Hollow,Classic"),
        },
        (_words("129,139,144,149,159"), _words("147,148,149,151")),
        48,
        78,
        700,
    ),
    "wheels": Kind(
        6,
        {
            "Spitfire": _words(
                "Formula Four Classic,Formula Four Conical Full,Formula Four Radial Slim,Chargers"
            ),
            "Bones": _words("STF V5 Sidecut,100's OG,X-Formula V1"),
            "OJ": _words("Super Juice,Elites,Hot Juice"),
            "Ricta": _words("Clouds,Nine Ones"),
        },
        (_words("52mm 99a,53mm 99a,54mm 99a,56mm 97a"), _words("54mm 78a,56mm 78a,60mm 80a")),
        32,
        46,
        400,
    ),
    "bearings": Kind(
        2,
        {"Bones": _words("Reds,Super Reds,Swiss"), "Bronson": _words("G2,G3,Raw"), "Andale": ("Blues",)},
        (_ONE,),
        18,
        60,
        120,
        coloured=False,
    ),
    "hardware": Kind(
        2,
        dict.fromkeys(_words("Independent,Shorty's,Thunder"), _words("Phillips Bolts,Allen Bolts")),
        (('7/8"', '1"', '1 1/4"'),),
        5,
        8,
        90,
    ),
    "grip-tape": Kind(
        2,
        dict.fromkeys(_words("Mob,Jessup,Classic Griptape"), _words("Grip Tape Sheet,Die Cut Grip Tape")),
        (_ONE,),
        8,
        16,
        150,
    ),
    "tees": Kind(
        14,
        dict.fromkeys(
            _SOFT_BRANDS,
            _words(
                "Logo Tee,Stroke Logo Tee,Garden Tee,Pocket Tee,Bus Stop Tee,Chain Tee,Snake Tee,"
                "Team Tee,Ringer Tee,Où? Tee"
            ),
        ),
        (_TOPS, _TOPS[:4]),
        30,
        50,
        220,
    ),
    "shirts": Kind(
        4,
        dict.fromkeys(
            _SOFT_BRANDS, _words("Oxford Shirt,Flannel Shirt,Mitchell Shirt,Work Shirt,Camp Collar Shirt")
        ),
        (_TOPS[:4],),
        70,
        130,
        350,
    ),
    "sweatshirts": Kind(
        8,
        dict.fromkeys(
            _SOFT_BRANDS,
            _words(
                "Classic Hoodie,Zip Hoodie,Chenille Crewneck,Fleece Pullover,Default Hoodie,Half Zip Fleece"
            ),
        ),
        (_TOPS, _TOPS[:4]),
        70,
        140,
        700,
    ),
    "jackets": Kind(
        3,
        dict.fromkeys(_SOFT_BRANDS, _words("Coach Jacket,Shell Parka,Work Jacket,Puffer Jacket")),
        (_TOPS[:4],),
        110,
        260,
        1100,
    ),
    "pants": Kind(
        6,
        dict.fromkeys(
            _SOFT_BRANDS,
            _words("Lounge Pants,Double Knee Pants,Big Boy Jeans,Painter Pants,93! Denim,Cargo Pants"),
        ),
        (_WAISTS,),
        75,
        140,
        600,
    ),
    "shorts": Kind(
        3,
        dict.fromkeys(_SOFT_BRANDS, _words("Swim Shorts,Mesh Shorts,Surf Shorts,Canvas Shorts")),
        (_WAISTS[:5], _TOPS[:4]),
        50,
        85,
        300,
    ),
    "hats": Kind(
        3,
        dict.fromkeys(_SOFT_BRANDS, _words("6 Panel Cap,Wool Trucker Hat,Snapback,Bucket Hat")),
        (_ONE,),
        30,
        50,
        120,
    ),
    "beanies": Kind(
        3, dict.fromkeys(_SOFT_BRANDS, _words("Fold Beanie,Cuff Beanie,Skull Beanie")), (_ONE,), 24, 40, 100
    ),
    "socks": Kind(
        2,
        dict.fromkeys(_SOFT_BRANDS, _words("Logo Socks,Ribbed Socks,Stripe Socks")),
        (_ONE, ("S/M", "L/XL")),
        10,
        18,
        80,
    ),
    "bags": Kind(
        2,
        dict.fromkeys(_SOFT_BRANDS, _words("Tote Bag,Skate Backpack,Shoulder Bag,Hip Pack")),
        (_ONE,),
        28,
        95,
        500,
    ),
    "accessories": Kind(
        2,
        dict.fromkeys(
            _words("Dime,Skate Jawn,Thrasher,Powell-Peralta"),
            _words("Keychain,Skate Tool,Enamel Mug,ReAction Figure"),
        ),
        (_ONE,),
        8,
        30,
        150,
    ),
}

_COLOURS = _words(
    "Black,White,Navy,Royal Blue,University Red,Gum,Core Black,Cloud White,Grey Four,Egret,"
    "Chilli Red,Brown,Beige,Olive,"
    "Sea Salt,Heather Grey,Forest Green,Pure Gold,Pink Foam,Off White,Stone,Charcoal,"
    "Bench Green,Coconut Milk,Lavender"
)


def make_design(seed: int, number: int) -> Design:
    """Make the design with this number: always the same one for the same seed."""
    rng = seeded_dice("design", seed, number)
    category = rng.choices(list(KINDS), [kind.weight for kind in KINDS.values()])[0]
    kind = KINDS[category]
    brand = rng.choice(list(kind.models))
    colours = rng.sample(_COLOURS, rng.choice((1, 2, 2, 3))) if kind.coloured else ()
    return Design(
        number=number,
        category=category,
        brand=brand,
        model=rng.choice(kind.models[brand]),
        colours=tuple(colours),
        sizes=rng.choice(kind.size_runs),
        price_minor=rng.randint(kind.low, kind.high) * 100,
        grams=kind.grams,
    )


def find_designs_of(seed: int, shop: str, share: float = 0.35) -> Iterator[Design]:
    """Walk endlessly through the designs that this shop carries, in an order that never changes.

    Each shop carries each design by its own coin, so most designs sell in two shops or more.
    """
    for number in count():
        if seeded_dice("carries", seed, shop, number).random() < share:
            yield make_design(seed, number)
