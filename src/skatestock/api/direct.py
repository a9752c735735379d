"""Hot endpoints, answered without the framework's own way from a request to an answer.

The framework finds routes and dependencies, checks arguments, builds a response object and sends it through
layers of its own, which costs more than the database does. An endpoint whose function takes the request, the
context and its path's parts, and returns a struct, needs none of that. What such a function raises goes the
framework's way after all, so that problems are answered in one place.
"""

import re
from collections.abc import Awaitable, Iterable
from typing import Any, NamedTuple

import msgspec
from litestar import Litestar, Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from skatestock.api.requests import AnyRequest, check_limits, finish_headers, is_demo, list_headers
from skatestock.api.sharing import find_tags
from skatestock.edge.direct import Finished

CONTEXT = "context"
"""The key of the application's state under which such endpoints find their Context."""

DIRECT = "direct"
"""The key of a route handler's `opt` that says that its function is called directly."""

_RAISED = "skatestock_raised"
_TYPE = (b"content-type", b"application/json")
_GIVEN = frozenset({b"content-type", b"content-length"})
# Of other hosts the framework judges whether they make sense.
_PLAIN_HOST = re.compile(rb"[0-9A-Za-z.:\-\[\]]*\Z")

# What answers carry, by whether they may be shared, and whether they hold demo data.
_HEADERS = {
    (is_shared, demo): tuple(list_headers(is_shared=is_shared, demo=demo, given=(_TYPE,)))
    for is_shared in (False, True)
    for demo in (False, True)
}

_encode = msgspec.json.Encoder().encode


class DirectRoute(NamedTuple):
    """One endpoint that is called directly."""

    template: str
    """Its path as metrics name it."""
    parts: tuple[str | None, ...]
    """What stands between the slashes; None for what is the caller's."""
    names: tuple[str, ...]
    """The arguments that the caller's parts are, in their order."""
    function: Any

    def read(self, given: list[str]) -> dict[str, str] | None:
        """Read a path's parts, as many as its own; None if they are not this endpoint's."""
        found = []
        for expected, part in zip(self.parts, given, strict=True):
            if expected is None and part:
                found.append(part)
            elif expected != part:
                return None
        return dict(zip(self.names, found, strict=True))


_Found = tuple[DirectRoute, dict[str, str]]


class DirectRoutes:
    """The paths of the endpoints that are called directly."""

    def __init__(self, handlers: Iterable[HTTPRouteHandler]) -> None:
        self._fixed: dict[str, DirectRoute] = {}
        self._open: dict[int, list[DirectRoute]] = {}
        for handler in handlers:
            if DIRECT in handler.opt:
                for path in handler.paths:
                    self._add(_read_template(path, handler.fn))

    def find(self, path: str) -> _Found | None:
        """Find the endpoint at a path, and what the path says; None for every other way of writing it."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed, {}
        given = path.split("/")
        for route in self._open.get(len(given), ()):
            arguments = route.read(given)
            if arguments is not None:
                return route, arguments
        return None

    def _add(self, route: DirectRoute) -> None:
        if route.names:
            self._open.setdefault(len(route.parts), []).append(route)
        else:
            self._fixed[route.template] = route


class Api(Litestar):
    """The framework's application with the hot endpoints before it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._routes = DirectRoutes(options["route_handlers"])
        self._context = self.state[CONTEXT]
        self._is_demo: bool = self.state.demo

    def answer(self, scope: Any) -> Awaitable[Finished | None] | None:
        """Answer a GET without the messages of ASGI, where a hot endpoint is asked: the edge's short way."""
        found = self._find(scope)
        return None if found is None else self._finish(*found, scope)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, by the shortest way that there is."""
        if scope["type"] == "http" and scope["method"] == "GET":
            found = self._find(scope)
            if found is not None:
                body = await self._call(*found, scope)
                if body is not None:
                    headers = [_TYPE, (b"content-length", b"%d" % len(body))]
                    finish_headers(headers, scope, 200, _GIVEN, demo=self._is_demo)
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    await send({"type": "http.response.body", "body": body, "more_body": False})
                    return
        await super().__call__(scope, receive, send)

    def _find(self, scope: Scope) -> _Found | None:
        if scope.get("root_path") or _RAISED in scope.setdefault("state", {}):
            return None
        found = self._routes.find(scope["path"])
        return found if found is None or _is_plain(scope["headers"]) else None

    async def _finish(self, route: DirectRoute, arguments: dict[str, str], scope: Scope) -> Finished | None:
        body = await self._call(route, arguments, scope)
        if body is None:
            return None
        tags = find_tags(scope)
        return Finished(_HEADERS[bool(tags), self._is_demo or is_demo(scope)], body, tags)

    async def _call(self, route: DirectRoute, arguments: dict[str, str], scope: Scope) -> bytes | None:
        """Call an endpoint's function; of what it raises the framework will hear, which answers that."""
        scope["litestar_app"] = self
        scope["path_template"] = route.template
        request: AnyRequest = Request(scope)
        try:
            await check_limits(request)
            return _encode(await route.function(request, self._context, **arguments))
        except Exception as error:
            # Not handled here: `answer_directly` raises it again where the framework answers problems.
            scope["state"][_RAISED] = error
            return None


def answer_directly(app: ASGIApp) -> ASGIApp:
    """Stand in, as a middleware, for `app` (the framework before an endpoint), and call its function.

    For what the framework has routed: HEAD, and paths written in another way. Only for endpoints that are
    open to everybody. What the function raises, or has raised before, is answered further out.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        raised = scope["state"].pop(_RAISED, None)
        if raised is not None:
            raise raised
        server = scope["litestar_app"]
        request: AnyRequest = server.request_class(scope, receive, send)
        await check_limits(request)
        function: Any = scope["route_handler"].fn
        body = _encode(await function(request, server.state[CONTEXT], **scope["path_params"]))
        headers = [_TYPE, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        shown = b"" if request.method == "HEAD" else body
        await send({"type": "http.response.body", "body": shown, "more_body": False})

    return answer


def _read_template(path: str, function: Any) -> DirectRoute:
    """Read a path as `/products/{product_id:str}`; only text can be a part of it."""
    parts: list[str | None] = []
    names: list[str] = []
    for part in path.split("/"):
        name, _, kind = part.strip("{}").partition(":")
        if part.startswith("{") and kind != "str":
            raise ValueError(f"{path}: {name} is no text, and would have to be read as the framework does")
        parts.append(None if part.startswith("{") else part)
        names += [name] if part.startswith("{") else []
    return DirectRoute(path, tuple(parts), tuple(names), function)


def _is_plain(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return all(_PLAIN_HOST.match(value) for name, value in headers if name == b"host")
