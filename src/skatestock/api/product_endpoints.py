"""The endpoints about products: lists, details, histories, and finding one by its page at a shop."""

from datetime import timedelta

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from skatestock.api import product_schemas
from skatestock.api.answers import find_stale_before
from skatestock.api.context import Context
from skatestock.api.errors import IndexBuildingError, PageNotFoundError, ProductNotFoundError
from skatestock.api.operations import READS_DATABASE, READS_QUERY, Operation, reads_directly
from skatestock.api.product_answers import to_history, to_list, to_product
from skatestock.api.product_questions import refuse, to_filter, to_place, to_sort
from skatestock.api.questions import (
    HistoryQuestion,
    LookupQuestion,
    NoQuestion,
    ProductsQuestion,
    parse_product_id,
    parse_question,
)
from skatestock.api.requests import AnyRequest, mark_demo
from skatestock.api.sharing import INDEX, share, tag_product, tag_shop
from skatestock.catalog.errors import IndexNotBuiltError
from skatestock.catalog.facet_queries import Facets, find_facets
from skatestock.catalog.index_queries import find_products
from skatestock.catalog.lookup_queries import find_product_by_address, parse_page_address
from skatestock.catalog.product_filter import ProductFilter
from skatestock.catalog.queries import find_price_history, find_product
from skatestock.catalog.views import ProductDetail
from skatestock.database.pool import Connection


@reads_directly(
    "/products",
    Operation(
        name="list_products",
        summary="List products",
        description="The products that shops list now, searched, filtered and sorted. Values of one "
        "parameter are "
        "alternatives; several filters hold together for one and the same offer. What is said of a "
        "product is "
        "about all of its shops, except for `matching_price` and `matching_in_stock`. Amounts in different "
        "currencies are compared as numbers. What a commit changes is found here about a second later.",
        tag="Products",
        question=ProductsQuestion,
        answer=product_schemas.ProductList,
        problems=(*READS_QUERY, *READS_DATABASE, IndexBuildingError),
    ),
)
async def list_products(
    request: AnyRequest, context: NamedDependency[Context]
) -> product_schemas.ProductList:
    """Answer with one page of products."""
    question = parse_question(ProductsQuestion, request.scope["query_string"])
    wanted, sort = to_filter(question), to_sort(question)
    place = to_place(question, wanted, sort)
    async with context.database.connect() as connection:
        try:
            found = await find_products(
                connection, wanted, sort=sort, page=question.page, limit=question.limit, after=place
            )
        except IndexNotBuiltError as error:
            raise IndexBuildingError(str(error)) from error
        facets = await _find_facets(connection, wanted, context) if question.facets else None
    mark_demo(request, any(item.demo for item in found.items))
    share(request, INDEX)
    page = question.page if place is None else None
    return to_list(found, wanted, sort, page=page, limit=question.limit, facets=facets)


@reads_directly(
    "/products/lookup",
    Operation(
        name="look_up_product",
        summary="Find a product by its page at a shop",
        description="The product that a shop shows at an address, as `GET /products/{product_id}` "
        "answers it. `www.`, "
        "queries, slashes at the end, and the collections or languages that shops put before a page do "
        "not matter.",
        tag="Products",
        question=LookupQuestion,
        answer=product_schemas.Product,
        problems=(*READS_QUERY, PageNotFoundError, *READS_DATABASE),
    ),
)
async def look_up_product(request: AnyRequest, context: NamedDependency[Context]) -> product_schemas.Product:
    """Answer with the product that has a page at an address."""
    question = parse_question(LookupQuestion, request.scope["query_string"])
    address = parse_page_address(question.url)
    if address is None:
        raise refuse("url", "is no address of a page, such as https://shop.example/products/busenitz")
    async with context.database.connect() as connection:
        number = await find_product_by_address(connection, address)
        detail = None if number is None else await find_product(connection, number)
    if detail is None:
        raise PageNotFoundError(f"no listing is known at {address.host}{address.path[:200]}")
    # A page not known yet may be one soon, and a page may move to another product: only the index's beat
    # tells.
    share(request, INDEX)
    return _answer(request, context, detail)


@reads_directly(
    "/products/{product_id:str}",
    Operation(
        name="get_product",
        summary="Show a product",
        description="One product with its listings by shop and its offers by size, and how fresh all "
        "that is. "
        "Listings that a shop has no more are here too, marked with `delisted_at`.",
        tag="Products",
        answer=product_schemas.Product,
        problems=(*READS_QUERY, ProductNotFoundError, *READS_DATABASE),
    ),
)
async def get_product(
    request: AnyRequest, context: NamedDependency[Context], product_id: FromPath[str]
) -> product_schemas.Product:
    """Answer with one product."""
    parse_question(NoQuestion, request.scope["query_string"])
    number = _get_product_id(product_id)
    async with context.database.connect() as connection:
        detail = await find_product(connection, number)
    if detail is None:
        raise _no_product(product_id)
    return _answer(request, context, detail)


@reads_directly(
    "/products/{product_id:str}/price-history",
    Operation(
        name="get_price_history",
        summary="Show how a product's prices went",
        description="Every offer's steps: what its price, compare-at price and availability were from which "
        "moment on. A step stands only where something changed, and the one in force at the window's "
        "beginning comes first. And the lowest price of each day at which it was in stock.",
        tag="Products",
        question=HistoryQuestion,
        answer=product_schemas.PriceHistory,
        problems=(*READS_QUERY, ProductNotFoundError, *READS_DATABASE),
    ),
)
async def get_price_history(
    request: AnyRequest, context: NamedDependency[Context], product_id: FromPath[str]
) -> product_schemas.PriceHistory:
    """Answer with the price points of a product's offers."""
    question = parse_question(HistoryQuestion, request.scope["query_string"])
    number = _get_product_id(product_id)
    now = context.clock()
    since = now - timedelta(days=question.days)
    async with context.database.connect() as connection:
        offers = await find_price_history(
            connection, number, since=since, shops=question.shop, sizes=question.size
        )
    if offers is None:
        raise _no_product(product_id)
    history = to_history(number, offers, since=since, until=now)
    mark_demo(request, history.demo)
    share(request, tag_product(number), *{tag_shop(offer.shop.id) for offer in offers})
    return history


PRODUCT_ENDPOINTS: tuple[HTTPRouteHandler, ...] = (
    list_products,
    look_up_product,
    get_product,
    get_price_history,
)
"""The endpoints of this file, in the order of the OpenAPI document."""


async def _find_facets(connection: Connection, wanted: ProductFilter, context: Context) -> Facets:
    # Whole hours: the moments from which listings count as new are values that a next question may use.
    now = context.clock().replace(minute=0, second=0, microsecond=0)
    return await find_facets(connection, wanted, now)


def _answer(request: AnyRequest, context: Context, detail: ProductDetail) -> product_schemas.Product:
    mark_demo(request, detail.summary.demo)
    share(request, tag_product(detail.summary.id), *(tag_shop(shop.shop.id) for shop in detail.shops))
    return to_product(detail, stale_before=find_stale_before(context.clock(), context.stale_after_seconds))


def _get_product_id(text: str) -> int:
    """Read the id in a path; one that no product can have is one that none has."""
    number = parse_product_id(text)
    if number is None:
        raise _no_product(text)
    return number


def _no_product(text: str) -> ProductNotFoundError:
    return ProductNotFoundError(f"no product has the id {text[:40]!a}")
