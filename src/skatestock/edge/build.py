"""Puts an edge together: the one function that whoever wires the process calls."""

from typing import NamedTuple

from skatestock.edge.app import Edge, Parts
from skatestock.edge.clients import Identify, build_name_client
from skatestock.edge.cors import Cors
from skatestock.edge.headers import SECURITY, STRICT_TRANSPORT
from skatestock.edge.limiter import Limiter
from skatestock.edge.memory import Memory
from skatestock.edge.pipe import RedisPipe
from skatestock.edge.policies import Limit, Limits, Policy
from skatestock.edge.requests import App
from skatestock.edge.shared import SharedAnswers
from skatestock.edge.sharing import ShareRules
from skatestock.edge.validity import Validity

_MEGABYTE = 1_048_576

DEFAULT_LIMITS = Limits(address=Limit(600, 200), user=Limit(1200, 300), key=Limit(3000, 600))
"""What a client may ask without any setting."""


class EdgeSettings(NamedTuple):
    """What can be set of the edge."""

    limits: Limits = DEFAULT_LIMITS
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    cache_mb: int = 64
    timeout_seconds: float = 15.0
    requires_tls: bool = False
    """Whether answers tell browsers to come by TLS only: where the service is reached by TLS for certain."""


def build_edge(
    app: App,
    validity: Validity,
    *,
    settings: EdgeSettings | None = None,
    program: str,
    redis_url: str | None = None,
    identify: Identify | None = None,
) -> Edge:
    """Put an edge before an application.

    `program` is the program's version: answers in Redis are shared by processes of one version only. The edge
    starts and ends with the application's lifespan, which it passes on. Raises TrustedProxyError or
    OriginError for settings that make no sense.
    """
    settings = EdgeSettings() if settings is None else settings
    pipe = None if redis_url is None else RedisPipe(redis_url)
    extra = (STRICT_TRANSPORT,) if settings.requires_tls else ()
    cors = Cors(settings.cors_origins) if settings.cors_origins else None
    limits = settings.limits
    return Edge(
        Parts(
            app=app,
            validity=validity,
            memory=Memory(validity, settings.cache_mb * _MEGABYTE),
            shared=None if pipe is None or not settings.cache_mb else SharedAnswers(pipe, validity, program),
            limiter=Limiter(pipe),
            policies={kind: Policy(kind, getattr(limits, kind)) for kind in Limits._fields},
            name_client=build_name_client(settings.trusted_proxies),
            identify=identify,
            cors=cors,
            rules=ShareRules(varies_by_origin=cors is not None and cors.is_listed, lines=extra),
            missing=(*SECURITY, *extra),
            timeout_seconds=settings.timeout_seconds,
            pipe=pipe,
        )
    )


def parse_list(text: str) -> tuple[str, ...]:
    """Read a setting of several words, separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
