"""Scripted faults: every way a shop's answers go wrong, and the board on which they are set and cleared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, NamedTuple

from skatestock.replica.errors import ControlInputError
from skatestock.replica.model import MIXED_SHOP_SLUGS

EVERY_SHOP = "*"
CATALOGUE_PATHS = (
    "/products.json",
    "/collections/*/products.json",
    "/wp-json/wc/store/v1/products",
    "/store",
    "/catalogue",
)
_ROBOTS = ("/robots.txt",)


class Stage(StrEnum):
    """Where in the making of an answer a fault acts."""

    ANSWER = "answer"
    CONTENTS = "contents"
    TRANSFER = "transfer"


class Parameter(NamedTuple):
    """A fault's setting: its default, and what it may be (a span of whole numbers, or a choice of words)."""

    default: int | str
    says: str
    low: int = 0
    high: int = 2**40
    choices: tuple[str, ...] = ()

    def check(self, name: str, value: object) -> int | str:
        """Return the value if it may be set; raises ControlInputError naming the parameter."""
        field_name = f"parameters.{name}"
        if isinstance(self.default, str):
            allowed = ", ".join(self.choices) or "printable ASCII text"
            fits = isinstance(value, str) and value.isascii() and value.isprintable()
            if not isinstance(value, str) or not fits or (self.choices and value not in self.choices):
                raise ControlInputError(field_name, f"{value!r} is not one of: {allowed}")
            return value
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            raise ControlInputError(
                field_name, f"{value!r} is no whole number from {self.low} to {self.high}"
            )
        return value


class FaultKind(NamedTuple):
    """One way of going wrong; `paths` are where it plays unless told otherwise, `never` where it cannot."""

    stage: Stage
    says: str
    parameters: Mapping[str, Parameter] = MappingProxyType({})
    paths: tuple[str, ...] = CATALOGUE_PATHS
    never: tuple[str, ...] = ()


_POSITION = Parameter(0, "which listing of the whole catalogue, counted from 0")
_PLACE = Parameter(0, "which listing of the page, counted from 0")
_COUNT = Parameter(1, "how many listings", low=1, high=100_000)
_MANY = Parameter(100_000, "how many listings from there on, by default all", low=1, high=100_000)
_SHARE = Parameter(50, "how much of the body is sent, in percent", low=0, high=99)
_RETRY_FORMS = ("seconds", "date", "none")


def _retry_after(form: str) -> dict[str, Parameter]:
    return {
        "retry_after_seconds": Parameter(30, "how long to stay away", high=10_000_000),
        "form": Parameter(form, "how Retry-After says it, or that it is not sent", choices=_RETRY_FORMS),
    }


FAULT_KINDS: dict[str, FaultKind] = {
    "not_found": FaultKind(Stage.ANSWER, "404 with the shop's HTML page"),
    "too_many_requests": FaultKind(Stage.ANSWER, "429 with Retry-After", _retry_after("seconds")),
    "security_rejection": FaultKind(Stage.ANSWER, "430, as Shopify turns robots away for hours"),
    "bot_wall": FaultKind(
        Stage.ANSWER,
        "a page that asks whether we are a person",
        {"status": Parameter(403, "with which status it answers", low=200, high=599)},
    ),
    "unavailable": FaultKind(Stage.ANSWER, "503, with or without Retry-After", _retry_after("none")),
    "html_instead_of_json": FaultKind(Stage.ANSWER, "200 with an HTML page where JSON belongs"),
    "password_page": FaultKind(
        Stage.ANSWER,
        "302 to /password, which answers 200 with HTML: a shop that closed",
        paths=("*",),
        never=("/password", "/robots.txt"),
    ),
    "redirect_loop": FaultKind(Stage.ANSWER, "302 to the same address, for ever"),
    "redirect_off_host": FaultKind(
        Stage.ANSWER,
        "302 to another host",
        {"location": Parameter("http://elsewhere.invalid/products.json", "where it leads")},
    ),
    "robots_5xx": FaultKind(
        Stage.ANSWER,
        "a server error instead of robots.txt",
        {"status": Parameter(503, "which one", low=500, high=599)},
        paths=_ROBOTS,
    ),
    "robots_timeout": FaultKind(
        Stage.ANSWER,
        "silence instead of robots.txt, then a closed connection",
        {"seconds": Parameter(60, "how long the silence lasts", high=3600)},
        paths=_ROBOTS,
    ),
    "robots_disallows": FaultKind(
        Stage.ANSWER,
        "a robots.txt that disallows what begins so",
        {"disallow": Parameter("/", "the beginning of the paths")},
        paths=_ROBOTS,
    ),
    "connection_reset": FaultKind(Stage.ANSWER, "the connection is reset without an answer"),
    "page_drift": FaultKind(
        Stage.CONTENTS,
        "listings come or go in front while the catalogue is paged: later pages repeat or skip some",
        {
            "change": Parameter("inserted", "what happens in front", choices=("inserted", "removed")),
            "count": _COUNT,
            "from_page": Parameter(2, "the first page that is served after it happened", low=1),
        },
    ),
    "listing_repeated": FaultKind(
        Stage.CONTENTS, "one listing stands in the catalogue twice", {"position": _POSITION}
    ),
    "listing_twin": FaultKind(
        Stage.CONTENTS,
        "one listing stands in the catalogue a second time, under ids and a handle of its own",
        {"position": _POSITION},
    ),
    "listing_missing": FaultKind(
        Stage.CONTENTS,
        "listings are left out of the catalogue while their pages stay",
        {"position": _POSITION, "count": _COUNT},
    ),
    "price_zero": FaultKind(Stage.CONTENTS, "prices are 0.00", {"position": _PLACE, "count": _MANY}),
    "price_times_100": FaultKind(
        Stage.CONTENTS, "prices are a hundred times too high", {"position": _PLACE, "count": _MANY}
    ),
    "empty_catalogue": FaultKind(Stage.CONTENTS, 'every page is `{"products": []}`'),
    "short_catalogue": FaultKind(
        Stage.CONTENTS,
        "the catalogue ends early: later pages are empty",
        {"pages": Parameter(1, "how many pages there are", low=1)},
    ),
    "bad_product": FaultKind(
        Stage.CONTENTS,
        "one product of the page is malformed",
        {
            "position": _PLACE,
            "how": Parameter(
                "variants_null",
                "in which way",
                choices=(
                    "variants_null",
                    "variants_missing",
                    "price_text",
                    "other_currency",
                    "no_id",
                    "not_an_object",
                ),
            ),
        },
    ),
    "unexpected_json": FaultKind(
        Stage.TRANSFER,
        "JSON of another shape",
        {"shape": Parameter("list", "which", choices=("list", "object", "text", "null"))},
    ),
    "invalid_utf8": FaultKind(Stage.TRANSFER, "bytes in the first title that are no UTF-8"),
    "wrong_charset": FaultKind(
        Stage.TRANSFER,
        "another encoding, labelled UTF-8; an é in the first description makes sure that it shows",
        {"charset": Parameter("latin-1", "which", choices=("latin-1", "utf-16"))},
    ),
    "bom": FaultKind(Stage.TRANSFER, "a byte order mark before the body"),
    "slow_drip": FaultKind(
        Stage.TRANSFER,
        "the body arrives in drops",
        {"bytes_per_second": Parameter(1000, "how fast", low=1)},
    ),
    "truncated_body": FaultKind(
        Stage.TRANSFER,
        "the body ends early; Content-Length promises all of it, or admits it",
        {
            "share_percent": _SHARE,
            "content_length": Parameter("whole", "what the header says", choices=("whole", "sent")),
        },
    ),
    "truncated_gzip": FaultKind(
        Stage.TRANSFER, "a gzip body that ends early in an answer that is whole", {"share_percent": _SHARE}
    ),
    "decompression_bomb": FaultKind(
        Stage.TRANSFER,
        "gzip of zeros, streamed: small on the wire, huge in memory",
        {"size_bytes": Parameter(2**30, "how many zeros", low=1)},
    ),
}


@dataclass(slots=True)
class Fault:
    """A fault that is set: what, where, how often (`times` None: until cleared), and how often it played."""

    shop: str
    kind: str
    times: int | None = None
    path: str | None = None
    page: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    fault_id: int = 0
    played: int = 0

    def __post_init__(self) -> None:
        _check_shop(self.shop, MIXED_SHOP_SLUGS)
        kind = FAULT_KINDS.get(self.kind)
        if kind is None:
            raise ControlInputError("kind", f"{self.kind!r} is not one of: {', '.join(FAULT_KINDS)}")
        if self.times is not None and self.times < 1:
            raise ControlInputError("times", "a fault plays once or more; leave it out to play until cleared")
        for name in self.parameters:
            if name not in kind.parameters:
                allowed = ", ".join(kind.parameters) or "none"
                raise ControlInputError(f"parameters.{name}", f"{self.kind} has the parameters: {allowed}")
        self.parameters = {
            name: parameter.check(name, self.parameters.get(name, parameter.default))
            for name, parameter in kind.parameters.items()
        }

    @property
    def stage(self) -> Stage:
        """Tell where the fault acts."""
        return FAULT_KINDS[self.kind].stage

    @property
    def is_spent(self) -> bool:
        """Tell whether it has played as often as it should."""
        return self.times is not None and self.played >= self.times

    def number(self, name: str) -> int:
        """Give a parameter that is a whole number."""
        return int(self.parameters[name])

    def applies_to(self, shop: str, path: str, page: int) -> bool:
        """Tell whether it would play on this request."""
        kind = FAULT_KINDS[self.kind]
        if self.is_spent or self.shop not in (EVERY_SHOP, shop) or self.page not in (None, page):
            return False
        patterns = kind.paths if self.path is None else (self.path,)
        return path not in kind.never and any(fnmatchcase(path, pattern) for pattern in patterns)


class FaultBoard:
    """The faults that are set, in the order in which they were set."""

    def __init__(self, shops: Sequence[str] = MIXED_SHOP_SLUGS) -> None:
        self._shops = shops
        self._faults: list[Fault] = []
        self._last_id = 0

    def set_fault(self, fault: Fault) -> Fault:
        """Set a fault; it gets its identifier here. Raises ControlInputError for a shop that is not there."""
        _check_shop(fault.shop, self._shops)
        self._last_id += 1
        fault.fault_id = self._last_id
        self._faults.append(fault)
        return fault

    def clear(self, shop: str | None = None, kind: str | None = None, fault_id: int | None = None) -> int:
        """Clear the faults that match everything given (all without anything); returns how many."""
        kept = [
            fault
            for fault in self._faults
            if (shop is not None and fault.shop != shop)
            or (kind is not None and fault.kind != kind)
            or (fault_id is not None and fault.fault_id != fault_id)
        ]
        cleared = len(self._faults) - len(kept)
        self._faults = kept
        return cleared

    def faults(self) -> list[Fault]:
        """List what is set, spent ones too, so that a test can ask how often each played."""
        return list(self._faults)

    def take(self, shop: str, path: str, page: int) -> list[Fault]:
        """Take the faults that play on this request and count them as played.

        One that answers in the shop's place plays alone; the others play together.
        """
        matching = [fault for fault in self._faults if fault.applies_to(shop, path, page)]
        answering = [fault for fault in matching if fault.stage is Stage.ANSWER][:1]
        for fault in answering or matching:
            fault.played += 1
        return answering or matching


def _check_shop(shop: str, shops: Sequence[str]) -> None:
    if shop not in (EVERY_SHOP, *shops):
        raise ControlInputError("shop", f"{shop!r} is not one of: {', '.join(shops)}, {EVERY_SHOP}")


def of_stage(faults: Iterable[Fault], stage: Stage) -> list[Fault]:
    """Pick the faults that act at one stage."""
    return [fault for fault in faults if fault.stage is stage]
