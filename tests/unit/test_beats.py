"""How far a replica is behind, from the beats that it showed."""

from __future__ import annotations

import pytest

from fixtures.in_pod.beats import behind


@pytest.mark.parametrize(
    ("shown", "seconds", "never"),
    [
        ([(0.0, 0), (1.5, 1), (2.25, 2), (3.0, 3)], [0.5, 0.25, 0.0], 0),
        ([(0.0, 0), (3.5, 3)], [2.5, 1.5, 0.5], 0),
        ([(0.0, 0), (0.9, 1), (2.5, 3)], [0.0, 0.5, 0.0], 0),
        ([(0.0, 0), (1.5, 1)], [0.5, 8.0, 7.0], 2),
        ([(0.0, 0)], [9.0, 8.0, 7.0], 3),
        ([], [9.0, 8.0, 7.0], 3),
    ],
    ids=[
        "each in turn",
        "all at once",
        "seen before it was known to be sent",
        "two never",
        "none",
        "not even the table",
    ],
)
def test_each_beat_waits_for_itself_or_a_later_one(
    shown: list[tuple[float, int]], seconds: list[float], never: int
) -> None:
    assert behind(shown, [1.0, 2.0, 3.0], ended=10.0) == (seconds, never)


def test_without_a_beat_nothing_is_behind() -> None:
    assert behind([(0.0, 0)], [], ended=10.0) == ([], 0)
