"""Answers to OPTIONS: which methods a path knows, whoever handles each of them."""

from collections.abc import Iterable

from litestar import Response, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler


def build_options(endpoints: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Make the handlers of OPTIONS for the paths of endpoints.

    The framework would make its own, which name the methods of one of a path's handlers only: these must be
    registered before the handlers themselves, or there are two.
    """
    methods: dict[str, set[str]] = {}
    for endpoint in endpoints:
        for path in endpoint.paths:
            methods.setdefault(path, {"OPTIONS"}).update(map(str, endpoint.http_methods))
    return [_build_handler(path, ", ".join(sorted(known))) for path, known in methods.items()]


def _build_handler(path: str, allowed: str) -> HTTPRouteHandler:
    @route(path, http_method=[HttpMethod.OPTIONS], status_code=204)
    async def answer_options() -> Response[None]:
        """Answer with the methods."""
        return Response(None, status_code=204, headers={"Allow": allowed})

    return answer_options
