"""The endpoints: each reads its question, asks the catalogue, and writes its answer."""

from datetime import timedelta

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from skatestock.api import schemas
from skatestock.api.answers import find_stale_before, to_history, to_item, to_product, to_shop
from skatestock.api.context import Context
from skatestock.api.errors import ProductNotFoundError
from skatestock.api.health import check_database, require_ready
from skatestock.api.operations import READS_DATABASE, READS_QUERY, Operation, reads
from skatestock.api.questions import (
    HistoryQuestion,
    NoQuestion,
    ProductsQuestion,
    parse_product_id,
    parse_question,
)
from skatestock.api.requests import AnyRequest, mark_demo
from skatestock.catalog.queries import (
    find_price_history,
    find_product,
    find_products,
    find_shops,
)
from skatestock.catalog.views import ProductFilter


@reads(
    "/products",
    Operation(
        name="list_products",
        summary="List products",
        description="The products that shops list now, newest first, with what they cost. What is said of a "
        "product is about all of its shops, also when only some are asked for.",
        tag="Products",
        question=ProductsQuestion,
        answer=schemas.ProductList,
        problems=(*READS_QUERY, *READS_DATABASE),
    ),
)
async def list_products(request: AnyRequest, context: NamedDependency[Context]) -> schemas.ProductList:
    """Answer with one page of products."""
    question = parse_question(ProductsQuestion, request.scope["query_string"])
    wanted = ProductFilter(
        shops=question.shop,
        search=question.search or None,
        in_stock=question.in_stock if isinstance(question.in_stock, bool) else None,
        include_delisted=question.include_delisted,
    )
    async with context.database.connect() as connection:
        found = await find_products(connection, wanted, page=question.page, limit=question.limit)
    items = tuple(to_item(item) for item in found.items)
    mark_demo(request, any(item.demo for item in items))
    return schemas.ProductList(items=items, total=found.total, page=question.page, limit=question.limit)


@reads(
    "/products/{product_id:str}",
    Operation(
        name="get_product",
        summary="Show a product",
        description="One product with its listings by shop, their offers, and how fresh all that is. "
        "Listings that a shop has no more are here too, marked with `delisted_at`.",
        tag="Products",
        answer=schemas.Product,
        problems=(*READS_QUERY, ProductNotFoundError, *READS_DATABASE),
    ),
)
async def get_product(
    request: AnyRequest, context: NamedDependency[Context], product_id: FromPath[str]
) -> schemas.Product:
    """Answer with one product."""
    parse_question(NoQuestion, request.scope["query_string"])
    number = _get_product_id(product_id)
    async with context.database.connect() as connection:
        detail = await find_product(connection, number)
    if detail is None:
        raise _no_product(product_id)
    mark_demo(request, detail.summary.demo)
    return to_product(detail, stale_before=find_stale_before(context.clock(), context.stale_after_seconds))


@reads(
    "/products/{product_id:str}/price-history",
    Operation(
        name="get_price_history",
        summary="Show how a product's prices went",
        description="Every offer's steps: what its price, compare-at price and availability were from which "
        "moment on. A step stands only where something changed, and the one in force at the window's "
        "beginning comes first.",
        tag="Products",
        question=HistoryQuestion,
        answer=schemas.PriceHistory,
        problems=(*READS_QUERY, ProductNotFoundError, *READS_DATABASE),
    ),
)
async def get_price_history(
    request: AnyRequest, context: NamedDependency[Context], product_id: FromPath[str]
) -> schemas.PriceHistory:
    """Answer with the price points of a product's offers."""
    question = parse_question(HistoryQuestion, request.scope["query_string"])
    number = _get_product_id(product_id)
    now = context.clock()
    since = now - timedelta(days=question.days)
    async with context.database.connect() as connection:
        offers = await find_price_history(connection, number, since=since, shops=question.shop)
    if offers is None:
        raise _no_product(product_id)
    history = to_history(number, offers, since=since, until=now)
    mark_demo(request, history.demo)
    return history


@reads(
    "/shops",
    Operation(
        name="list_shops",
        summary="List the shops",
        description="Every shop with how much it lists and when it was last seen whole.",
        tag="Shops",
        answer=schemas.ShopList,
        problems=(*READS_QUERY, *READS_DATABASE),
    ),
)
async def list_shops(request: AnyRequest, context: NamedDependency[Context]) -> schemas.ShopList:
    """Answer with every shop."""
    parse_question(NoQuestion, request.scope["query_string"])
    async with context.database.connect() as connection:
        shops = await find_shops(connection)
    mark_demo(request, any(shop.demo for shop in shops))
    now = context.clock()
    stale_before = find_stale_before(now, context.stale_after_seconds)
    return schemas.ShopList(items=tuple(to_shop(shop, stale_before=stale_before, now=now) for shop in shops))


@reads(
    "/health",
    Operation(
        name="get_health",
        summary="Show the health of every part",
        description="Always 200: `status` and each dependency say how things are.",
        tag="Health",
        answer=schemas.Health,
        problems=READS_QUERY,
    ),
)
async def get_health(request: AnyRequest, context: NamedDependency[Context]) -> schemas.Health:
    """Answer with the health of each dependency."""
    parse_question(NoQuestion, request.scope["query_string"])
    database = await check_database(context.database, context.newest_revision)
    return schemas.Health(
        status="ok" if database.status == "ok" else "degraded",
        version=context.version,
        at=context.clock(),
        demo=context.demo,
        dependencies=(database,),
    )


@reads(
    "/health/ready",
    Operation(
        name="get_readiness",
        summary="Tell whether requests can be answered",
        description="200 if they can; 503 while the database is away or its tables are older than this "
        "program.",
        tag="Health",
        answer=schemas.Alive,
        problems=(*READS_QUERY, *READS_DATABASE),
    ),
)
async def get_readiness(request: AnyRequest, context: NamedDependency[Context]) -> schemas.Alive:
    """Answer with yes, or with the problem that stands in the way."""
    parse_question(NoQuestion, request.scope["query_string"])
    await require_ready(context.database, context.newest_revision)
    return schemas.Alive(status="ok")


@reads(
    "/health/live",
    Operation(
        name="get_liveness",
        summary="Tell whether this process answers at all",
        description="200 as long as the process runs; asks nothing else.",
        tag="Health",
        answer=schemas.Alive,
        problems=READS_QUERY,
    ),
)
async def get_liveness(request: AnyRequest) -> schemas.Alive:
    """Answer with yes."""
    parse_question(NoQuestion, request.scope["query_string"])
    return schemas.Alive(status="ok")


@reads(
    "/",
    Operation(
        name="get_welcome",
        summary="Tell what this is",
        description="Where to read on.",
        tag="Health",
        answer=schemas.Welcome,
        problems=READS_QUERY,
    ),
)
async def get_welcome(request: AnyRequest, context: NamedDependency[Context]) -> schemas.Welcome:
    """Answer with a pointer to the documentation."""
    parse_question(NoQuestion, request.scope["query_string"])
    return schemas.Welcome(
        name="SkateStock API",
        version=context.version,
        documentation="/api-docs",
        openapi="/api-docs/openapi.json",
        demo=context.demo,
    )


ENDPOINTS: tuple[HTTPRouteHandler, ...] = (
    list_products,
    get_product,
    get_price_history,
    list_shops,
    get_health,
    get_readiness,
    get_liveness,
    get_welcome,
)
"""Every endpoint that the OpenAPI document describes, in its order."""


def _get_product_id(text: str) -> int:
    """Read the id in a path; one that no product can have is one that none has."""
    number = parse_product_id(text)
    if number is None:
        raise _no_product(text)
    return number


def _no_product(text: str) -> ProductNotFoundError:
    return ProductNotFoundError(f"no product has the id {text[:40]!a}")
