"""The endpoints about shops, brands and categories."""

import re

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from skatestock.api import product_schemas, schemas
from skatestock.api.answers import find_stale_before, to_shop
from skatestock.api.context import Context
from skatestock.api.errors import IndexBuildingError, ShopNotFoundError
from skatestock.api.operations import READS_DATABASE, READS_QUERY, Operation, reads
from skatestock.api.product_answers import to_label
from skatestock.api.questions import NoQuestion, parse_question
from skatestock.api.requests import AnyRequest, mark_demo
from skatestock.api.sharing import CATALOGUE, INDEX, share, tag_shop
from skatestock.catalog.errors import IndexNotBuiltError
from skatestock.catalog.label_queries import find_brands, find_categories
from skatestock.catalog.queries import find_shop, find_shops

_SLUG = re.compile(r"[a-z0-9-]{1,255}\Z")


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
    share(request, CATALOGUE)
    now = context.clock()
    stale_before = find_stale_before(now, context.stale_after_seconds)
    return schemas.ShopList(items=tuple(to_shop(shop, stale_before=stale_before, now=now) for shop in shops))


@reads(
    "/shops/{slug:str}",
    Operation(
        name="get_shop",
        summary="Show a shop",
        description="One shop with its state, how much it lists, and when it was last seen whole.",
        tag="Shops",
        answer=schemas.Shop,
        problems=(*READS_QUERY, ShopNotFoundError, *READS_DATABASE),
    ),
)
async def get_shop(
    request: AnyRequest, context: NamedDependency[Context], slug: FromPath[str]
) -> schemas.Shop:
    """Answer with one shop."""
    parse_question(NoQuestion, request.scope["query_string"])
    async with context.database.connect() as connection:
        shop = await find_shop(connection, slug) if _SLUG.match(slug) else None
    if shop is None:
        raise ShopNotFoundError(f"no shop has the slug {slug[:40]!a}")
    mark_demo(request, shop.demo)
    # A shop's row may change (its name, whether it is crawled) without a listing's: any commit counts.
    share(request, CATALOGUE, tag_shop(shop.id))
    now = context.clock()
    return to_shop(shop, stale_before=find_stale_before(now, context.stale_after_seconds), now=now)


@reads(
    "/brands",
    Operation(
        name="list_brands",
        summary="List the brands",
        description="Every brand of which a shop lists something, with the counts of its products.",
        tag="Products",
        answer=product_schemas.BrandList,
        problems=(*READS_QUERY, *READS_DATABASE, IndexBuildingError),
    ),
)
async def list_brands(request: AnyRequest, context: NamedDependency[Context]) -> product_schemas.BrandList:
    """Answer with every brand."""
    parse_question(NoQuestion, request.scope["query_string"])
    async with context.database.connect() as connection:
        try:
            brands = await find_brands(connection)
        except IndexNotBuiltError as error:
            raise IndexBuildingError(str(error)) from error
    share(request, INDEX)
    return product_schemas.BrandList(items=tuple(map(to_label, brands)))


@reads(
    "/categories",
    Operation(
        name="list_categories",
        summary="List the categories",
        description="Every category, with the counts of its products.",
        tag="Products",
        answer=product_schemas.CategoryList,
        problems=(*READS_QUERY, *READS_DATABASE, IndexBuildingError),
    ),
)
async def list_categories(
    request: AnyRequest, context: NamedDependency[Context]
) -> product_schemas.CategoryList:
    """Answer with every category."""
    parse_question(NoQuestion, request.scope["query_string"])
    async with context.database.connect() as connection:
        try:
            categories = await find_categories(connection)
        except IndexNotBuiltError as error:
            raise IndexBuildingError(str(error)) from error
    share(request, INDEX)
    return product_schemas.CategoryList(items=tuple(map(to_label, categories)))


SHOP_ENDPOINTS: tuple[HTTPRouteHandler, ...] = (list_shops, get_shop, list_brands, list_categories)
"""The endpoints of this file, in the order of the OpenAPI document."""
