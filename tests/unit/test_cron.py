"""Schedules with seconds, as CloudNativePG's operator reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from policies.facts.cron import longest_gap

SINCE = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ("0 0 2 * * *", 24),
        ("@daily", 24),
        ("@hourly", 1),
        ("@every 1h30m", 1.5),
        ("@every 12.5h", 12.5),
        ("0 0 */6 * * *", 6),
        ("0 0 1-23/2 * * *", 2),
        ("0 0 2,14 * * ?", 12),
        ("0 0 3,14 * * *", 13),
        ("0 0/20 * * * *", 1 / 3),
        ("30 0 2 * * *", 24),
        ("CRON_TZ=Europe/Berlin 0 0 2 * * *", 24),
        ("0 0 2 * * SUN", 168),
        ("0 0 2 * * mon-fri", 72),
        ("0 0 2 * * 1,3,5", 72),
        ("@weekly", 168),
        ("@monthly", 31 * 24),
        ("0 0 2 1 JAN *", 366 * 24),
        ("0 0 0 29 2 *", 1461 * 24),
        # With a day of the month and a day of the week each of them suffices; with a star both must hold.
        ("0 0 2 1,15 * 3", 168),
        ("0 0 2 */2 * 3", 48),
    ],
)
def test_the_longest_gap(schedule: str, hours: float) -> None:
    assert longest_gap(schedule, SINCE) == timedelta(hours=hours)


@pytest.mark.parametrize(
    "schedule",
    ["", "0 2 * * *", "0 0 25 * * *", "0 0 2 * * 7", "0 0 2 0 * *", "0 0 x * * *", "0 0 5-2 * * *", "0 0 */0 * * *",
     "0 0 2 31 2 *", "@every soon", "@fortnightly"],
)  # fmt: skip
def test_what_is_never_run(schedule: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        longest_gap(schedule, SINCE)
