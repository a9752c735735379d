"""The API as one ASGI application."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from redis.asyncio import Redis

from skatestock.accounts.accounts import Accounts, AuthSettings
from skatestock.api.account_endpoints import ACCOUNT_ENDPOINTS
from skatestock.api.account_problems import ACCOUNT_HANDLERS
from skatestock.api.analytics_endpoints import ANALYTICS_ENDPOINTS
from skatestock.api.authentication import ACCOUNTS
from skatestock.api.connections import Database, OpenPool
from skatestock.api.context import STALE_AFTER_SECONDS, Context
from skatestock.api.direct import CONTEXT, Api
from skatestock.api.documentation import build_documentation
from skatestock.api.endpoints import ENDPOINTS
from skatestock.api.event_endpoints import EVENT_ENDPOINTS
from skatestock.api.event_subscriptions import StreamLimits
from skatestock.api.events import CHANGES, Changes
from skatestock.api.health import find_newest_revision
from skatestock.api.key_endpoints import KEY_ENDPOINTS
from skatestock.api.openapi import build_document
from skatestock.api.options import build_options
from skatestock.api.problems import HANDLERS
from skatestock.api.product_endpoints import PRODUCT_ENDPOINTS
from skatestock.api.requests import MAX_BODY_BYTES, check_limits, set_headers
from skatestock.api.shop_endpoints import SHOP_ENDPOINTS
from skatestock.api.wish_endpoints import WISH_ENDPOINTS
from skatestock.vocabulary.time import Clock, utc_now

EVERY_ENDPOINT: tuple[HTTPRouteHandler, ...] = (
    *PRODUCT_ENDPOINTS,
    *SHOP_ENDPOINTS,
    *ANALYTICS_ENDPOINTS,
    *ENDPOINTS,
    *EVENT_ENDPOINTS,
    *ACCOUNT_ENDPOINTS,
    *KEY_ENDPOINTS,
    *WISH_ENDPOINTS,
)
"""Every endpoint that the OpenAPI document describes, in its order."""

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def create_app(
    pool: asyncpg.Pool | OpenPool,
    *,
    version: str,
    demo: bool = False,
    stale_after_seconds: int = STALE_AFTER_SECONDS,
    clock: Clock = utc_now,
    auth: AuthSettings | None = None,
    cache: Redis | None = None,
    streams: StreamLimits | None = None,
    lifespan: tuple[Lifespan, ...] = (),
) -> Api:
    """Build the application on a pool, or on a way to open one when it is first needed.

    `demo` says that everything in this catalogue comes from simulated shops; answers that hold such data are
    labelled in any case. A shop is called stale `stale_after_seconds` after its last complete crawl.
    Without `auth` there are no accounts; with it, the application's state holds them as `accounts`.
    The state's `changes` has to hear what commits change, or there are no events. `cache` is what `/health`
    tells of, and `streams` bounds the streams of events.
    `lifespan` is what a server adds to the application's life.
    """
    database = Database(pool)
    changes = Changes(database, streams)
    context = Context(
        database=database,
        changes=changes,
        cache=cache,
        version=version,
        newest_revision=find_newest_revision(),
        demo=demo,
        stale_after_seconds=stale_after_seconds,
        clock=clock,
    )
    accounts = None if auth is None else Accounts(database.connect, auth, clock=clock)
    document = build_document(EVERY_ENDPOINT, version=version, demo=demo)
    handlers = [*EVERY_ENDPOINT, *build_documentation(document)]
    return Api(
        route_handlers=[*build_options(handlers), *handlers],
        dependencies={"context": Provide(lambda: context, use_cache=True, sync_to_thread=False)},
        exception_handlers={**HANDLERS, **ACCOUNT_HANDLERS},
        before_request=check_limits,
        before_send=[set_headers],
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
        lifespan=[_close_with(database, accounts, changes), *lifespan],
        state=State({"demo": demo, CONTEXT: context, ACCOUNTS: accounts, CHANGES: changes}),
    )


def _close_with(database: Database, accounts: Accounts | None, changes: Changes) -> Lifespan:
    @asynccontextmanager
    async def close(_app: Litestar) -> AsyncGenerator[None]:
        yield
        await changes.close()
        if accounts is not None:
            accounts.close()
        await database.close()

    return close
