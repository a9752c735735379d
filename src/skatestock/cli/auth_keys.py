"""The keys that sign access tokens: from the settings, or in development from a file that we make."""

import os
import secrets
from pathlib import Path

from skatestock.accounts.accounts import AuthSettings
from skatestock.accounts.errors import SigningKeysError
from skatestock.accounts.signing_keys import SigningKeys, make_signing_key, parse_signing_keys
from skatestock.settings import PREFIX, Settings, SettingsError

_FILE = "auth.keys"


def get_auth(settings: Settings) -> AuthSettings:
    """Return how sign-ins are signed and how long they last.

    Only whoever serves the API needs it: other processes are better without the keys. Raises SettingsError in
    production where no keys are set, and for keys that cannot be used.
    """
    return AuthSettings(_get_keys(settings), settings.access_token_minutes, settings.refresh_token_days)


def _get_keys(settings: Settings) -> SigningKeys:
    text = settings.auth_keys
    if text is None:
        if settings.environment == "production":
            raise SettingsError(
                f"production needs {PREFIX}AUTH_KEYS: nothing secret has a default; "
                "make a key with `openssl rand -base64 48 | tr '+/' '-_'` and set it as `k1:KEY`"
            )
        text = _ensure_file(settings.data_folder / _FILE)
    try:
        return parse_signing_keys(text)
    except SigningKeysError as error:
        raise SettingsError(f"{PREFIX}AUTH_KEYS: {error}") from error


def _ensure_file(file: Path) -> str:
    """Read the folder's keys, or make a file that only its owner can read; of two who make it, one wins."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(make_signing_key("development") + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        # a link is made whole or not at all, and never over one that stands
        os.link(partial, file)
    except FileExistsError:
        pass
    finally:
        partial.unlink()
    return file.read_text(encoding="ascii").strip()
