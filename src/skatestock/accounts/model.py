"""What an account is and has: pure values, without any secret of theirs."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

from skatestock.accounts.errors import InvalidEmailError

Role = Literal["user", "analyst", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

Scope = Literal["read", "wishlist", "searches"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What an API key may be allowed to: reading with its owner's rate, its wishlist, its saved searches."""

EMAIL_PATTERN = (
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$(?!\n)"
)
"""Addresses as browsers take them: in ASCII, with a domain of at least two names."""

MAX_EMAIL_LENGTH = 254
MAX_WISHES, MAX_SEARCHES, MAX_KEYS, MAX_SESSIONS = 500, 100, 20, 50

SESSION_LIFE = timedelta(days=90)
"""How long a session lives, however often it is refreshed: then its owner signs in again."""

AuditKind = Literal[
    "signed_up",
    "sign_up_repeated",
    "signed_in",
    "sign_in_failed",
    "signed_out",
    "session_revoked",
    "refresh_token_reused",
    "password_changed",
    "password_reset",
    "password_check_failed",
    "key_made",
    "key_used",
    "key_revoked",
    "role_changed",
    "account_disabled",
    "account_enabled",
    "account_deleted",
    "data_exported",
]
AUDIT_KINDS: tuple[AuditKind, ...] = get_args(AuditKind)


class Origin(NamedTuple):
    """Where a request comes from, as sessions and the audit log keep it."""

    address: str
    program: str = ""
    """What the client calls itself."""


class Account(NamedTuple):
    """One person's account."""

    id: int
    email: str
    role: Role
    created_at: datetime
    password_changed_at: datetime
    disabled_at: datetime | None


class Session(NamedTuple):
    """What one sign-in began."""

    id: UUID
    began_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    address: str
    program: str
    ended_at: datetime | None = None
    ended_because: str | None = None


class ApiKey(NamedTuple):
    """What can be told of an API key after it was made."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None = None


class Wish(NamedTuple):
    """A product that somebody watches, and what they wish for."""

    product_id: int
    size: str | None
    target_minor: int | None
    target_currency: str | None
    note: str | None
    added_at: datetime
    changed_at: datetime


class SavedSearch(NamedTuple):
    """A list of products that somebody asks for again, as the query of its address."""

    id: int
    name: str
    query: str
    created_at: datetime
    changed_at: datetime


class AuditEntry(NamedTuple):
    """One thing that happened to an account, or to nobody's."""

    id: int
    at: datetime
    kind: AuditKind
    account_id: int | None
    email: str | None
    address: str | None
    session_id: UUID | None
    key_id: str | None
    detail: str | None


class Caller(NamedTuple):
    """Who makes a request, checked against what is stored now."""

    account_id: int
    email: str
    role: Role
    session_id: UUID | None
    """None for an API key."""
    key_id: str | None
    scopes: Sequence[str]
    """What a key is allowed to; a person is allowed to all of it."""

    def has_scopes(self, wanted: Sequence[str]) -> bool:
        """Tell whether the caller may do what needs these scopes."""
        return self.key_id is None or set(wanted) <= set(self.scopes)


class Client(NamedTuple):
    """Who makes a request, as far as it can be told cheaply: enough to count requests, never to show data."""

    kind: Literal["user", "key"]
    id: str
    tier: str
    """The role that the token names; for a key, that of its owner."""
    claims: Any = None
    """What was verified of an access token, so that it is not verified twice."""


def parse_email(text: str) -> str:
    """Read an e-mail address into the form that is compared; raises InvalidEmailError."""
    if len(text) > MAX_EMAIL_LENGTH or not re.fullmatch(EMAIL_PATTERN, text):
        raise InvalidEmailError("an e-mail address looks like name@example.org, in ASCII")
    return text.lower()


def parse_address(text: str | None) -> str:
    """Read the address that failures are counted under: of IPv6 the network that one customer has."""
    try:
        address = ip_address(re.split("[%/]", text or "")[0])
    except ValueError:
        return "unknown"
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, 64), strict=False))
