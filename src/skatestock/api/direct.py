"""Hot endpoints, answered without the framework's own way from a request to an answer.

The framework finds dependencies, checks arguments and builds a response object for each request, which costs
more than the database does. An endpoint whose function takes the request, the context and its path's parts,
and returns a struct, needs none of that. Routing, errors, and what is added to every answer stay the
framework's and ours as everywhere.
"""

from typing import Any

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from skatestock.api.requests import AnyRequest, check_limits

CONTEXT = "context"
"""The key of the application's state under which such endpoints find their Context."""

_TYPE = (b"content-type", b"application/json")

_encoder = msgspec.json.Encoder()


def answer_directly(app: ASGIApp) -> ASGIApp:
    """Stand in, as a middleware, for `app` (the framework before an endpoint), and call its function.

    Only for GET and HEAD of an endpoint that is open to everybody. What the function raises is answered
    further out.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        server = scope["litestar_app"]
        request: AnyRequest = server.request_class(scope, receive, send)
        await check_limits(request)
        function: Any = scope["route_handler"].fn
        answered = await function(request, server.state[CONTEXT], **scope["path_params"])
        body = _encoder.encode(answered)
        headers = [_TYPE, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        shown = b"" if request.method == "HEAD" else body
        await send({"type": "http.response.body", "body": shown, "more_body": False})

    return answer
