from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.time import format_moment, parse_moment, to_whole_seconds, utc_now

aware_moments = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - the strategy adds the time zone itself
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.timezones(),
)


@given(aware_moments)
def test_every_moment_becomes_whole_seconds_of_utc(moment: datetime) -> None:
    whole = to_whole_seconds(moment)
    assert whole.utcoffset() == timedelta(0)
    assert whole.microsecond == 0
    assert timedelta(0) <= moment - whole < timedelta(seconds=1)


@given(aware_moments)
def test_a_written_moment_reads_back(moment: datetime) -> None:
    whole = to_whole_seconds(moment)
    assert parse_moment(format_moment(whole)) == whole


def test_a_moment_with_an_offset_is_the_same_moment_in_utc() -> None:
    assert parse_moment(" 2026-04-10T12:00:00.900-05:00 ") == datetime(2026, 4, 10, 17, tzinfo=UTC)
    moment = datetime(2026, 4, 10, 12, tzinfo=timezone(timedelta(hours=2)))
    assert format_moment(moment) == "2026-04-10T10:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-04-10",
        "2026-04-10T12:00:00",
        "2026-13-01T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_text_that_is_no_moment_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_moment(text)


@given(st.text())
def test_any_text_is_a_moment_or_is_refused(text: str) -> None:
    try:
        moment = parse_moment(text)
    except InvalidValueError:
        return
    assert moment.tzinfo is UTC


def test_the_clock_ticks_in_whole_seconds_of_utc() -> None:
    now = utc_now()
    assert now.microsecond == 0
    assert abs(datetime.now(UTC) - now) < timedelta(seconds=5)


def test_availability_reads_yes_no_and_silence() -> None:
    flags = (True, False, None)
    assert [Availability.from_flag(flag) for flag in flags] == ["in_stock", "out_of_stock", "unknown"]
