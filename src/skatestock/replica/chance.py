"""Chance: seeded dice, the same throws for the same words every time."""

from random import Random


def seeded_dice(*words: str | int) -> Random:
    """Make a source of chance that depends on these words alone."""
    return Random("/".join(str(word) for word in words))  # noqa: S311 - a simulation's dice guard no secret
