"""What can go wrong at the edge."""


class EdgeError(Exception):
    """The root of this room's errors: its message is written for a person."""


class RedisAwayError(EdgeError):
    """Redis does not answer, or not in time: what asked goes on without it."""


class RedisAnswerError(EdgeError):
    """Redis answered with an error."""


class TrustedProxyError(EdgeError):
    """What was given as a trusted proxy is no network."""


class OriginError(EdgeError):
    """What was given as an origin is none."""


class DeadlineError(EdgeError):
    """The application's answer has not begun in time."""
