"""The API as one ASGI application."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from skatestock.api.connections import Database, OpenPool
from skatestock.api.context import STALE_AFTER_SECONDS, Context
from skatestock.api.documentation import build_documentation
from skatestock.api.endpoints import ENDPOINTS
from skatestock.api.health import find_newest_revision
from skatestock.api.openapi import build_document
from skatestock.api.problems import HANDLERS
from skatestock.api.requests import MAX_BODY_BYTES, check_limits, set_headers
from skatestock.vocabulary.time import Clock, utc_now

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def create_app(
    pool: asyncpg.Pool | OpenPool,
    *,
    version: str,
    demo: bool = False,
    stale_after_seconds: int = STALE_AFTER_SECONDS,
    clock: Clock = utc_now,
    lifespan: tuple[Lifespan, ...] = (),
) -> Litestar:
    """Build the application on a pool, or on a way to open one when it is first needed.

    `demo` says that everything in this catalogue comes from simulated shops; answers that hold such data are
    labelled in any case. A shop is called stale `stale_after_seconds` after its last complete crawl.
    `lifespan` is what a server adds to the application's life.
    """
    database = Database(pool)
    context = Context(
        database=database,
        version=version,
        newest_revision=find_newest_revision(),
        demo=demo,
        stale_after_seconds=stale_after_seconds,
        clock=clock,
    )
    document = build_document(ENDPOINTS, version=version, demo=demo)
    return Litestar(
        route_handlers=[*ENDPOINTS, *build_documentation(document)],
        dependencies={"context": Provide(lambda: context, use_cache=True, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        before_request=check_limits,
        before_send=[set_headers],
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
        lifespan=[_close_with(database), *lifespan],
        state=State({"demo": demo}),
    )


def _close_with(database: Database) -> Lifespan:
    @asynccontextmanager
    async def close(_app: Litestar) -> AsyncGenerator[None]:
        yield
        await database.close()

    return close
