"""The replica's servers: each shop on a port of its own, the control API on another, all on loopback."""

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from skatestock.replica.access_log import AccessLog
from skatestock.replica.clock import ReplicaClock
from skatestock.replica.control import ControlFace
from skatestock.replica.errors import ReplicaError
from skatestock.replica.faults import Fault, FaultBoard
from skatestock.replica.model import INVENTED_PLATFORMS
from skatestock.replica.platform_faces import routes_of
from skatestock.replica.reply import Reply, Request
from skatestock.replica.shop_face import ShopFace
from skatestock.replica.truth_file import TruthFile
from skatestock.replica.wire import Handler, Listener
from skatestock.replica.world import World

LOOPBACK = "127.0.0.1"
_TICK_SECONDS = 0.5


class Addresses(NamedTuple):
    """Where the replica answers."""

    control_url: str
    shop_urls: Mapping[str, str]


class ReplicaServers:
    """Serves a world; an async context manager, and the in-process hand on its clock, faults and log.

    With a base port, the control API is on it and the shops follow in their order; without one the kernel
    chooses. `platforms` names the platform that a shop plays; without it the invented shops play their own
    and the others Shopify. Everything runs in the calling event loop.
    """

    def __init__(
        self,
        world: World,
        *,
        host: str = LOOPBACK,
        base_port: int | None = None,
        truth_file: Path | None = None,
        clock_file: Path | None = None,
        platforms: Mapping[str, str] | None = None,
    ) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ReplicaError(f"a replica serves on loopback only, not on {host}")
        self.world = world
        self.clock = ReplicaClock(world, clock_file)
        self.board = FaultBoard(world.shops)
        self.log = AccessLog()
        played = INVENTED_PLATFORMS | dict(platforms or {})
        self._routes = {shop: routes_of(platform) for shop, platform in played.items()}
        self._host = host
        self._base_port = base_port
        self._truth_file = None if truth_file is None else TruthFile(truth_file, world)
        self._listeners: list[Listener] = []
        self._ticking: asyncio.Task[None] | None = None
        self._addresses: Addresses | None = None

    @property
    def addresses(self) -> Addresses:
        """Tell where it answers; raises ReplicaError before it has started."""
        if self._addresses is None:
            raise ReplicaError("the replica has not started")
        return self._addresses

    def set_fault(self, fault: Fault) -> Fault:
        """Set a fault from within the process."""
        return self.board.set_fault(fault)

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def wait_for_failure(self) -> None:
        """Wait for ever, unless time or the truth file fails: then raise what went wrong."""
        if self._ticking is not None:
            await self._ticking

    async def close(self) -> None:
        """Stop serving and write the rest of the truth."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
            self._ticking = None
        for listener in self._listeners:
            await listener.close()
        self._listeners.clear()
        if self._truth_file is not None:
            self._truth_file.close()

    async def _open(self) -> None:
        if self._truth_file is not None:
            self._truth_file.open()
        shop_urls: dict[str, str] = {}
        for place, shop in enumerate(self.world.shops, start=1):
            shop_urls[shop] = await self._open_shop(shop, place)
        # Last, so that whoever gets an answer from it finds every shop open.
        control = ControlFace(self.world, self.clock, self.board, self.log, shop_urls)
        control_url = await self._listen(self._saving_truth(control.answer), 0)
        self._addresses = Addresses(control_url, shop_urls)
        self._ticking = asyncio.create_task(self._tick())

    async def _open_shop(self, shop: str, place: int) -> str:
        face = ShopFace(self.world, self.clock, self.board, shop, origin="", routes=self._routes.get(shop))

        def handle(request: Request) -> Reply:
            reply = face.answer(request)
            self.log.record(shop, request, reply, self.world.now)
            return reply

        # The port is known only once it listens, and the pages name it.
        face.origin = await self._listen(handle, place)
        return face.origin

    async def _listen(self, handle: Handler, place: int) -> str:
        listener = Listener(handle)
        self._listeners.append(listener)
        wanted = 0 if self._base_port is None else self._base_port + place
        try:
            port = await listener.open(self._host, wanted)
        except OSError as error:
            raise ReplicaError(
                f"the replica cannot listen on {self._host}:{wanted}: {error.strerror}"
            ) from error
        return f"http://{self._host}:{port}"

    def _saving_truth(self, handle: Handler) -> Handler:
        def handle_and_save(request: Request) -> Reply:
            reply = handle(request)
            self._save_truth()
            return reply

        return handle_and_save

    def _save_truth(self) -> None:
        if self._truth_file is not None:
            self._truth_file.write_new()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self.clock.now()
            self._save_truth()


async def serve(
    world: World,
    *,
    host: str = LOOPBACK,
    base_port: int | None = None,
    truth_file: Path | None = None,
    clock_file: Path | None = None,
    follow_rate: float | None = None,
    platforms: Mapping[str, str] | None = None,
    on_ready: Callable[[Addresses], None] | None = None,
) -> None:
    """Serve a world until cancelled.

    `follow_rate` sets the clock going unless a clock file already says how it goes. `on_ready` is told the
    addresses once every port listens. Raises ReplicaError when a port is taken, OSError when the truth cannot
    be written.
    """
    servers = ReplicaServers(
        world,
        host=host,
        base_port=base_port,
        truth_file=truth_file,
        clock_file=clock_file,
        platforms=platforms,
    )
    async with servers:
        if follow_rate is not None and not servers.clock.resumed:
            servers.clock.follow(follow_rate)
        if on_ready is not None:
            on_ready(servers.addresses)
        await servers.wait_for_failure()
