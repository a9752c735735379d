"""One connection to Redis for many requests at once: calls are written as they come, answers come in order.

The edge asks Redis for very little and very often, and must never wait for it: a call fails at once while
there is no connection, and all calls fail when the oldest got no answer in time. A lost connection is tried
again each second, beside the requests.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from typing import Any, NamedTuple, cast

import hiredis
from redis.asyncio.connection import parse_url

from skatestock.edge.errors import RedisAnswerError, RedisAwayError
from skatestock.telemetry.logs import get_logger

RETRY_SECONDS = 1.0
"""Between two tries to connect."""

_TIMEOUT_SECONDS = 0.25
_MOST_WAITING = 10_000
# What a server that reads too slowly may leave with us.
_MOST_UNSENT_BYTES = 16 * 1_048_576

Answer = asyncio.Future[Any]

_log = get_logger(__name__)


class PipeState(NamedTuple):
    """What there is to say of the connection."""

    connected: bool
    detail: str


class RedisPipe:
    """The connection of one process; safe to use before it is open, and while it is away."""

    def __init__(self, url: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._target = _parse_target(url)
        self._timeout_seconds = timeout_seconds
        self._connection: _Connection | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._error = "not connected yet"
        self.connected = False
        """Whether calls are taken."""
        self.calls = 0
        """How many there were, ever."""

    async def start(self) -> None:
        """Connect, and stay connected until `close`; returns after the first try, whatever came of it."""
        if self._keeping is None:
            tried = asyncio.Event()
            self._keeping = asyncio.create_task(self._keep_connected(tried), name="edge-redis")
            await tried.wait()

    async def close(self) -> None:
        """End the connection; idempotent."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
            self._keeping = None
        self._drop("closed")

    def call(self, *words: bytes) -> Answer:
        """Send a command; the future gives its answer.

        Raises RedisAwayError at once while Redis is away; the future raises it when the answer does not come,
        and RedisAnswerError when it is an error.
        """
        if self._connection is None or not self.connected:
            raise RedisAwayError(self._error)
        self.calls += 1
        return self._connection.call(words)

    def tell(self, *words: bytes) -> None:
        """Send a command whose answer nobody waits for; while Redis is away, none."""
        with contextlib.suppress(RedisAwayError):
            self.call(*words).add_done_callback(_ignore)

    def describe(self) -> PipeState:
        """Tell how the connection is."""
        return PipeState(self.connected, "" if self.connected else self._error)

    async def _keep_connected(self, tried: asyncio.Event) -> None:
        while True:
            try:
                lost = await self._connect()
            except (OSError, TimeoutError, RedisAwayError, RedisAnswerError) as error:
                self._drop(str(error) or f"no answer within {self._timeout_seconds:g} s")
                tried.set()
            else:
                tried.set()
                self._drop(str(await lost))
            await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self) -> asyncio.Future[str]:
        """Open a connection that answers; returns what tells how it ended. Raises what keeps it closed."""
        async with asyncio.timeout(2 * self._timeout_seconds):
            self._connection = await _open(self._target, self._timeout_seconds)
            for command in self._target.greeting:
                await self._connection.call(command)
        self.connected, self._error = True, ""
        _log.info("edge_redis_connected", at=self._target.name)
        return self._connection.lost

    def _drop(self, error: str) -> None:
        if self.connected or not self._error:
            _log.warning("edge_redis_away", at=self._target.name, error=error)
        self.connected, self._error = False, error
        if self._connection is not None:
            self._connection.end(error)
            self._connection = None


class _Connection(asyncio.Protocol):
    """The wire: answers belong to calls by their order."""

    def __init__(self, timeout_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = timeout_seconds
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[Answer, float]] = deque()
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[str] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the wire (called by the event loop)."""
        self._transport = cast(asyncio.Transport, transport)

    def call(self, words: tuple[bytes, ...]) -> Answer:
        """Write a command. Raises RedisAwayError when too much waits already."""
        if self._transport is None or self.lost.done() or self._is_full(self._transport):
            raise RedisAwayError("the connection is lost, or too much waits for it")
        answer: Answer = self._loop.create_future()
        self._waiting.append((answer, self._loop.time()))
        self._transport.write(hiredis.pack_command(cast(Any, words)))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_seconds, self._look)
        return answer

    def _is_full(self, transport: asyncio.Transport) -> bool:
        return len(self._waiting) >= _MOST_WAITING or transport.get_write_buffer_size() > _MOST_UNSENT_BYTES

    def data_received(self, data: bytes) -> None:
        """Give answers to the calls (called by the event loop)."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._settle(reply)
        except hiredis.ProtocolError as error:
            self.end(f"not the protocol of Redis: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits (called by the event loop)."""
        self.end(str(exc) if exc else "the connection was closed")

    def end(self, error: str) -> None:
        """End the connection and fail what waits; idempotent."""
        if not self.lost.done():
            self.lost.set_result(error)
        if self._transport is not None:
            self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        while self._waiting:
            answer, _sent_at = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(RedisAwayError(error))

    def _settle(self, reply: Any) -> None:
        if not self._waiting:
            self.end("an answer that nobody asked for")
            return
        answer, _sent_at = self._waiting.popleft()
        if answer.done():
            return
        if isinstance(reply, hiredis.ReplyError):
            answer.set_exception(RedisAnswerError(str(reply)))
        else:
            answer.set_result(reply)

    def _look(self) -> None:
        """Give the server up when the oldest call has waited too long."""
        self._watch = None
        if not self._waiting:
            return
        due_at = self._waiting[0][1] + self._timeout_seconds
        if self._loop.time() >= due_at:
            self.end(f"no answer within {self._timeout_seconds:g} s")
        else:
            self._watch = self._loop.call_at(due_at, self._look)


class _Target(NamedTuple):
    name: str
    host: str
    port: int
    path: str | None
    tls: ssl.SSLContext | None
    greeting: tuple[tuple[bytes, ...], ...]


def _parse_target(url: str) -> _Target:
    parts: dict[str, Any] = dict(parse_url(url))
    user, password = parts.get("username"), parts.get("password")
    greeting: list[tuple[bytes, ...]] = []
    if password:
        names = [user.encode()] if user else []
        greeting.append((b"AUTH", *names, password.encode()))
    greeting += [(b"SELECT", str(parts.get("db") or 0).encode()), (b"PING",)]
    host, port = parts.get("host", "localhost"), parts.get("port", 6379)
    tls = _make_tls(parts) if url.startswith("rediss:") else None
    return _Target(f"{host}:{port}", host, port, parts.get("path"), tls, tuple(greeting))


def _make_tls(parts: dict[str, Any]) -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=parts.get("ssl_ca_certs"))
    if parts.get("ssl_cert_reqs") == "none":
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


async def _open(target: _Target, timeout_seconds: float) -> _Connection:
    loop = asyncio.get_running_loop()

    def make() -> _Connection:
        return _Connection(timeout_seconds)

    if target.path is not None:
        return (await loop.create_unix_connection(make, target.path))[1]
    return (await loop.create_connection(make, target.host, target.port, ssl=target.tls))[1]


def _ignore(answer: Answer) -> None:
    """Look at what nobody waits for, so that the loop does not complain of it."""
    if not answer.cancelled():
        answer.exception()
