"""The web application of one process: accounts, API and edge, joined, and what keeps them up to date."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from litestar import Litestar
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from skatestock import __version__
from skatestock.accounts.accounts import Accounts
from skatestock.api.app import Lifespan, create_app
from skatestock.api.authentication import ACCOUNTS
from skatestock.api.event_subscriptions import StreamLimits
from skatestock.api.events import CHANGES, Changes
from skatestock.api.sharing import CATALOGUE, tag_product, tag_shop
from skatestock.catalog.change_queries import CatalogueChange, Clock
from skatestock.catalog.following import Follower
from skatestock.cli.auth_keys import get_auth
from skatestock.cli.platform import get_database_url
from skatestock.database.pool import Pool, connect, create_pool
from skatestock.edge.build import EdgeSettings, build_edge, parse_list
from skatestock.edge.policies import Limit, Limits
from skatestock.edge.validity import Validity
from skatestock.settings import Settings
from skatestock.telemetry.requests import App, MeasuredApp

_POOL_SIZE = 10
_STATEMENT_SECONDS = 10.0
# A request waits this long for a server that restarts; the caller is told to come back after that.
_CONNECT_SECONDS = 2.0
# The cache saves time or it is of no use.
_CACHE_SECONDS = 0.25


def build_web(
    settings: Settings,
    *,
    demo: bool,
    stale_after_seconds: int,
    lifespan: tuple[Lifespan, ...] = (),
) -> App:
    """Build the application of one process; it connects when it is first asked for something."""
    dsn = get_database_url(settings)
    cache = open_cache(settings.redis_url)
    validity = Validity()
    app = create_app(
        partial(_open_pool, dsn),
        version=__version__,
        demo=demo,
        stale_after_seconds=stale_after_seconds,
        auth=get_auth(settings),
        cache=cache,
        streams=to_stream_limits(settings),
        lifespan=(partial(_follow, dsn, validity), partial(_close_cache, cache), *lifespan),
    )
    accounts: Accounts = app.state[ACCOUNTS]
    return build_edge(
        MeasuredApp(app),
        validity,
        settings=to_edge_settings(settings),
        program=__version__,
        redis_url=settings.redis_url,
        identify=accounts.identify,
    )


def check_web(settings: Settings) -> None:
    """Raise what each worker would end of again and again: senseless settings, missing keys."""
    get_database_url(settings)
    get_auth(settings)
    build_edge(_answer_nothing, Validity(), settings=to_edge_settings(settings), program=__version__)


async def _answer_nothing(_scope: object, _receive: object, _send: object) -> None:
    """Stand in for the application where none is needed."""


def to_edge_settings(settings: Settings) -> EdgeSettings:
    """Tell the edge what the settings say of it."""
    return EdgeSettings(
        limits=Limits(
            address=Limit(settings.rate_limit_address, settings.rate_limit_address_burst),
            user=Limit(settings.rate_limit_user, settings.rate_limit_user_burst),
            key=Limit(settings.rate_limit_key, settings.rate_limit_key_burst),
        ),
        trusted_proxies=parse_list(settings.trusted_proxies or ""),
        cors_origins=parse_list(settings.cors_origins or ""),
        cache_mb=settings.edge_cache_mb,
        timeout_seconds=settings.request_timeout_seconds,
        requires_tls=settings.environment == "production",
    )


def to_stream_limits(settings: Settings) -> StreamLimits:
    """Tell the streams of events what the settings say of them."""
    return StreamLimits(
        most_streams=settings.events_streams,
        most_per_client=settings.events_streams_per_client,
        most_waiting=settings.events_queue,
        heartbeat_seconds=settings.events_heartbeat_seconds,
        send_seconds=settings.events_send_seconds,
    )


def open_cache(url: str | None) -> Redis | None:
    """Make a client of the cache that gives up quickly; it connects when it is first used."""
    if url is None:
        return None
    client: Redis = Redis.from_url(
        url,
        socket_timeout=_CACHE_SECONDS,
        socket_connect_timeout=_CACHE_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return client


def name_tags(change: CatalogueChange) -> list[str]:
    """Name the tags of every answer that may show what a commit changed."""
    return [
        CATALOGUE,
        *(tag_shop(shop_id) for shop_id in change.shop_ids),
        *(tag_product(product_id) for product_id in change.product_ids),
    ]


@asynccontextmanager
async def _close_cache(cache: Redis | None, _app: Litestar) -> AsyncGenerator[None]:
    yield
    if cache is not None:
        await cache.aclose()


@asynccontextmanager
async def _follow(dsn: str, validity: Validity, app: Litestar) -> AsyncGenerator[None]:
    """Tell all parts of this process what commits change, for as long as it runs."""
    changes: Changes = app.state[CHANGES]
    changes.is_followed = True

    def on_change(change: CatalogueChange) -> None:
        if change.everything:
            validity.change_everything(change.position)
        else:
            validity.change(change.position, name_tags(change))
        changes.on_change(change)

    def on_confirmed(clock: Clock) -> None:
        validity.confirm(*clock)
        changes.on_confirmed(clock)

    follower = Follower(
        partial(
            connect,
            dsn,
            application_name="skatestock api changes",
            statement_timeout_seconds=_STATEMENT_SECONDS,
            connect_timeout_seconds=_CONNECT_SECONDS,
        ),
        on_change=on_change,
        on_confirmed=on_confirmed,
    )
    follower.start()
    try:
        yield
    finally:
        await follower.stop()


async def _open_pool(dsn: str) -> Pool:
    return await create_pool(
        dsn,
        application_name="skatestock api",
        max_size=_POOL_SIZE,
        statement_timeout_seconds=_STATEMENT_SECONDS,
        connect_timeout_seconds=_CONNECT_SECONDS,
    )
