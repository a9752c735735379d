"""Where the keys that sign tokens come from: the settings, or a private file in development."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skatestock.accounts.signing_keys import make_signing_key
from skatestock.cli.auth_keys import get_auth
from skatestock.settings import Settings, SettingsError


def test_production_refuses_to_serve_without_keys(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SKATESTOCK_AUTH_KEYS"):
        get_auth(Settings(environment="production", data=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_the_keys_of_the_settings_are_taken(tmp_path: Path) -> None:
    text = f"{make_signing_key('new')},{make_signing_key('old')}"
    settings = Settings(environment="production", auth_keys=text, access_token_minutes=5, data=str(tmp_path))
    auth = get_auth(settings)
    assert [key.kid for key in auth.keys] == ["new", "old"]
    assert (auth.access_token_minutes, auth.refresh_token_days) == (5, 14)


@pytest.mark.parametrize("text", ["", "secret", "k1:c2hvcnQ"])
def test_keys_that_cannot_be_used_are_refused_without_showing_them(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        get_auth(Settings(auth_keys=text, data=str(tmp_path)))
    assert "SKATESTOCK_AUTH_KEYS" in str(refused.value)
    assert "c2hvcnQ" not in str(refused.value)


def test_in_development_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path / "data"))
    first = get_auth(settings)
    assert get_auth(settings) == first
    (file,) = (tmp_path / "data").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(first.keys[0].secret) == 32


def test_of_many_processes_that_start_at_once_all_have_the_same_key(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: get_auth(settings), range(64)))
    assert len({auth.keys for auth in made}) == 1
    assert len(list(tmp_path.iterdir())) == 1
