"""Waiting: it ends when the condition holds, and otherwise says what it waited for and what it saw last."""

from __future__ import annotations

import pytest

from fixtures.waiting import NotYet, WaitTimeout, wait_until


def test_the_answer_is_returned_as_soon_as_there_is_one() -> None:
    answers = iter([None, False, "", 7])
    assert wait_until(lambda: next(answers), 5, "an answer", interval_s=0) == ""


def test_running_out_of_time_says_what_for_how_long_and_what_was_seen() -> None:
    def condition() -> bool:
        raise NotYet("4 of 6 pods ready")

    with pytest.raises(WaitTimeout, match=r"^waited 0\.\d s for six pods; last seen: 4 of 6 pods ready$"):
        wait_until(condition, 0.01, "six pods", interval_s=0.001)


def test_the_condition_is_asked_at_least_once() -> None:
    assert wait_until(lambda: True, 0, "something that is there") is True


def test_an_exception_passes_unless_it_was_to_be_borne() -> None:
    def condition() -> bool:
        raise OSError("no route")

    with pytest.raises(OSError, match="no route"):
        wait_until(condition, 1, "a route")
    with pytest.raises(WaitTimeout, match="last seen: no route"):
        wait_until(condition, 0.01, "a route", interval_s=0.001, retry_on=(OSError,))


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.waiting.PROGRESS_EVERY_S", 0.0)
    told: list[str] = []
    answers = iter([None, True])
    wait_until(lambda: next(answers), 5, "an answer", interval_s=0.001, progress=told.append)
    assert told
    assert told[0].startswith("waiting for an answer, 0 s of at most 5 s")
