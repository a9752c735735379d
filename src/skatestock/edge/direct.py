"""The short way into an application: a finished answer, without the messages of ASGI.

What an application makes whole before it says a word of it, and what the edge holds back until it is whole,
need not be cut into messages in between.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, cast

from skatestock.edge.policies import HeaderLine
from skatestock.edge.requests import App, Scope


class Finished(NamedTuple):
    """A whole answer of status 200; every other answer goes the way of ASGI."""

    headers: tuple[HeaderLine, ...]
    """Names in lower case, and nothing that is of this body alone: the edge tells its length and its tag.

    Answers that have the same headers should have them from one constant.
    """
    body: bytes
    tags: tuple[str, ...]
    """What ends the answer's validity when it changes; none: it is for the one who asked, and not kept."""


AnswerDirectly = Callable[[Scope], Awaitable[Finished | None] | None]
"""The method `answer` of an application that has this short way.

It is asked with what may be shared only: a plain GET of nobody. It tells None at once where the short way
does not lead; and what it gives may be None after all: then the application is called, with the same scope.
"""


def find_short_way(app: App) -> AnswerDirectly | None:
    """Return an application's short way, if it has one."""
    return cast(AnswerDirectly | None, getattr(app, "answer", None))
