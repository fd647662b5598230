"""Schedules as CloudNativePG's ScheduledBackup has them: cron with a field for seconds, as robfig/cron v3 reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

DESCRIPTORS: Final = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
YEARS: Final = 9  # between two 29th of February there may be eight
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class _Field:
    """The values that one field allows; ``any`` where it was a star, which days treat in their own way."""

    values: frozenset[int]
    any: bool


def longest_gap(schedule: str, since: datetime) -> timedelta:
    """The longest time between two runs of a schedule from ``since`` on. Raises ValueError for one not understood."""
    text = re.sub(r"^(CRON_)?TZ=\S+\s+", "", schedule.strip())
    if text.startswith("@every "):
        return _duration(text.removeprefix("@every ").strip())
    parts = DESCRIPTORS.get(text, text).split()
    if len(parts) != 6:
        raise ValueError(f'"{schedule}" has {len(parts)} fields, a schedule with seconds has 6')
    seconds, minutes, hours = (
        sorted(_field(part, low, high, ()).values)
        for part, low, high in zip(parts, (0, 0, 0), (59, 59, 23), strict=False)
    )
    times = [
        timedelta(hours=h, minutes=m, seconds=s) for h in hours for m in minutes for s in (seconds[0], seconds[-1])
    ]
    gaps = [after - before for before, after in pairwise(times)]
    days = _days(parts, since.date())
    last = next(days, None)
    if last is None:
        raise ValueError(f'"{schedule}" never comes')
    gaps += [(day - before) + times[0] - times[-1] for before, day in pairwise([last, *days])]
    return max(gaps)


def _days(parts: list[str], first: date) -> Iterator[date]:
    """The days on which it comes. Of day of month and day of week one suffices, unless one of them is a star."""
    of_month, months = _field(parts[3], 1, 31, ()), _field(parts[4], 1, 12, MONTHS)
    of_week = _field(parts[5], 0, 6, WEEKDAYS)
    for number in range(366 * YEARS):
        day = first + timedelta(days=number)
        fits = (day.day in of_month.values, day.isoweekday() % 7 in of_week.values)
        if day.month in months.values and (all if of_month.any or of_week.any else any)(fits):
            yield day


def _field(text: str, low: int, high: int, names: tuple[str, ...]) -> _Field:
    """A comma-separated list of stars, numbers, names and ranges, each with or without a step."""
    values: set[int] = set()
    star = False
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span in {"*", "?"}:
            star = star or not step or step == "1"
            first, last = low, high
        else:
            begin, _, end = span.partition("-")
            first = _number(begin, low, names)
            last = _number(end, low, names) if end else high if step else first
        every = int(step) if step.isdigit() else 0 if step else 1
        if not low <= first <= last <= high or every < 1:
            raise ValueError(f'"{part}" does not lie between {low} and {high}')
        values.update(range(first, last + 1, every))
    return _Field(frozenset(values), star)


def _number(text: str, low: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not text.isdigit():
        raise ValueError(f'"{text}" is no number')
    return int(text)


def _duration(text: str) -> timedelta:
    """Go's ``1h30m``."""
    if re.fullmatch(r"([0-9]+(\.[0-9]+)?[hms])+", text) is None:
        raise ValueError(f'"{text}" is no duration')
    return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9.]+)([hms])", text)))
