"""The trend: bars under the runs, and numbers that are those of the findings."""

from __future__ import annotations

import pytest
from rich.console import Console

from policies.finding import Finding
from reports.history import BARS, history, history_screen
from reports.measured import measured
from reports.runs import StoredRun
from tests.reports.gate_runs import CATALOGUE, a_run, broken, unseen
from tests.reports.judged import all_cases

LIMIT = "at most 30 s (api_write_gap)"


def screen(*runs: StoredRun) -> list[str]:
    console = Console(width=100, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(history_screen(history(runs, CATALOGUE, "lab"), CATALOGUE))
    return [line.rstrip() for line in capture.get().splitlines()]


def with_gap(hours_ago: float, seconds: float | None) -> StoredRun:
    said = f"writes stopped for {seconds:.2f} s, from 10.00 s on" if seconds is not None else ""
    found = (Finding("api endpoint", LIMIT, said, True),) if said else unseen("the API")
    return a_run(hours_ago, {("1.1", "write-gap"): found})


def test_the_write_gap_is_drawn_over_the_runs() -> None:
    lines = screen(with_gap(4, 30), with_gap(3, 15), with_gap(2, None), with_gap(1, 3.2))
    (line,) = [line for line in lines if LIMIT in line]
    assert line.startswith("1.1 ")
    assert line.endswith(f"{BARS[7]}  {BARS[4]}     {BARS[0]} 3.2 s")


def test_what_one_run_alone_measured_is_no_trend() -> None:
    assert not [line for line in screen(with_gap(1, 3.2), with_gap(0.5, None)) if "api_write_gap" in line]


def test_how_many_clauses_broke_is_drawn() -> None:
    lines = screen(a_run(3), a_run(2, {("1.4", "wildcards"): broken("x")}, exit_code=1), a_run(1))
    (line,) = [line for line in lines if line.split()[:1] == ["broken"]]
    assert line.split() == ["broken", ".", "█", ".", "0"]


def test_the_number_nearest_to_breaking_the_limit_counts() -> None:
    several = tuple(
        Finding(f"w{number}", "at most 100 ms (dns_p95)", f"p95 {value} ms over 15 questions", True)
        for number, value in enumerate(("9.5", "80.25", "12"))
    )
    (result,) = a_run(1, {("1.3", "dns-latency"): several}).results(("1.3", "dns-latency"))
    (value, limit), *rest = measured(result).values()
    assert (value, limit.name, rest) == (80.25, "dns_p95", [])
    days = tuple(
        Finding("cp1", "at least 30 days (cert_days_left) left", f"valid {left} days more, until 2027", True)
        for left in ("365.0", "42.5")
    )
    (result,) = a_run(1, {("1.1", "certificates"): days}).results(("1.1", "certificates"))
    assert measured(result)["cert_days_left"][0] == 42.5


@pytest.mark.parametrize("limit", ["api_write_gap", "dns_p95", "cert_days_left", "packet_loss", "alert_within"])
def test_the_rules_themselves_say_these_numbers(limit: str) -> None:
    said = 0
    for case in all_cases():
        limits = case.limits()
        if limit in limits and case.expect == "passed":
            findings = tuple(case.function(*case.facts, limits))
            (result,) = a_run(1, {(case.requirement, case.clause): findings}).results((case.requirement, case.clause))
            if limit in measured(result):
                said += 1
                assert limits[limit].allows(measured(result)[limit][0])
    assert said
