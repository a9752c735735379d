"""The endpoint of the stream of events."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import UNSET

from skatestock.accounts.model import Client
from skatestock.api.authentication import find_origin, get_accounts
from skatestock.api.context import Context
from skatestock.api.errors import (
    InvalidParameterError,
    RequestError,
    StreamsExhaustedError,
    TooManyStreamsError,
)
from skatestock.api.event_ids import EventId, parse_event_id
from skatestock.api.event_schemas import Event, EventsHeaders, EventsQuestion, Resync, StreamedEvent
from skatestock.api.event_subscriptions import Subscription
from skatestock.api.events import Changes
from skatestock.api.operations import READS_DATABASE, READS_QUERY, Operation, reads
from skatestock.api.questions import parse_question
from skatestock.api.requests import AnyRequest
from skatestock.api.schemas import InvalidParameter
from skatestock.telemetry.logs import get_logger

MEDIA_TYPE = "text/event-stream"

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # what nginx takes as: pass on what comes as it comes
    (b"x-accel-buffering", b"no"),
]
_FAREWELL_SECONDS = 1.0
_LAST_EVENT_ID = "Last-Event-ID"

_log = get_logger(__name__)

Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]


@reads(
    "/events",
    Operation(
        name="stream_events",
        summary="Follow what changes",
        description="Price changes, restocks, sold-out offers, new and delisted listings as they are "
        "committed: a stream of server-sent events that goes on until you end it. Each "
        "event's name is its `kind`, and its `data` JSON. Every event has an `id`; "
        "with the last one as the header `Last-Event-ID` (a browser's EventSource sends it by itself) or as "
        "`last_event_id`, the stream goes on right after it. While nothing happens, a comment comes every 15 "
        "seconds, unless the server is set to another time. The event `resync` says that something in "
        "between cannot be told any more: read anew what you follow. A stream whose client does not keep up "
        "is ended, and so is one that was asked for with a token or key when that expires or is revoked; the "
        "client resumes.",
        tag="Events",
        question=EventsQuestion,
        headers=EventsHeaders,
        answer=StreamedEvent,
        parts=(Event, Resync),
        media_type=MEDIA_TYPE,
        problems=(*READS_QUERY, TooManyStreamsError, StreamsExhaustedError, *READS_DATABASE),
    ),
)
async def stream_events(request: AnyRequest, context: NamedDependency[Context]) -> ASGIApp:
    """Answer with a stream of events."""
    question = parse_question(EventsQuestion, request.scope["query_string"])
    last = _find_last_event(request, question)
    if request.method == "HEAD":
        return _answer_head
    client = _find_client(request)
    name = f"{client.kind}:{client.id}" if client else f"address:{find_origin(request.scope).address}"
    subscription = await context.changes.subscribe(question, last, name)
    return _stream(context.changes, subscription, _watch(request, client, subscription))


EVENT_ENDPOINTS: tuple[HTTPRouteHandler, ...] = (stream_events,)
"""The stream of events."""


def _find_last_event(request: AnyRequest, question: EventsQuestion) -> EventId | None:
    """Read after which event the stream goes on; the header counts more, as a browser renews only that.

    Raises InvalidParameterError for what is no id.
    """
    name, text = _LAST_EVENT_ID, request.headers.get(_LAST_EVENT_ID)
    if text is None:
        name, text = "last_event_id", None if question.last_event_id is UNSET else question.last_event_id
    if text is None:
        return None
    last = parse_event_id(text)
    if last is None:
        message = "is no id of an event of this stream"
        raise InvalidParameterError(
            f"{name} {message}", errors=[InvalidParameter(parameter=name, message=message)]
        )
    return last


def _find_client(request: AnyRequest) -> Client | None:
    """Tell who asks, if they showed something that holds: the edge found it out."""
    client = request.scope["state"].get("client")
    return client if isinstance(client, Client) else None


def _watch(request: AnyRequest, client: Client | None, subscription: Subscription) -> Callable[[], None]:
    """End a stream when what its client showed holds no more; returns what stops that."""
    if client is None:
        return _do_nothing
    return get_accounts(request).watch(client, partial(subscription.end, "refused"))


def _do_nothing() -> None:
    """Stop nothing: what nobody showed anything for is not watched."""


async def _answer_head(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _stream(changes: Changes, subscription: Subscription, stop_watching: Callable[[], None]) -> ASGIApp:
    async def stream(_scope: Any, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(_send_all(changes, subscription, send))
        leaving = asyncio.create_task(_wait_until_gone(receive))
        ending = asyncio.create_task(_wait_until_ended(subscription))
        tasks = {sending, leaving, ending}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop_watching()
            changes.release(subscription, "left" if leaving.done() else "done")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return stream


async def _send_all(changes: Changes, subscription: Subscription, send: Send) -> None:
    """Send a stream to its end; one whose client has long not read, or that fails, is broken off."""
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
    try:
        async for piece in changes.write(subscription):
            async with asyncio.timeout(changes.limits.send_seconds):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        subscription.end("slow")
    except RequestError as error:
        # The answer has begun, so all that can be said is its end: the client resumes.
        _log.warning("event_stream_failed", error=str(error))
        subscription.end("failed")
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _wait_until_ended(subscription: Subscription) -> None:
    """Wait until a stream has no more time: it was asked for so long only, or it has to end."""
    seconds = subscription.question.seconds
    try:
        async with asyncio.timeout(None if seconds is UNSET else seconds):
            await subscription.has_ended.wait()
    except TimeoutError:
        subscription.end("done")
    await asyncio.sleep(_FAREWELL_SECONDS)
