"""The endpoints of wishlists and saved searches."""

import re
from urllib.parse import parse_qsl, urlencode

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from skatestock.accounts.commands_wishes import (
    change_search,
    delete_search,
    delete_wish,
    put_wish,
    save_search,
)
from skatestock.accounts.model import Wish
from skatestock.accounts.queries_wishes import find_searches, find_wishes, get_search, get_wish
from skatestock.api import wish_schemas as schemas
from skatestock.api.account_answers import to_search, to_wish
from skatestock.api.account_work import Work, changing_own, reading_own
from skatestock.api.bodies import read_body
from skatestock.api.context import Context
from skatestock.api.errors import (
    InvalidBodyError,
    LimitReachedError,
    NameTakenError,
    OutcomeUnknownError,
    ProductNotFoundError,
    RequestError,
    SearchNotFoundError,
    WishNotFoundError,
)
from skatestock.api.operations import READS_QUERY, Operation, reads, writes
from skatestock.api.questions import ProductsQuestion, parse_product_id, parse_question
from skatestock.api.requests import AnyRequest, mark_demo
from skatestock.api.schemas import InvalidParameter
from skatestock.catalog.queries import find_summaries

# They say where in a list one reads, not which list it is.
_NOT_SAVED = ("page", "limit", "cursor")


@reads(
    "/wishlist",
    Operation(
        name="list_wishes",
        summary="Show your wishlist",
        description="Every product on it, with what you wish and what it costs now.",
        tag="Wishlist",
        answer=schemas.Wishlist,
        auth="user-or-key",
        scopes=("wishlist",),
        problems=READS_QUERY,
    ),
)
async def list_wishes(request: AnyRequest, context: NamedDependency[Context]) -> schemas.Wishlist:
    """Answer with the caller's wishlist."""
    async with reading_own(request, context) as own:
        wishes = await find_wishes(own.connection, own.account_id)
        products = await find_summaries(own.connection, [wish.product_id for wish in wishes])
    mark_demo(request, any(product.demo for product in products.values()))
    items = tuple(to_wish(wish, products.get(wish.product_id)) for wish in wishes)
    return schemas.Wishlist(items=items, total=len(items))


@reads(
    "/wishlist/{product_id:str}",
    Operation(
        name="get_wish",
        summary="Show one product of your wishlist",
        description="What you wish of it, and what it costs now.",
        tag="Wishlist",
        answer=schemas.Wish,
        auth="user-or-key",
        scopes=("wishlist",),
        problems=(*READS_QUERY, WishNotFoundError),
    ),
)
async def show_wish(
    request: AnyRequest, context: NamedDependency[Context], product_id: FromPath[str]
) -> schemas.Wish:
    """Answer with one entry of the caller's wishlist."""
    async with reading_own(request, context) as own:
        wish = await get_wish(own.connection, own.account_id, _get_wished_id(product_id))
        return await _show(request, own, wish)


@writes(
    "PUT",
    "/wishlist/{product_id:str}",
    Operation(
        name="put_wish",
        summary="Put a product on your wishlist, or change the wish",
        description="What is left out is wished no more; send `{}` for the product alone. The same request "
        "again changes nothing. A wishlist may have 500 products.",
        tag="Wishlist",
        body=schemas.WishRequest,
        answer=schemas.Wish,
        auth="user-or-key",
        scopes=("wishlist",),
        problems=(*READS_QUERY, ProductNotFoundError, LimitReachedError, OutcomeUnknownError),
    ),
)
async def replace_wish(
    request: AnyRequest, context: NamedDependency[Context], product_id: FromPath[str]
) -> schemas.Wish:
    """Answer with the entry as it is now."""
    body = await read_body(request, schemas.WishRequest)
    number = parse_product_id(product_id)
    if number is None:
        raise ProductNotFoundError(f"no product has the id {product_id[:40]!a}")
    async with changing_own(request, context) as own:
        wish = await put_wish(
            own.connection,
            own.account_id,
            number,
            size=body.size,
            target_minor=None if body.target is None else body.target.minor,
            target_currency=None if body.target is None else body.target.currency,
            note=body.note,
            now=own.now,
        )
        return await _show(request, own, wish)


@writes(
    "DELETE",
    "/wishlist/{product_id:str}",
    Operation(
        name="delete_wish",
        summary="Take a product off your wishlist",
        description="404 if it was not on it.",
        tag="Wishlist",
        answer=None,
        status=204,
        auth="user-or-key",
        scopes=("wishlist",),
        problems=(*READS_QUERY, WishNotFoundError, OutcomeUnknownError),
    ),
)
async def remove_wish(
    request: AnyRequest, context: NamedDependency[Context], product_id: FromPath[str]
) -> None:
    """Answer with nothing."""
    async with changing_own(request, context) as own:
        await delete_wish(own.connection, own.account_id, _get_wished_id(product_id))


@reads(
    "/searches",
    Operation(
        name="list_searches",
        summary="List your saved searches",
        description="Each with the address of `GET /products` to ask.",
        tag="Wishlist",
        answer=schemas.SearchList,
        auth="user-or-key",
        scopes=("searches",),
        problems=READS_QUERY,
    ),
)
async def list_searches(request: AnyRequest, context: NamedDependency[Context]) -> schemas.SearchList:
    """Answer with the caller's saved searches."""
    async with reading_own(request, context) as own:
        found = await find_searches(own.connection, own.account_id)
    return schemas.SearchList(items=tuple(to_search(search) for search in found))


@writes(
    "POST",
    "/searches",
    Operation(
        name="save_search",
        summary="Save a search",
        description="The query is read as `GET /products` reads it, and is refused where that would refuse "
        "it. An account may have 100.",
        tag="Wishlist",
        body=schemas.SearchRequest,
        answer=schemas.SavedSearch,
        status=201,
        auth="user-or-key",
        scopes=("searches",),
        problems=(*READS_QUERY, NameTakenError, LimitReachedError, OutcomeUnknownError),
    ),
)
async def post_search(request: AnyRequest, context: NamedDependency[Context]) -> schemas.SavedSearch:
    """Answer with the search as it was saved."""
    body = await read_body(request, schemas.SearchRequest)
    query = _read_query(body.query)
    async with changing_own(request, context) as own:
        saved = await save_search(own.connection, own.account_id, body.name.strip(), query, own.now)
    return to_search(saved)


@reads(
    "/searches/{search_id:str}",
    Operation(
        name="get_search",
        summary="Show a saved search",
        description="With the address of `GET /products` to ask.",
        tag="Wishlist",
        answer=schemas.SavedSearch,
        auth="user-or-key",
        scopes=("searches",),
        problems=(*READS_QUERY, SearchNotFoundError),
    ),
)
async def show_search(
    request: AnyRequest, context: NamedDependency[Context], search_id: FromPath[str]
) -> schemas.SavedSearch:
    """Answer with one of the caller's saved searches."""
    async with reading_own(request, context) as own:
        found = await get_search(own.connection, own.account_id, _get_search_id(search_id))
    return to_search(found)


@writes(
    "PUT",
    "/searches/{search_id:str}",
    Operation(
        name="change_search",
        summary="Change a saved search",
        description="Its name, its query, or both. The same request again changes nothing.",
        tag="Wishlist",
        body=schemas.SearchRequest,
        answer=schemas.SavedSearch,
        auth="user-or-key",
        scopes=("searches",),
        problems=(*READS_QUERY, SearchNotFoundError, NameTakenError, OutcomeUnknownError),
    ),
)
async def replace_search(
    request: AnyRequest, context: NamedDependency[Context], search_id: FromPath[str]
) -> schemas.SavedSearch:
    """Answer with the search as it is now."""
    body = await read_body(request, schemas.SearchRequest)
    number, query = _get_search_id(search_id), _read_query(body.query)
    async with changing_own(request, context) as own:
        name = body.name.strip()
        changed = await change_search(own.connection, own.account_id, number, name, query, own.now)
    return to_search(changed)


@writes(
    "DELETE",
    "/searches/{search_id:str}",
    Operation(
        name="delete_search",
        summary="Delete a saved search",
        description="404 if there is none with this id.",
        tag="Wishlist",
        answer=None,
        status=204,
        auth="user-or-key",
        scopes=("searches",),
        problems=(*READS_QUERY, SearchNotFoundError, OutcomeUnknownError),
    ),
)
async def remove_search(
    request: AnyRequest, context: NamedDependency[Context], search_id: FromPath[str]
) -> None:
    """Answer with nothing."""
    async with changing_own(request, context) as own:
        await delete_search(own.connection, own.account_id, _get_search_id(search_id))


WISH_ENDPOINTS: tuple[HTTPRouteHandler, ...] = (
    list_wishes,
    show_wish,
    replace_wish,
    remove_wish,
    list_searches,
    post_search,
    show_search,
    replace_search,
    remove_search,
)
"""The endpoints of this file, in the order of the OpenAPI document."""


async def _show(request: AnyRequest, own: Work, wish: Wish) -> schemas.Wish:
    """Answer with a wish and what its product costs now."""
    product = (await find_summaries(own.connection, [wish.product_id])).get(wish.product_id)
    mark_demo(request, product is not None and product.demo)
    return to_wish(wish, product)


def _get_wished_id(text: str) -> int:
    """Read the id in a path; one that no product can have is wished by nobody."""
    number = parse_product_id(text)
    if number is None:
        raise WishNotFoundError(f"product {text[:40]!a} is not on the wishlist")
    return number


def _get_search_id(text: str) -> int:
    """Read the id in a path; one that no search can have is one that none has."""
    number = parse_product_id(text)
    if number is None:
        raise SearchNotFoundError(f"there is no saved search {text[:40]!a}")
    return number


def _read_query(text: str) -> str:
    """Read a query as `GET /products` does, and write it in one form; raises InvalidBodyError."""
    query = text.removeprefix("?")
    try:
        parse_question(ProductsQuestion, query.encode())
    except RequestError as error:
        raise _refuse_query(str(error)) from error
    pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    placed = [name for name, _ in pairs if name in _NOT_SAVED]
    if placed:
        raise _refuse_query(f"{placed[0]} says where in the list one reads; leave it out")
    return re.sub(r"%2C", ",", urlencode(pairs))


def _refuse_query(reason: str) -> InvalidBodyError:
    fault = InvalidParameter(parameter="query", message=reason)
    return InvalidBodyError(f"query: {reason}", errors=[fault])
