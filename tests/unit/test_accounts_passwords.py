"""Passwords: which are refused, how they are hashed, and that a burst of them holds nobody up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from skatestock.accounts.errors import InvalidEmailError, PasswordRefusedError, PasswordsBusyError
from skatestock.accounts.model import parse_address, parse_email
from skatestock.accounts.passwords import MAX_CHARACTERS, Passwords, check_new_password

EMAIL = "kareem@example.org"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords()
    yield passwords
    passwords.close()


@pytest.mark.parametrize(
    "password",
    [
        "password12",
        "P@ssw0rd!!!",
        "qwertyuiop",
        "1234567890",
        "0987654321",
        "abcdefghijk",
        "aaaaaaaaaaaa",
        "abababababab",
        "skateboarding",
        "SkateStock2026!",
        "iloveyou1234",
        "kareem@example.org",
        "KAREEM@example.org",
        "example.org",
        "1q2w3e4r5t",
        "x" * 9,
        "",
        "ok ok ok!" * 100,
    ],
)
def test_what_would_be_guessed_early_or_is_too_short_or_long_is_refused(password: str) -> None:
    with pytest.raises(PasswordRefusedError) as refused:
        check_new_password(password, EMAIL)
    assert password not in str(refused.value) or not password


@pytest.mark.parametrize(
    "password",
    [
        "four words nobody guesses",
        "pässwörter sind schön",
        "          x1y",
        "kickflip the seven stairs",
        "🛹🛼🛹🏂🛹🎿🛷⛸️🛶🏄",
    ],
)
def test_any_other_long_password_is_taken_whatever_it_is_made_of(password: str) -> None:
    check_new_password(password, EMAIL)


def test_the_longest_password_has_a_kilobyte_at_most() -> None:
    longest = "".join(chr(0x1F600 + number % 60) for number in range(MAX_CHARACTERS))
    check_new_password(longest, EMAIL)
    assert len(longest.encode()) == 1024


async def test_a_hash_is_argon2id_with_at_least_owasps_parameters(passwords: Passwords) -> None:
    hashed = await passwords.hash("four words nobody guesses")
    parameters = extract_parameters(hashed)
    assert hashed.startswith("$argon2id$v=19$")
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) >= (19456, 2, 1)
    assert parameters.salt_len >= 16
    assert await passwords.hash("four words nobody guesses") != hashed


async def test_a_password_fits_its_hash_and_no_other(passwords: Passwords) -> None:
    hashed = await passwords.hash("four words nobody guesses")
    assert await passwords.verify(hashed, "four words nobody guesses")
    for other in (
        "four words nobody guesses ",
        "Four words nobody guesses",
        "four words\0nobody guesses",
        "",
    ):
        assert not await passwords.verify(hashed, other)
    assert not await passwords.verify("no hash at all", "four words nobody guesses")


async def test_a_kilobyte_is_not_cut_short(passwords: Passwords) -> None:
    longest = "🛹" * MAX_CHARACTERS
    hashed = await passwords.hash(longest)
    assert await passwords.verify(hashed, longest)
    assert not await passwords.verify(hashed, longest[:-1] + "x")


async def test_nobodys_password_is_checked_with_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the wall clock: what runs for an unknown account is what runs for a known one."""
    work: list[str] = []
    verify = PasswordHasher.verify

    def watched(self: PasswordHasher, hashed: str, password: str) -> bool:
        work.append(hashed)
        return verify(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", watched)
    passwords = Passwords()
    known = await passwords.hash("four words nobody guesses")
    assert not await passwords.verify(known, "some other password")
    assert not await passwords.verify(None, "some other password")
    passwords.close()
    assert len(work) == 2
    assert extract_parameters(work[0]) == extract_parameters(work[1])


async def test_nobody_has_the_password_of_nobodys_hash(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: True)
    assert not await passwords.verify(None, "whatever fits")


async def test_a_hash_with_other_parameters_is_to_be_renewed(passwords: Passwords) -> None:
    weaker = Passwords(memory_kib=8192, passes=1)
    hashed = await weaker.hash("four words nobody guesses")
    weaker.close()
    assert await passwords.verify(hashed, "four words nobody guesses")
    assert passwords.needs_rehash(hashed)
    assert not passwords.needs_rehash(await passwords.hash("four words nobody guesses"))


async def test_a_burst_is_bounded_and_does_not_hold_up_the_event_loop(passwords: Passwords) -> None:
    """Of a hundred at once some are turned away at once; meanwhile, the loop goes on turning."""
    late: list[float] = []

    async def turn() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - before)

    turning = asyncio.create_task(turn())
    answers = await asyncio.gather(
        *(passwords.verify(None, f"password {number}") for number in range(100)), return_exceptions=True
    )
    turning.cancel()
    busy = [answer for answer in answers if isinstance(answer, PasswordsBusyError)]
    assert len(busy) == 100 - 34
    assert answers.count(False) == 34
    # two threads' worth of work for 34 checks takes the loop many turns, not one
    assert len(late) > 20
    assert await passwords.verify(None, "later") is False


async def test_who_goes_away_frees_a_place_when_the_work_is_done(passwords: Passwords) -> None:
    waiting = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(34)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    with pytest.raises(PasswordsBusyError):
        await passwords.verify(None, "x")
    async with asyncio.timeout(20):
        while True:
            try:
                assert await passwords.verify(None, "x") is False
            except PasswordsBusyError:
                await asyncio.sleep(0.05)
            else:
                break


class TestEmail:
    @pytest.mark.parametrize(
        ("text", "email"),
        [("Kareem@Example.ORG", "kareem@example.org"), ("a+b.c@mail.example.co", "a+b.c@mail.example.co")],
    )
    def test_capitals_make_no_difference(self, text: str, email: str) -> None:
        assert parse_email(text) == email

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "kareem",
            "@example.org",
            "kareem@",
            "kareem@localhost",
            "kareem@example..org",
            "kareem@-example.org",
            "kareem@example.org\n",
            "kareem@example.org ",
            "ka reem@example.org",
            "kareem@exämple.org",
            "kareem\0@example.org",
            "a@b@example.org",
            "x" * 65 + "@example.org",
            "x@" + "y" * 250 + ".org",
        ],
    )
    def test_what_is_no_address_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidEmailError):
            parse_email(text)

    @given(st.emails())
    @settings(max_examples=200)
    def test_reading_is_idempotent(self, text: str) -> None:
        try:
            email = parse_email(text)
        except InvalidEmailError:
            return
        assert parse_email(email) == email == email.lower()


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        (None, "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_failures_are_counted_under_what_one_customer_has(text: str | None, counted: str) -> None:
    assert parse_address(text) == counted
