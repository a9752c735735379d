"""What the replica refuses, and why."""

from skatestock.vocabulary.errors import SkateStockError


class ReplicaError(SkateStockError):
    """The root of the replica's errors."""


class ControlInputError(ReplicaError):
    """The control API was asked for something it cannot do; `field` names the value at fault."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


class ControlRefusedError(ReplicaError):
    """The control API of a running replica answered a request with an error."""


class ClockFileError(ReplicaError):
    """The clock file belongs to another world or cannot be read."""
