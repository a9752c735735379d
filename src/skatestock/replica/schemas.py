"""What the control API is told and tells."""

from datetime import datetime
from typing import Annotated, Any

import msgspec

MOST_ADVANCE_DAYS = 400

_Seconds = Annotated[int, msgspec.Meta(ge=0, le=MOST_ADVANCE_DAYS * 86_400)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Rate = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class FollowOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Follow real time, so many times as fast."""

    rate: _Rate = 1.0


class ClockOrder(msgspec.Struct, forbid_unknown_fields=True):
    """How to set the clock: exactly one of the three; `follow: null` makes it stand."""

    advance_seconds: _Seconds | msgspec.UnsetType = msgspec.UNSET
    set_to: _Moment | msgspec.UnsetType = msgspec.UNSET
    follow: FollowOrder | msgspec.UnsetType | None = msgspec.UNSET


class FaultOrder(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A fault to set; what it may say stands in `docs/REPLICA.md`."""

    shop: str
    kind: str
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    path: str | None = None
    page: Annotated[int, msgspec.Meta(ge=1)] | None = None
    parameters: dict[str, Any] = {}


class FaultState(msgspec.Struct):
    """A fault that is set, and how often it has played."""

    fault_id: int
    shop: str
    kind: str
    times: int | None
    path: str | None
    page: int | None
    parameters: dict[str, Any]
    played: int


class ShopState(msgspec.Struct):
    """One shop: where it is and how much it shows."""

    slug: str
    name: str
    url: str
    listings: int
    offers: int


class ReplicaState(msgspec.Struct):
    """The replica as a whole; `rate` is null while the clock stands."""

    now: datetime
    seed: int
    start_at: datetime
    rate: float | None
    truth_records: int
    shops: list[ShopState]
    demo: bool = True


class ClockState(msgspec.Struct):
    """What setting the clock did."""

    now: datetime
    rate: float | None
    changes: int


class RequestRecord(msgspec.Struct, frozen=True):
    """One request as it arrived; `status` is 0 when it was never answered.

    `monotonic_seconds` is the system's monotonic clock at the replica: what spacing on the wire is judged by.
    """

    number: int
    at: datetime
    monotonic_seconds: float
    shop: str
    method: str
    target: str
    status: int
    user_agent: str
    faults: tuple[str, ...]
