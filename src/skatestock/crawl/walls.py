"""Bot walls: pages that stand before a shop, and ask whether we are a person. We are none, and go. Pure."""

# Each mark is of a wall that we know of.
_MARKS = (
    b"/cdn-cgi/challenge-platform/",
    b"_Incapsula_Resource",
    b"captcha-delivery.com",
    b"px-captcha",
    b"<title>Just a moment...</title>",
    b"<title>Attention Required! | Cloudflare</title>",
)
# Real pages of walled shops carry the same scripts; the wall itself is small.
_MOST_BYTES = 60_000
STATUSES = frozenset({401, 403, 429, 503})
"""How walls answer that do not answer 200."""
CHALLENGE_HEADER = "cf-mitigated"
"""By which Cloudflare's walls say what they are."""


def is_wall(body: bytes) -> bool:
    """Tell whether a body is a bot wall."""
    return len(body) < _MOST_BYTES and any(mark in body for mark in _MARKS)
