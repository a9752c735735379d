"""Identifiers: the forms that names from shops must have before they become ours."""

import re
import unicodedata
from hashlib import sha256

from skatestock.vocabulary.errors import InvalidValueError

MAX_IDENTIFIER_LENGTH = 255

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def check_slug(text: str) -> str:
    """Return the slug itself if it is one (`black-sheep`); raises InvalidValueError otherwise."""
    if len(text) > MAX_IDENTIFIER_LENGTH or not _SLUG.match(text):
        raise InvalidValueError(f"{text!r} is no slug: use lower-case letters, digits and single hyphens")
    return text


def to_slug(text: str) -> str:
    """Turn any name into a slug; the same name always gives the same slug.

    A name in letters that have no ASCII form gets a slug from its hash, so that it still identifies.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = _NOT_SLUG.sub("-", ascii_text.casefold()).strip("-")[:80].strip("-")
    return slug or "x-" + sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


def check_identifier(text: str) -> str:
    """Return a shop's own identifier of a listing or offer; raises InvalidValueError if it cannot be one.

    Identifiers are opaque: any printable text up to 255 characters. NUL and other control characters are
    refused because PostgreSQL cannot store the one and logs are falsified by the others.
    """
    if not text or len(text) > MAX_IDENTIFIER_LENGTH or not text.isprintable():
        raise InvalidValueError(f"{text[:60]!r} cannot be an identifier")
    return text
