"""Endpoints that are answered directly: which may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.api.direct import DirectRoutes
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


async def answer_product(_request: object, _context: object, product_id: str) -> str:
    return product_id


async def answer_list(_request: object, _context: object) -> str:
    return "list"


async def answer_lookup(_request: object, _context: object) -> str:
    return "lookup"


async def answer_history(_request: object, _context: object, product_id: str) -> str:
    return f"history of {product_id}"


ROUTES = DirectRoutes(
    reads_directly(path, make_operation())(function)
    for path, function in (
        ("/products", answer_list),
        ("/products/lookup", answer_lookup),
        ("/products/{product_id:str}", answer_product),
        ("/products/{product_id:str}/price-history", answer_history),
    )
)


@pytest.mark.parametrize(
    ("path", "function", "arguments"),
    [
        ("/products", answer_list, {}),
        ("/products/lookup", answer_lookup, {}),
        ("/products/7", answer_product, {"product_id": "7"}),
        ("/products/7/price-history", answer_history, {"product_id": "7"}),
        ("/products/lookup/price-history", answer_history, {"product_id": "lookup"}),
    ],
)
def test_a_path_leads_to_its_endpoint(path: str, function: object, arguments: dict[str, str]) -> None:
    found = ROUTES.find(path)
    assert found is not None
    assert (found[0].function, found[1]) == (function, arguments)


@pytest.mark.parametrize(
    "path",
    ["", "/", "products", "//products", "/products/", "/products//", "/products//price-history", "/Products",
     "/products/7/", "/products/7/prices", "/products/7/price-history/", "/shops"],
)  # fmt: skip
def test_a_path_written_in_any_other_way_is_left_to_the_framework(path: str) -> None:
    assert ROUTES.find(path) is None


@given(path=st.text(alphabet="/productslkie-7{}:%", max_size=40))
def test_no_path_breaks_the_table_of_endpoints(path: str) -> None:
    found = ROUTES.find(path)
    assert found is None or all(found[1].values())


def test_a_part_of_a_path_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="number"):
        DirectRoutes([reads_directly("/it/{number:int}", make_operation())(answer_product)])
