"""The edge as an ASGI application in front of another one."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from skatestock.edge.clients import Client, Identify, NameClient
from skatestock.edge.cors import Cors
from skatestock.edge.direct import find_short_way
from skatestock.edge.encodings import choose_encoding
from skatestock.edge.entries import Entry, Variant, is_match
from skatestock.edge.errors import DeadlineError
from skatestock.edge.finishing import Finishing
from skatestock.edge.headers import (
    MOST_HEADER_BYTES,
    MOST_HEADERS,
    Headers,
    build_request_ids,
    count_bytes,
    join_repeated,
)
from skatestock.edge.limiter import ASK, Bucket, Limiter
from skatestock.edge.measures import Measures
from skatestock.edge.memory import Memory
from skatestock.edge.pipe import PipeState, RedisPipe
from skatestock.edge.policies import HeaderLine, Policy
from skatestock.edge.problems import INTERNAL_ERROR, RATE_LIMITED, REQUEST_TIMEOUT, Problem, write_problem
from skatestock.edge.question import Question
from skatestock.edge.questions import Questions, Sources
from skatestock.edge.requests import (
    NO_BODY,
    NOT_SHARED,
    App,
    Receive,
    Request,
    Scope,
    Send,
    find_fault,
    make_address,
)
from skatestock.edge.shared import SharedAnswers
from skatestock.edge.sharing import ShareRules
from skatestock.edge.validity import Validity
from skatestock.telemetry.logs import get_logger

REQUEST_ID_STATE = "skatestock_request_id"
"""Where the application finds the request's id, in the scope's `state`."""

CLIENT_STATE = "client"
"""Where it finds whose credentials the request carries, if they hold."""

ADDRESS_STATE = "address"
"""Where it finds the network address that the request comes from, behind trusted proxies."""

_FROM_MEMORY: HeaderLine = (b"x-cache", b"hit")
_FROM_REDIS: HeaderLine = (b"x-cache", b"hit, shared")
_JOINED: HeaderLine = (b"x-cache", b"joined")
_MISSED: HeaderLine = (b"x-cache", b"miss")
_AGES: tuple[HeaderLine, ...] = tuple((b"age", b"%d" % seconds) for seconds in range(61))
_TIMEOUT_RETRY: HeaderLine = (b"retry-after", b"5")
_VARY_ORIGIN: HeaderLine = (b"vary", b"Origin")

_log = get_logger(__name__)


class EdgeHealth(NamedTuple):
    """What the edge can say of itself."""

    limits: str
    """`shared` between processes, or kept by each process `alone`."""
    detail: str
    cached_answers: int
    cached_bytes: int


class Parts(NamedTuple):
    """What an edge is made of; `build_edge` makes them from settings."""

    app: App
    validity: Validity
    memory: Memory
    shared: SharedAnswers | None
    limiter: Limiter
    policies: dict[str, Policy]
    name_client: NameClient
    identify: Identify | None
    cors: Cors | None
    rules: ShareRules
    missing: tuple[HeaderLine, ...]
    timeout_seconds: float
    pipe: RedisPipe | None
    now: Callable[[], float] = time.monotonic


class Edge:
    """The application with client identity, limits, cache and headers before it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._app = parts.app
        self._memory = parts.memory
        self._validity = parts.validity
        self._limiter = parts.limiter
        self._by_address = parts.policies["address"]
        self._name_client = parts.name_client
        self._identify = parts.identify
        self._now = parts.now
        self._tell_id = build_request_ids()
        self._questions = Questions(
            Sources(
                app=parts.app,
                answer_directly=find_short_way(parts.app),
                memory=parts.memory,
                shared=parts.shared,
                rules=parts.rules,
                finish=self._finish,
                timeout_seconds=parts.timeout_seconds,
            )
        )
        self._telling: asyncio.Task[None] | None = None
        self.measures = Measures()

    async def start(self) -> None:
        """Connect to Redis, if there is one, and begin to tell metrics; called before the first request."""
        if self._parts.pipe is not None:
            await self._parts.pipe.start()
        telling = self.measures.keep_telling(self._memory, self._parts.pipe)
        self._telling = asyncio.create_task(telling, name="edge-measures")

    async def close(self) -> None:
        """End what `start` began; idempotent."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
            self._telling = None
        await self._questions.close()
        if self._parts.pipe is not None:
            await self._limiter.give_back()
            await self._parts.pipe.close()

    def describe(self) -> EdgeHealth:
        """Tell how the edge is, for people: where limits are kept, and what is cached."""
        pipe = self._parts.pipe
        state = PipeState(False, "no Redis is configured") if pipe is None else pipe.describe()
        limits = "shared" if state.connected else "alone"
        return EdgeHealth(limits, state.detail, len(self._memory), self._memory.bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._pass_life(scope, receive, send)
            return
        raw = scope["headers"]
        headers: Headers = dict(raw)
        if len(headers) != len(raw):
            headers = join_repeated(raw)
        now = self._now()
        request_id = self._tell_id(headers.get(b"x-request-id"))
        address = make_address(scope)
        variant = self._find_kept(scope, headers, address, now)
        policy = self._by_address
        if variant is not None and not policy.is_open:
            bucket = self._limiter.find_bucket(self._name_client(scope, headers), policy)
            remaining = self._limiter.try_take(bucket, now)
            if remaining >= 0:
                self.measures.memory += 1
                lines = [
                    *variant.headers,
                    (b"x-request-id", request_id),
                    policy.policy_line,
                    policy.limit_line(remaining),
                    _FROM_MEMORY,
                    _AGES[int(now - self._validity.confirmed_at)],
                ]
                await send({"type": "http.response.start", "status": 200, "headers": lines})
                await send(variant.body_message)
                return
        request = Request(
            scope, receive, send, headers=headers, address=address, now=now, request_id=request_id
        )
        await self._serve(request)

    def _find_kept(self, scope: Scope, headers: Headers, address: bytes, now: float) -> Variant | None:
        """Return what answers the plainest of requests; every other one goes the longer way."""
        if scope["method"] != "GET" or not _NOT_PLAIN.isdisjoint(headers):
            return None
        entry = self._memory.find(address, now)
        if entry is None or len(scope["headers"]) > MOST_HEADERS or count_bytes(headers) > MOST_HEADER_BYTES:
            return None
        return entry.variants.get(choose_encoding(headers.get(b"accept-encoding", b"")))

    async def _serve(self, request: Request) -> None:
        """Answer a request on the longer way; what breaks before an answer has begun becomes a problem."""
        try:
            if await self._admit(request):
                await self._give(request)
        except DeadlineError as error:
            if request.has_begun:
                raise
            self.measures.timed_out += 1
            await self._refuse(request, REQUEST_TIMEOUT, str(error), _TIMEOUT_RETRY)
        except Exception as error:
            # The outermost boundary of a request: whoever asks gets an answer, and the log the reason.
            self.measures.failed += 1
            _log.error(
                "edge_request_failed", request_id=request.id, path=request.scope["path"], exc_info=error
            )
            if request.has_begun:
                raise
            await self._refuse(request, INTERNAL_ERROR, "the log has the details under this request's id")

    async def _admit(self, request: Request) -> bool:
        """Refuse what is too large, or comes too often; tells whether to go on."""
        fault = find_fault(request)
        if fault is not None:
            self.measures.faulty += 1
            await self._refuse(request, *fault)
            return False
        client = None
        if self._identify is not None and request.has_credentials:
            client = await self._identify(request.scope["headers"])
        bucket = self._find_bucket(request, client)
        policy = bucket.policy
        if policy.is_open:
            return True
        remaining = self._limiter.try_take(bucket, request.now)
        if remaining == ASK:
            remaining = await self._limiter.take(bucket)
        request.lines += (policy.policy_line, policy.limit_line(max(0, remaining)))
        if remaining >= 0:
            return True
        self.measures.refused += 1
        seconds = self._limiter.retry_after_seconds(bucket)
        retry = (b"retry-after", b"%d" % seconds)
        await self._refuse(request, RATE_LIMITED, f"the next request may come in {seconds} s", retry)
        return False

    def _find_bucket(self, request: Request, client: Client | None) -> Bucket:
        """Tell the application who asks, and find whose tokens that costs."""
        name, policy = self._name_client(request.scope, request.headers), self._by_address
        state = request.scope.setdefault("state", {})
        state[REQUEST_ID_STATE] = request.id
        state[ADDRESS_STATE] = name.removeprefix("address:")
        if client is not None:
            state[CLIENT_STATE] = client
            name, policy = f"{client.kind}:{client.id}", self._parts.policies[client.kind]
        return self._limiter.find_bucket(name, policy)

    async def _give(self, request: Request) -> None:
        """Answer by CORS, from what is kept, or by the application."""
        cors = self._parts.cors
        if cors is not None:
            if cors.is_preflight(request.scope["method"], request.headers):
                self.measures.preflight += 1
                await self._end(request, HTTPStatus.NO_CONTENT, cors.answer_preflight(request.headers))
                return
            request.lines += cors.find_lines(request.headers)
        if not request.may_share:
            await self._pass_on(request)
            return
        entry = self._memory.find(request.address, request.now)
        if entry is not None:
            self.measures.memory += 1
            await self._answer(request, entry, _FROM_MEMORY)
        elif (question := self._questions.find(request.address)) is None:
            await self._ask(request)
        else:
            await self._join(request, question)

    async def _join(self, request: Request, question: Question) -> None:
        """Wait for the answer that another one asked for; without one that is right, ask for oneself."""
        entry = await question.join()
        if entry is None or not self._validity.is_valid(entry.stamp, entry.tags):
            await self._pass_on(request)
            return
        self.measures.joined += 1
        await self._answer(request, entry, _JOINED)

    async def _ask(self, request: Request) -> None:
        """Ask for an answer that others may be given too."""
        stamp = self._validity.stamp()
        if stamp is None:
            await self._pass_on(request)
            return
        question = await self._questions.ask(request, stamp)
        if question.error is not None:
            raise question.error
        if question.entry is None:
            self.measures.passed += 1
        elif question.is_shared:
            self.measures.shared += 1
            await self._answer(request, question.entry, _FROM_REDIS)
        else:
            self.measures.miss += 1
            await self._answer(request, question.entry, _MISSED)

    async def _pass_on(self, request: Request) -> None:
        """Let the application answer this request alone: it has to begin in time, and may then go on."""
        self.measures.passed += 1
        seconds = self._parts.timeout_seconds
        limit = asyncio.timeout(seconds)
        finishing = self._finish(request, partial(limit.reschedule, None))
        try:
            async with limit:
                await self._app(request.scope, request.receive_rest, finishing.send)
        except TimeoutError as error:
            if limit.expired():
                raise DeadlineError(f"no answer within {seconds:g} s") from error
            raise

    def _finish(self, request: Request, on_start: Callable[[], None] | None = None) -> Finishing:
        cors = self._parts.cors
        added = (_VARY_ORIGIN,) if cors is not None and cors.is_listed else ()
        return Finishing(request, self._parts.missing, added, on_start)

    async def _answer(self, request: Request, entry: Entry, source: HeaderLine) -> None:
        """Send a kept answer in the encoding that was asked for, or say that it is known already."""
        encoding = choose_encoding(request.headers.get(b"accept-encoding", b""))
        variant = entry.variants.get(encoding)
        if variant is None:
            size = entry.size
            variant = entry.find_variant(encoding) or await entry.make_variant(encoding)
            if entry.size != size:
                self._memory.count_again(entry)
        age = _AGES[max(0, min(60, int(request.now - self._validity.confirmed_at)))]
        added = [*request.lines, source, age]
        condition = request.headers.get(b"if-none-match")
        if condition is not None and is_match(condition, variant.etag):
            self.measures.not_modified += 1
            await request.start(HTTPStatus.NOT_MODIFIED, [*variant.list_unchanged(), *added])
            await request.send(NO_BODY)
        else:
            await request.start(HTTPStatus.OK, [*variant.headers, *added])
            await request.send(NO_BODY if request.is_head else variant.body_message)

    async def _refuse(self, request: Request, problem: Problem, detail: str, *extra: HeaderLine) -> None:
        headers, body = write_problem(problem, detail, request.id.encode("latin-1"))
        await self._end(request, problem.status, [*headers, *extra], body)

    async def _end(self, request: Request, status: int, headers: list[HeaderLine], body: bytes = b"") -> None:
        """Send an answer of the edge's own."""
        await request.start(status, [*headers, *self._parts.missing, *request.lines])
        body = b"" if request.is_head else body
        await request.send({"type": "http.response.body", "body": body, "more_body": False})

    async def _pass_life(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await self.start()
        try:
            await self._app(scope, receive, send)
        finally:
            await self.close()


# With one of these, a request is not the plain question for a kept answer.
_NOT_PLAIN = NOT_SHARED | {b"if-none-match", b"origin"}
