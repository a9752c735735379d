"""The keys that sign access tokens: several, so that they can be changed without signing anybody out."""

import base64
import binascii
import re
import secrets
from typing import NamedTuple

from skatestock.accounts.errors import SigningKeysError

_MIN_BYTES = 32
_KEY = re.compile(r"(?P<kid>[A-Za-z0-9._-]{1,32}):(?P<secret>[A-Za-z0-9_-]{1,1024}={0,2})")


class SigningKey(NamedTuple):
    """One secret and the id that tokens name it by."""

    kid: str
    secret: bytes

    def __repr__(self) -> str:
        """Show the id only: what is printed ends in logs."""
        return f"SigningKey({self.kid!r})"


SigningKeys = tuple[SigningKey, ...]
"""The first signs, all verify."""


def parse_signing_keys(text: str) -> SigningKeys:
    """Read `kid:secret,kid:secret`, each secret base64url of at least 32 bytes; raises SigningKeysError."""
    keys = tuple(_parse_key(number, part.strip()) for number, part in enumerate(text.split(","), start=1))
    if len({key.kid for key in keys}) < len(keys):
        raise SigningKeysError("two signing keys have the same id")
    return keys


def make_signing_key(kid: str) -> str:
    """Make a new key, written as `parse_signing_keys` reads it."""
    return f"{kid}:{secrets.token_urlsafe(_MIN_BYTES)}"


def _parse_key(number: int, text: str) -> SigningKey:
    found = _KEY.fullmatch(text)
    if found is None:
        raise SigningKeysError(f"signing key {number} must be written as ID:SECRET, the secret in base64url")
    padded = found["secret"].rstrip("=")
    try:
        secret = base64.urlsafe_b64decode(padded + "=" * (-len(padded) % 4))
    except binascii.Error as error:
        raise SigningKeysError(f"the secret of signing key {found['kid']} is not base64url") from error
    if len(secret) < _MIN_BYTES:
        raise SigningKeysError(
            f"the secret of signing key {found['kid']} has {len(secret)} bytes; {_MIN_BYTES} are needed"
        )
    return SigningKey(found["kid"], secret)
