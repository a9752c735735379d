"""What ingest refuses."""

from skatestock.vocabulary.errors import SkateStockError


class IngestError(SkateStockError):
    """The root of this room's errors."""


class RefusedEventError(IngestError):
    """An event that is well-formed but contradicts what the catalogue knows; it becomes a dead letter."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
