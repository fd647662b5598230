"""When a maintenance window is open, and when it opens next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fixtures.unobservable import Unobservable
from harness.preconditions import _in_window
from targets.model import DAYS, Disrupt, Window


def window(opens: str, closes: str, **others: Any) -> Window:
    return Window.model_validate({"from": opens, "to": closes, **others})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("named", "now", "opens", "closes"),
    [
        (window("09:00", "16:00"), "2026-11-24T10:00", "2026-11-24T09:00", "2026-11-24T16:00"),
        (window("09:00", "16:00"), "2026-11-24T16:00", "2026-11-25T09:00", "2026-11-25T16:00"),
        (window("22:00", "05:00"), "2026-11-24T02:00", "2026-11-23T22:00", "2026-11-24T05:00"),
        (window("22:00", "05:00", days=("tue",)), "2026-11-24T02:00", "2026-11-24T22:00", "2026-11-25T05:00"),
        (window("22:00", "05:00", days=("mon",)), "2026-11-24T02:00", "2026-11-23T22:00", "2026-11-24T05:00"),
        (window("00:00", "00:00", days=("tue",)), "2026-11-24T12:00", "2026-11-24T00:00", "2026-11-25T00:00"),
        (window("09:00", "10:00", days=("tue",)), "2026-11-24T10:00", "2026-12-01T09:00", "2026-12-01T10:00"),
        (
            window("02:00", "04:00", timezone="Europe/Berlin"),
            "2026-11-24T00:00",
            "2026-11-24T01:00",
            "2026-11-24T03:00",
        ),
        (
            window("02:00", "04:00", timezone="Europe/Berlin"),
            "2026-07-24T00:00",
            "2026-07-24T00:00",
            "2026-07-24T02:00",
        ),
        # The night on which clocks are put back has one more hour.
        (
            window("01:00", "04:00", timezone="Europe/Berlin"),
            "2026-10-25T00:30",
            "2026-10-24T23:00",
            "2026-10-25T03:00",
        ),
    ],
)
def test_the_time_around(named: Window, now: str, opens: str, closes: str) -> None:
    assert named.around(at(now)) == (at(opens), at(closes))


TIMES = st.times().map(lambda time: f"{time:%H:%M}")


@given(
    named=st.builds(window, TIMES, TIMES, days=st.lists(st.sampled_from(DAYS), min_size=1).map(tuple)),
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda when: when.replace(tzinfo=UTC)),
)
def test_it_is_open_now_or_opens_within_eight_days(named: Window, now: datetime) -> None:
    opens, closes = named.around(now)
    assert opens < closes
    assert now < closes
    assert opens <= now + timedelta(days=8)
    assert named.around(opens) == (opens, closes)


@pytest.mark.parametrize(
    "wrong", [{"from": "9:00"}, {"to": "24:00"}, {"days": ()}, {"timezone": "Berlin"}, {"till": "x"}]
)
def test_what_is_no_window(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Window.model_validate({"from": "09:00", "to": "10:00"} | wrong)


def test_a_fault_must_be_over_before_it_closes() -> None:
    disrupt = Disrupt(windows=(window("09:00", "10:00"), window("12:00", "13:00")))
    assert _in_window(disrupt, at("2026-11-24T09:58"), 90) == "open until 2026-11-24 10:00 UTC"
    with pytest.raises(Unobservable, match=r"none is open for 90 s .* the next opens at 2026-11-24 12:00 UTC"):
        _in_window(disrupt, at("2026-11-24T09:59"), 90)
    with pytest.raises(Unobservable, match="the next opens at 2026-11-25 09:00 UTC"):
        _in_window(disrupt, at("2026-11-24T20:00"), 90)
    assert _in_window(Disrupt(), at("2026-11-24T20:00"), 90) == "the target names none: always"
