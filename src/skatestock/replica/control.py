"""The control API: the world's clock, its truth, the faults, and the record of every request."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from skatestock.replica.access_log import AccessLog
from skatestock.replica.clock import ReplicaClock
from skatestock.replica.errors import ControlInputError
from skatestock.replica.faults import Fault, FaultBoard
from skatestock.replica.habits import HABITS
from skatestock.replica.reply import Reply, Request, json_reply
from skatestock.replica.schemas import (
    MOST_ADVANCE_DAYS,
    ClockOrder,
    ClockState,
    FaultOrder,
    FaultState,
    ReplicaState,
    ShopState,
)
from skatestock.replica.truth import write_truth
from skatestock.replica.world import World
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.time import parse_moment

Order = TypeVar("Order")

_PLACE = re.compile(r"at `\$\.?([^`]*)`")
_FIELD = re.compile(r"field `([^`]*)`")


class ControlFace:
    """Answers the control API's requests."""

    def __init__(
        self,
        world: World,
        clock: ReplicaClock,
        board: FaultBoard,
        log: AccessLog,
        shop_urls: Mapping[str, str],
    ) -> None:
        self._world = world
        self._clock = clock
        self._board = board
        self._log = log
        self._shop_urls = shop_urls

    def answer(self, request: Request) -> Reply:
        """Answer a request; what cannot be done is 400 with the field at fault."""
        routes = self._routes().get(request.path)
        if routes is None:
            return json_reply({"error": f"there is no {request.path} here"}, 404)
        route = routes.get(request.method)
        if route is None:
            reply = json_reply({"error": f"{request.path} takes {', '.join(routes)}"}, 405)
            reply.headers.append(("Allow", ", ".join(routes)))
            return reply
        try:
            return route(request)
        except ControlInputError as error:
            return json_reply({"error": str(error), "field": error.field}, 400)

    def _routes(self) -> dict[str, dict[str, Callable[[Request], Reply]]]:
        return {
            "/state": {"GET": self._tell_state},
            "/clock": {"POST": self._set_clock},
            "/truth": {"GET": self._tell_truth},
            "/faults": {"GET": self._tell_faults, "POST": self._set_fault, "DELETE": self._clear_faults},
            "/requests": {"GET": self._tell_requests},
        }

    def _tell_state(self, request: Request) -> Reply:
        now = self._clock.now()
        shops = [
            ShopState(shop, HABITS[shop].name, self._shop_urls[shop], *self._world.count_shown(shop))
            for shop in self._world.shops
        ]
        records = self._world.count_truth()
        world = self._world
        return json_reply(ReplicaState(now, world.seed, world.start_at, self._clock.rate, records, shops))

    def _set_clock(self, request: Request) -> Reply:
        order = read_order(request.body, ClockOrder)
        given = [name for name in order.__struct_fields__ if getattr(order, name) is not msgspec.UNSET]
        if len(given) != 1:
            raise ControlInputError("body", "give exactly one of advance_seconds, set_to, follow")
        before = self._world.count_truth()
        if isinstance(order.advance_seconds, int):
            self._clock.set_to(self._clock.now() + timedelta(seconds=order.advance_seconds))
        elif isinstance(order.set_to, datetime):
            self._clock.set_to(self._check_moment(order.set_to))
        elif not isinstance(order.follow, msgspec.UnsetType):
            self._clock.follow(None if order.follow is None else order.follow.rate)
        changes = self._world.count_truth() - before
        return json_reply(ClockState(self._clock.now(), self._clock.rate, changes))

    def _check_moment(self, moment: datetime) -> datetime:
        now = self._clock.now()
        # Compared before any conversion: a moment at the calendar's edge cannot change its zone.
        if not now <= moment <= now + timedelta(days=MOST_ADVANCE_DAYS):
            raise ControlInputError(
                "set_to", f"must not be before {now.isoformat()} nor over {MOST_ADVANCE_DAYS} days after it"
            )
        return moment

    def _tell_truth(self, request: Request) -> Reply:
        self._clock.now()
        since = request.parameters.get("since")
        records = self._world.truth(
            None if since is None else _read_moment("since", since), self._read_shop(request)
        )
        return Reply(200, write_truth(records), "application/x-ndjson")

    def _tell_faults(self, request: Request) -> Reply:
        return json_reply([_describe(fault) for fault in self._board.faults()])

    def _set_fault(self, request: Request) -> Reply:
        order = read_order(request.body, FaultOrder)
        fault = Fault(order.shop, order.kind, order.times, order.path, order.page, order.parameters)
        return json_reply(_describe(self._board.set_fault(fault)), 201)

    def _clear_faults(self, request: Request) -> Reply:
        given = request.parameters
        fault_id = _read_number("fault_id", given["fault_id"]) if "fault_id" in given else None
        return json_reply({"cleared": self._board.clear(given.get("shop"), given.get("kind"), fault_id)})

    def _tell_requests(self, request: Request) -> Reply:
        after = _read_number("after", request.parameters.get("after", "0"))
        return json_reply(self._log.requests(after, self._read_shop(request)))

    def _read_shop(self, request: Request) -> str | None:
        shop = request.parameters.get("shop")
        if shop is not None and shop not in self._world.shops:
            raise ControlInputError("shop", f"{shop!r} is not one of: {', '.join(self._world.shops)}")
        return shop


def read_order(body: bytes, kind: type[Order]) -> Order:
    """Read a JSON body into an order; raises ControlInputError naming the field at fault."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)
        place, name = _PLACE.search(text), _FIELD.search(text)
        parts = [found[1] for found in (place, name) if found and found[1]]
        raise ControlInputError(".".join(parts) or "body", text) from error


def _describe(fault: Fault) -> FaultState:
    known: dict[str, Any] = asdict(fault)
    return msgspec.convert(known, FaultState)


def _read_moment(field: str, text: str) -> datetime:
    try:
        return parse_moment(text)
    except InvalidValueError as error:
        raise ControlInputError(field, str(error)) from error


def _read_number(field: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ControlInputError(field, f"{text!r} is no whole number")
    return int(text)
