"""The shapes of what is sent to, and answered by, the endpoints of accounts."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from skatestock.accounts.model import EMAIL_PATTERN, MAX_EMAIL_LENGTH, AuditKind, Role, Scope
from skatestock.accounts.passwords import MAX_CHARACTERS, MIN_CHARACTERS
from skatestock.api.schemas import MAX_BIGINT, SOME_TEXT
from skatestock.api.wish_schemas import ExportedWish, SavedSearch

Email = Annotated[
    str,
    Meta(
        description="An e-mail address in ASCII; capital letters make no difference.",
        examples=["kareem@example.org"],
        pattern=EMAIL_PATTERN,
        max_length=MAX_EMAIL_LENGTH,
    ),
]
Password = Annotated[
    str,
    Meta(
        description="The password, exactly as it was chosen.",
        examples=["four words nobody guesses"],
        min_length=1,
        max_length=MAX_CHARACTERS,
    ),
]
NewPassword = Annotated[
    str,
    Meta(
        description="A new password: of any signs, but none of the most common ones and not the e-mail "
        "address.",
        examples=["four words nobody guesses"],
        min_length=MIN_CHARACTERS,
        max_length=MAX_CHARACTERS,
    ),
]
RefreshToken = Annotated[
    str,
    Meta(
        description="Good for one `POST /auth/refresh`.",
        examples=["ssr_bM5Zq0sV3dYx1kT9uWcE7aRfH2jLpN4oGiQy8mXvKtA"],
        min_length=1,
        max_length=200,
    ),
]
KeyId = Annotated[
    str, Meta(description="The key's id, which is no secret.", examples=["mzxw6ytboi2gk3tu"], max_length=64)
]
SessionId = Annotated[
    UUID, Meta(description="The session's id.", examples=["0b3f8a52-c7e9-4b1f-9d3a-5c2e7f10a6d4"])
]
RoleWord = Annotated[
    Role, Meta(description="What the account may do: `user`, `analyst` or `admin`.", examples=["user"])
]
Scopes = Annotated[
    tuple[Scope, ...],
    Meta(
        description="What the key is allowed to: `read` (who it is; the catalogue at its owner's rate), "
        "`wishlist`, `searches`.",
        examples=[["read", "wishlist"]],
        min_length=1,
        max_length=3,
    ),
]
KeyName = Annotated[
    str,
    Meta(
        description="What you call it, to know it again.",
        examples=["price alarm at home"],
        min_length=1,
        max_length=80,
        pattern=SOME_TEXT,
    ),
]
BeganAt = Annotated[
    datetime, Meta(description="When it began, in UTC, whole seconds.", examples=["2026-03-01T12:30:00Z"])
]
CreatedAt = Annotated[
    datetime, Meta(description="When it was made, in UTC, whole seconds.", examples=["2026-03-01T12:30:00Z"])
]
ExpiresAt = Annotated[
    datetime, Meta(description="When it ends by itself.", examples=["2026-05-30T12:30:00Z"])
]
NetworkAddress = Annotated[
    str, Meta(description="The network address it was seen at last.", examples=["203.0.113.7"])
]


class SignUp(Struct, frozen=True, kw_only=True):
    """Who wants an account."""

    email: Email
    password: NewPassword


class SignUpAnswer(Struct, frozen=True, kw_only=True):
    """That we have heard it: the same, whether or not the e-mail address had an account."""

    status: Annotated[Literal["accepted"], Meta(description="Always `accepted`.", examples=["accepted"])]
    email: Email
    next: Annotated[str, Meta(description="What to do now.", examples=["POST /auth/token"])]


class SignIn(Struct, frozen=True, kw_only=True):
    """Who signs in."""

    email: Email
    password: Password


class Refresh(Struct, frozen=True, kw_only=True):
    """The refresh token that was given last."""

    refresh_token: RefreshToken


class Tokens(Struct, frozen=True, kw_only=True):
    """The tokens of a session."""

    access_token: Annotated[
        str,
        Meta(description="Goes with every request, as `Authorization: Bearer`.", examples=["eyJhbGciOi…"]),
    ]
    token_type: Annotated[Literal["Bearer"], Meta(description="Always `Bearer`.", examples=["Bearer"])]
    expires_in: Annotated[
        int, Meta(description="For how many seconds the access token is good.", examples=[600], ge=1)
    ]
    refresh_token: RefreshToken
    role: RoleWord


class Me(Struct, frozen=True, kw_only=True):
    """Who you are."""

    email: Email
    role: RoleWord
    created_at: CreatedAt
    password_changed_at: Annotated[
        datetime, Meta(description="When the password was last changed.", examples=["2026-03-01T12:30:00Z"])
    ]
    key_id: Annotated[
        str | None,
        Meta(description="The API key you came with; null for a person.", examples=["mzxw6ytboi2gk3tu"]),
    ]
    scopes: Annotated[
        tuple[Scope, ...] | None,
        Meta(
            description="What that key is allowed to; null for a person, who may do everything.",
            examples=[["read"]],
        ),
    ]


class PasswordChange(Struct, frozen=True, kw_only=True):
    """The password as it is and as it shall be."""

    current_password: Password
    new_password: NewPassword


class Confirmation(Struct, frozen=True, kw_only=True):
    """The password, to confirm what cannot be undone."""

    password: Password


class KeyRequest(Struct, frozen=True, kw_only=True):
    """Which API key to make."""

    name: KeyName
    scopes: Scopes
    expires_in_days: Annotated[
        Annotated[int, Meta(ge=1, le=3650)] | None,
        Meta(description="After how many days it ends, up to 3650; null for never.", examples=[90]),
    ] = 365


class KeyItem(Struct, frozen=True, kw_only=True):
    """An API key, without its secret."""

    id: KeyId
    name: KeyName
    scopes: Scopes
    created_at: CreatedAt
    expires_at: Annotated[
        datetime | None,
        Meta(description="When it ends by itself; null for never.", examples=["2026-05-30T12:30:00Z"]),
    ]
    used_at: Annotated[
        datetime | None,
        Meta(
            description="When it was last used, to the minute; null for never.",
            examples=["2026-03-02T08:15:00Z"],
        ),
    ]


class NewKey(Struct, frozen=True, kw_only=True):
    """An API key that was just made."""

    key: Annotated[
        str,
        Meta(
            description="The key itself. It is shown now and never again: only its hash is kept.",
            examples=["ssk_mzxw6ytboi2gk3tu_bM5Zq0sV3dYx1kT9uWcE7aRfH2jLpN4oGiQy8mXvKtA"],
        ),
    ]
    made: Annotated[KeyItem, Meta(description="What the list of keys says of it.")]


class KeyList(Struct, frozen=True, kw_only=True):
    """Your API keys, the newest first; revoked ones are not shown."""

    items: Annotated[tuple[KeyItem, ...], Meta(description="The keys.")]


class SessionItem(Struct, frozen=True, kw_only=True):
    """What one sign-in began."""

    id: SessionId
    began_at: BeganAt
    refreshed_at: Annotated[
        datetime, Meta(description="When it was last refreshed.", examples=["2026-03-01T12:40:00Z"])
    ]
    expires_at: ExpiresAt
    address: NetworkAddress
    program: Annotated[
        str, Meta(description="What the client calls itself (`User-Agent`).", examples=["curl/8.5.0"])
    ]
    current: Annotated[bool, Meta(description="Whether it is the one you ask with.", examples=[True])]


class SessionList(Struct, frozen=True, kw_only=True):
    """Your sessions that are open, the newest first."""

    items: Annotated[tuple[SessionItem, ...], Meta(description="The sessions.")]


AuditId = Annotated[int, Meta(description="Its place in the log.", examples=[812], ge=1, le=MAX_BIGINT)]


class AuditItem(Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    id: AuditId
    at: Annotated[datetime, Meta(description="When.", examples=["2026-03-01T12:30:00Z"])]
    kind: Annotated[AuditKind, Meta(description="What.", examples=["signed_in"])]
    email: Annotated[
        str | None,
        Meta(
            description="To whose account; null for nobody's, such as a sign-in with an unknown address.",
            examples=["kareem@example.org"],
        ),
    ]
    address: Annotated[
        str | None,
        Meta(description="From which network address; null for the operator.", examples=["203.0.113.7"]),
    ]
    session_id: Annotated[
        UUID | None,
        Meta(
            description="In which session, where in one.", examples=["0b3f8a52-c7e9-4b1f-9d3a-5c2e7f10a6d4"]
        ),
    ]
    key_id: Annotated[
        str | None, Meta(description="With which API key, where with one.", examples=["mzxw6ytboi2gk3tu"])
    ]
    detail: Annotated[str | None, Meta(description="More, where there is more.", examples=["user to admin"])]


class AuditList(Struct, frozen=True, kw_only=True):
    """What happened, the newest first."""

    items: Annotated[tuple[AuditItem, ...], Meta(description="What happened.")]
    next_before: Annotated[
        int | None,
        Meta(description="The `before` of the following page; null where there is none.", examples=[700]),
    ]


class ExportedSession(SessionItem, frozen=True, kw_only=True):
    """What one sign-in began, and how it ended."""

    ended_at: Annotated[
        datetime | None,
        Meta(description="When it was ended; null for never.", examples=["2026-03-04T10:00:00Z"]),
    ]
    ended_because: Annotated[
        str | None, Meta(description="By what it was ended; null for nothing.", examples=["signed_out"])
    ]


class ExportedKey(KeyItem, frozen=True, kw_only=True):
    """An API key, without its secret, and whether it was revoked."""

    revoked_at: Annotated[
        datetime | None,
        Meta(description="When it was revoked; null for never.", examples=["2026-03-04T10:00:00Z"]),
    ]


class Export(Struct, frozen=True, kw_only=True):
    """Everything that we hold of you, but for hashes of secrets."""

    exported_at: Annotated[
        datetime, Meta(description="When this was written.", examples=["2026-03-01T12:30:00Z"])
    ]
    account: Annotated[Me, Meta(description="Your account.")]
    sessions: Annotated[
        tuple[ExportedSession, ...],
        Meta(description="Your sessions, also those that ended in the last 30 days."),
    ]
    keys: Annotated[
        tuple[ExportedKey, ...],
        Meta(description="Your API keys, also those that ended in the last 30 days."),
    ]
    wishlist: Annotated[tuple[ExportedWish, ...], Meta(description="Your wishlist.")]
    searches: Annotated[tuple[SavedSearch, ...], Meta(description="Your saved searches.")]
    audit: Annotated[tuple[AuditItem, ...], Meta(description="What the audit log says of you.")]
