"""What can be wrong with an event."""

from typing import Literal

from skatestock.vocabulary.errors import InvalidValueError, SkateStockError
from skatestock.vocabulary.text import clean_text

UndecodableKind = Literal["bad_magic_byte", "unknown_schema_id", "truncated", "senseless"]


class UndecodableError(SkateStockError):
    """Bytes from the log that are no event of ours; `kind` says in what way, to be counted by.

    The text can be stored and logged whatever the bytes were: it is clean, and at most 500 characters long.
    """

    def __init__(self, kind: UndecodableKind, text: str) -> None:
        self.kind: UndecodableKind = kind
        self.text = clean_text(text, 500)
        super().__init__(self.text)


class SenselessEventError(InvalidValueError):
    """An event that must not be said: a consumer would refuse it."""
