"""Rates: how often what happens in the simulated world."""

import msgspec


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How lively the world is; the default gives some thousands of offer changes a week over 2,000 listings.

    `episodes` weighs what happens to a listing's price when something happens. A `mistake` is the only change
    of price over 70 % or to 0 that goods ever see; leave it out and none occurs.
    """

    price_episode_days: float = 45.0
    stock_change_days: float = 9.0
    new_per_100_listings_per_day: float = 0.3
    shop_sale_days: float = 60.0
    size_dropped_share: float = 0.04
    episodes: dict[str, float] = msgspec.field(
        default_factory=lambda: {
            "regular": 0.30,
            "flash_sale": 0.25,
            "gradual": 0.13,
            "clearance": 0.08,
            "withdrawn": 0.12,
            "relabelled": 0.09,
            "mistake": 0.03,
        }
    )
