"""The root of every error of ours."""


class SkateStockError(Exception):
    """The root of every error that SkateStock raises on purpose: its message is written for a person."""


class InvalidValueError(SkateStockError, ValueError):
    """A value from outside that our vocabulary cannot express."""


class RulesFileError(SkateStockError):
    """A rule file that cannot be used; the message names the file, the rule and what is wrong with it."""
