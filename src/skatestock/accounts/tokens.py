"""What clients carry: signed access tokens, opaque refresh tokens and API keys, and where they stand."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import jwt

from skatestock.accounts.errors import TokenRefusedError
from skatestock.accounts.model import ROLES, Role
from skatestock.accounts.signing_keys import SigningKeys

ISSUER, AUDIENCE = "skatestock", "skatestock-api"
_ALGORITHM, _TYPE = "HS256", "at+jwt"
_CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp", "jti", "role"]
_MAX_TOKEN_LENGTH = 2048
# Processes' clocks differ by a little; a token from further in the future was not made by us.
_SKEW_SECONDS = 60

_REFRESH_TOKEN = re.compile(r"ssr_[A-Za-z0-9_-]{43}")
_API_KEY = re.compile(r"ssk_(?P<id>[a-z2-7]{16})_(?P<secret>[A-Za-z0-9_-]{43})")


class Claims(NamedTuple):
    """What a verified access token says; whether its session still lives is for the database to tell."""

    account_id: int
    session_id: UUID
    role: Role
    issued_at: int
    expires_at: int


class Credential(NamedTuple):
    """What a request shows of itself: an access token, or an API key."""

    text: str
    is_key: bool


class NewSecret(NamedTuple):
    """A secret to be handed out once, and what is stored of it."""

    text: str
    hash: bytes
    id: str = ""

    def __repr__(self) -> str:
        """Show nothing of it."""
        return f"NewSecret({self.id!r})"


def issue_access_token(
    keys: SigningKeys, account_id: int, session_id: UUID, role: Role, *, now: datetime, life_seconds: int
) -> str:
    """Sign an access token with the first key."""
    issued_at = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(account_id),
        "sid": str(session_id),
        "iat": issued_at,
        "exp": issued_at + life_seconds,
        "jti": secrets.token_urlsafe(12),
        "role": role,
    }
    headers = {"kid": keys[0].kid, "typ": _TYPE}
    return jwt.encode(claims, keys[0].secret, algorithm=_ALGORITHM, headers=headers)


def read_access_token(keys: SigningKeys, token: str, *, now: datetime) -> Claims:
    """Verify an access token's signature, issuer, audience and times; raises TokenRefusedError.

    The algorithm is ours to choose, whatever the token's header says.
    """
    if len(token) > _MAX_TOKEN_LENGTH:
        raise TokenRefusedError("the access token is too long")
    try:
        header = jwt.get_unverified_header(token)
        secret = next(key.secret for key in keys if key.kid == header.get("kid"))
        if header.get("typ") != _TYPE:
            raise TokenRefusedError("the token is not an access token")
        payload = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # the library would ask the machine's clock, not ours: both are checked below
            options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False, "strict_aud": True},
        )
        claims = _read_claims(payload)
    except (jwt.PyJWTError, StopIteration, ValueError, TypeError, KeyError, RecursionError) as error:
        raise TokenRefusedError("the access token is not one of ours") from error
    moment = int(now.timestamp())
    if moment >= claims.expires_at or claims.issued_at > moment + _SKEW_SECONDS:
        raise TokenRefusedError("the access token has expired")
    return claims


def make_refresh_token() -> NewSecret:
    """Make a refresh token: 256 random bits, of which only the hash is stored."""
    text = f"ssr_{secrets.token_urlsafe(32)}"
    return NewSecret(text, hash_secret(text))


def find_refresh_hash(text: str) -> bytes | None:
    """Return what is stored of a refresh token; None for what cannot be one."""
    return hash_secret(text) if _REFRESH_TOKEN.fullmatch(text) else None


def make_api_key() -> NewSecret:
    """Make an API key `ssk_<public id>_<secret>`: the id is stored as it is, the secret as its hash."""
    key_id = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    secret = secrets.token_urlsafe(32)
    return NewSecret(f"ssk_{key_id}_{secret}", hash_secret(secret), key_id)


def parse_api_key(text: str) -> tuple[str, bytes]:
    """Split an API key into its public id and the hash of its secret; raises TokenRefusedError."""
    found = _API_KEY.fullmatch(text)
    if found is None:
        raise TokenRefusedError("the API key is malformed")
    return found["id"], hash_secret(found["secret"])


def hash_secret(secret: str) -> bytes:
    """Hash a secret of 256 random bits: nobody guesses it, so one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).digest()


def is_same(one: bytes, other: bytes) -> bool:
    """Compare hashes in a time that tells nothing."""
    return hmac.compare_digest(one, other)


def find_credential(headers: Iterable[tuple[bytes, bytes]]) -> Credential | None:
    """Find what a request shows in `Authorization: Bearer` or `X-API-Key`; None for nothing.

    Raises TokenRefusedError for another scheme, and for more than one credential: a proxy and we might pick
    different ones.
    """
    shown = [(name, value) for name, value in headers if name in (b"authorization", b"x-api-key")]
    if not shown:
        return None
    if len(shown) > 1:
        raise TokenRefusedError("send one credential, in one header")
    name, value = shown[0]
    text = value.decode("latin-1")
    if name == b"authorization":
        scheme, _, text = text.partition(" ")
        if scheme.casefold() != "bearer":
            raise TokenRefusedError("send `Authorization: Bearer TOKEN`")
    text = text.strip(" ")
    return Credential(text, is_key=name == b"x-api-key" or text.startswith("ssk_"))


def _read_claims(payload: dict[str, Any]) -> Claims:
    """Type the claims; raises ValueError or TypeError for those that we would not have written."""
    subject, session, role = payload["sub"], payload["sid"], payload["role"]
    times = payload["iat"], payload["exp"]
    if not re.fullmatch(r"[1-9][0-9]{0,17}", subject) or role not in ROLES:
        raise ValueError("the subject or the role is not one of ours")
    if not all(type(time) is int for time in times):
        raise ValueError("the times are not whole seconds")
    return Claims(int(subject), UUID(session), role, *times)
