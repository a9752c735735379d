"""Texts from outside, made fit to be stored, logged and compared."""

import re

# C0 and C1 controls (but white space, which collapses) and lone surrogates: PostgreSQL stores neither NUL nor
# surrogates, and the others falsify logs and terminals.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_CONTROL_OR_BREAK = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def clean_text(text: str, max_length: int = 1000) -> str:
    """Collapse white space, remove control characters and cut to `max_length` characters; idempotent."""
    if not text.isprintable():
        text = _CONTROL.sub("", text)
    elif len(text) <= max_length and "  " not in text and text[:1] != " " and text[-1:] != " ":
        # Of all white space only the plain space is printable: nearly every text is clean already.
        return text
    return " ".join(text.split())[:max_length].rstrip()


def clean_optional_text(text: str | None, max_length: int = 1000) -> str | None:
    """Clean a text that may be missing; one of which nothing is left is missing too."""
    return clean_text(text or "", max_length) or None


def has_control_characters(text: str) -> bool:
    """Tell whether a text holds NUL, a line break, another control character or a lone surrogate."""
    # Nearly every text is printable, and asking that first is several times cheaper than the pattern.
    return not text.isprintable() and _CONTROL_OR_BREAK.search(text) is not None
