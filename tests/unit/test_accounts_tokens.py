"""Access tokens, refresh tokens and API keys: what is taken, and what is not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.accounts.errors import SigningKeysError, TokenRefusedError
from skatestock.accounts.signing_keys import make_signing_key, parse_signing_keys
from skatestock.accounts.tokens import (
    AUDIENCE,
    ISSUER,
    Claims,
    find_credential,
    find_refresh_hash,
    hash_secret,
    issue_access_token,
    make_api_key,
    make_refresh_token,
    parse_api_key,
    read_access_token,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SESSION = UUID("0b3f8a52-c7e9-4b1f-9d3a-5c2e7f10a6d4")
KEYS = parse_signing_keys(make_signing_key("one"))


def issue(**changes: Any) -> str:
    """Sign a token as we would, but for the claims that a test changes; None takes one out."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "7",
        "sid": str(SESSION),
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 600,
        "jti": "abc",
        "role": "user",
    } | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, KEYS[0].secret, algorithm="HS256", headers={"kid": "one", "typ": "at+jwt"})


def test_a_token_says_who_and_for_how_long() -> None:
    token = issue_access_token(KEYS, 7, SESSION, "analyst", now=NOW, life_seconds=600)
    begin = int(NOW.timestamp())
    assert read_access_token(KEYS, token, now=NOW) == Claims(7, SESSION, "analyst", begin, begin + 600)
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "HS256", "kid": "one", "typ": "at+jwt"}


def test_two_tokens_of_one_moment_differ() -> None:
    tokens = {issue_access_token(KEYS, 7, SESSION, "user", now=NOW, life_seconds=600) for _ in range(3)}
    assert len(tokens) == 3


@pytest.mark.parametrize(("after", "good"), [(0, True), (599, True), (600, False), (-60, True), (-61, False)])
def test_a_token_is_good_for_its_minutes_only(after: int, good: bool) -> None:
    token = issue()
    moment = NOW + timedelta(seconds=after)
    if good:
        assert read_access_token(KEYS, token, now=moment).account_id == 7
    else:
        with pytest.raises(TokenRefusedError):
            read_access_token(KEYS, token, now=moment)


def test_after_a_new_key_signs_the_old_one_still_verifies_until_it_is_taken_away() -> None:
    new = parse_signing_keys(make_signing_key("two"))
    old_token = issue()
    both = (*new, *KEYS)
    assert read_access_token(both, old_token, now=NOW).account_id == 7
    new_token = issue_access_token(both, 8, SESSION, "user", now=NOW, life_seconds=600)
    assert jwt.get_unverified_header(new_token)["kid"] == "two"
    with pytest.raises(TokenRefusedError):
        read_access_token(KEYS, new_token, now=NOW)
    with pytest.raises(TokenRefusedError):
        read_access_token(new, old_token, now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"aud": "another"},
        {"aud": [AUDIENCE, "another"]},
        {"sub": "0"},
        {"sub": "7; DROP TABLE accounts"},
        {"sub": "9" * 30},
        {"sid": "no uuid"},
        {"role": "owner"},
        {"exp": "tomorrow"},
        {"exp": 1.5e300},
        {"iat": True},
        *({name: None} for name in ("iss", "aud", "sub", "sid", "iat", "exp", "jti", "role")),
    ],
)
def test_a_token_with_another_claim_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRefusedError):
        read_access_token(KEYS, issue(**changes), now=NOW)


def encode(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def forge(header: dict[str, Any], *, secret: bytes | None = None, algorithm: str = "HS256") -> str:
    payload = jwt.decode(issue(), options={"verify_signature": False})
    if secret is None:
        return f"{encode(header)}.{encode(payload)}."
    return jwt.encode(payload, secret, algorithm=algorithm, headers=header)


@pytest.mark.parametrize(
    "token",
    [
        forge({"alg": "none", "kid": "one", "typ": "at+jwt"}),
        forge({"alg": "None", "kid": "one", "typ": "at+jwt"}),
        forge({"kid": "one", "typ": "at+jwt"}, secret=b"x" * 64),
        forge({"kid": "one", "typ": "at+jwt"}, secret=KEYS[0].secret * 2, algorithm="HS512"),
        forge({"kid": "one", "typ": "at+jwt"}, secret=KEYS[0].secret * 2, algorithm="HS384"),
        forge({"kid": "two", "typ": "at+jwt"}, secret=KEYS[0].secret),
        forge({"typ": "at+jwt"}, secret=KEYS[0].secret),
        forge({"kid": "one", "typ": "JWT"}, secret=KEYS[0].secret),
        "",
        "a.b.c",
        "....",
        "é" * 50,
        "a" * 5000,
        f"{encode([])}.{encode({})}.",
        f"{encode({'alg': 'HS256', 'kid': ['one']})}.{encode({})}.",
    ],
)
def test_a_forged_token_is_refused(token: str) -> None:
    with pytest.raises(TokenRefusedError):
        read_access_token(KEYS, token, now=NOW)


@given(st.integers(min_value=0, max_value=400), st.integers(min_value=1, max_value=255))
def test_a_token_with_any_other_bit_is_refused(place: int, flip: int) -> None:
    token = issue()
    place %= len(token)
    changed = token[:place] + chr(ord(token[place]) ^ flip) + token[place + 1 :]
    try:
        claims = read_access_token(KEYS, changed, now=NOW)
    except TokenRefusedError:
        return
    # base64 without padding writes the last bits of the signature in more than one way
    assert claims.account_id == 7
    assert place == len(token) - 1


class TestSigningKeys:
    def test_several_are_read_in_order(self) -> None:
        text = ",".join(make_signing_key(name) for name in ("new", "old"))
        assert [key.kid for key in parse_signing_keys(text)] == ["new", "old"]
        assert all(len(key.secret) >= 32 for key in parse_signing_keys(text))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "secret",
            "k1:",
            ":" + "a" * 43,
            "k1:" + base64.urlsafe_b64encode(b"x" * 31).decode(),
            "k 1:" + "a" * 43,
            "k1:" + "a" * 42 + "*",
            "k1:" + "a" * 45,
            "k1:" + "a" * 44 + ",",
            "k1:" + "a" * 44 + ",k1:" + "b" * 44,
        ],
    )
    def test_what_is_no_key_of_32_bytes_is_refused(self, text: str) -> None:
        with pytest.raises(SigningKeysError) as refused:
            parse_signing_keys(text)
        assert "aaaa" not in str(refused.value)

    def test_a_key_does_not_show_its_secret(self) -> None:
        assert repr(KEYS[0]) == "SigningKey('one')"
        assert repr(make_refresh_token()) == "NewSecret('')"


class TestSecrets:
    def test_what_is_stored_of_a_refresh_token_is_its_hash(self) -> None:
        token = make_refresh_token()
        assert find_refresh_hash(token.text) == token.hash == hash_secret(token.text)
        assert len(token.hash) == 32
        assert make_refresh_token().text != token.text

    @pytest.mark.parametrize(
        "text", ["", "ssr_", "ssr_" + "a" * 42, "ssr_" + "a" * 43 + "\n", "ssk_" + "a" * 43]
    )
    def test_what_cannot_be_a_refresh_token_is_not_looked_for(self, text: str) -> None:
        assert find_refresh_hash(text) is None

    def test_a_key_is_its_id_and_its_secret(self) -> None:
        key = make_api_key()
        assert key.text.startswith(f"ssk_{key.id}_")
        assert parse_api_key(key.text) == (key.id, key.hash)
        assert key.text[-43:] not in repr(key)

    @given(st.text(max_size=80))
    def test_any_other_text_is_no_key(self, text: str) -> None:
        with pytest.raises(TokenRefusedError):
            parse_api_key(text)


class TestCredentials:
    def test_nothing_is_shown(self) -> None:
        assert find_credential([(b"host", b"api.example"), (b"cookie", b"token=abc")]) is None

    @pytest.mark.parametrize(
        ("header", "text", "is_key"),
        [
            ((b"authorization", b"Bearer abc"), "abc", False),
            ((b"authorization", b"bearer  abc"), "abc", False),
            ((b"authorization", b"Bearer ssk_abc"), "ssk_abc", True),
            ((b"x-api-key", b"ssk_abc"), "ssk_abc", True),
            ((b"x-api-key", b"\xff"), "ÿ", True),
        ],
    )
    def test_a_credential_is_found(self, header: tuple[bytes, bytes], text: str, is_key: bool) -> None:
        credential = find_credential([header])
        assert credential is not None
        assert (credential.text, credential.is_key) == (text, is_key)

    @pytest.mark.parametrize(
        "headers",
        [
            [(b"authorization", b"Basic a2FyZWVtOnBhc3N3b3Jk")],
            [(b"authorization", b"")],
            [(b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")],
            [(b"authorization", b"Bearer one"), (b"x-api-key", b"ssk_two")],
        ],
    )
    def test_other_schemes_and_several_credentials_are_refused(
        self, headers: list[tuple[bytes, bytes]]
    ) -> None:
        with pytest.raises(TokenRefusedError):
            find_credential(headers)
