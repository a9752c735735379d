"""The endpoints that tell how this program is, and where to read on."""

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from skatestock.api import schemas
from skatestock.api.context import Context
from skatestock.api.health import (
    check_cache,
    check_changes,
    check_database,
    check_index,
    require_ready,
    summarise,
)
from skatestock.api.operations import READS_DATABASE, READS_QUERY, Operation, reads
from skatestock.api.questions import NoQuestion, parse_question
from skatestock.api.requests import AnyRequest


@reads(
    "/health",
    Operation(
        name="get_health",
        summary="Show the health of every part",
        description="Always 200: `status` and each dependency say how things are. The `database` is needed; "
        "without `redis` limits count per process; `changes` are what this process hears of commits, and "
        "`index` is what lists are read from.",
        tag="Health",
        answer=schemas.Health,
        problems=READS_QUERY,
    ),
)
async def get_health(request: AnyRequest, context: NamedDependency[Context]) -> schemas.Health:
    """Answer with the health of each dependency."""
    parse_question(NoQuestion, request.scope["query_string"])
    dependencies = [await check_database(context.database, context.newest_revision)]
    if context.cache is not None:
        dependencies.append(await check_cache(context.cache))
    if context.changes.is_followed:
        dependencies += [check_changes(context.changes), await check_index(context.database)]
    return schemas.Health(
        status=summarise(dependencies),
        version=context.version,
        at=context.clock(),
        demo=context.demo,
        dependencies=tuple(dependencies),
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
    get_health,
    get_readiness,
    get_liveness,
    get_welcome,
)
"""The endpoints of this file, in the order of the OpenAPI document."""
