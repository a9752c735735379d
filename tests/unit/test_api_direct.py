"""Endpoints that are answered directly: which may be."""

import pytest

from skatestock.api.operations import Operation, reads_directly
from skatestock.api.schemas import Alive


def make_operation() -> Operation:
    """Make an operation open to everybody."""
    return Operation(name="get_it", summary="Show it", description="It.", tag="Health", answer=Alive)


@pytest.mark.parametrize(
    "operation", [make_operation()._replace(auth="user"), make_operation()._replace(body=Alive)]
)
def test_what_asks_who_or_reads_a_body_is_never_answered_directly(operation: Operation) -> None:
    with pytest.raises(ValueError, match="get_it"):
        reads_directly("/it", operation)


def test_what_is_open_to_everybody_is_answered_directly_to_get_and_head() -> None:
    async def get_it() -> Alive:
        return Alive(status="ok")

    handler = reads_directly("/it", make_operation())(get_it)
    assert {str(method) for method in handler.http_methods} == {"GET", "HEAD"}
