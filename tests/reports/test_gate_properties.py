"""What holds at the gate whatever the runs and the waivers are.

Stated: **GO only if** each clause that must pass has, as its latest word, in a run without a doubt and young enough,
a pass, a reason why it does not apply, or a breach that was seen and every broken subject of which a waiver names that
is in force, not too long, not too wide and approved by somebody else. What was refused, unreachable, broken as a check,
never judged or too old is never GO, by whatever waivers.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.waivers import Waiver
from reports.gate import SETTLED, Standing
from reports.model import Verdict
from reports.runs import StoredRun
from tests.reports.gate_runs import CATALOGUE, NOW, RELEASE, Name, Said, a_run, a_waiver, ask, broken, unseen

# Few clauses of different severity and kind, and few subjects, so that waivers and breaches meet often.
NAMES: tuple[Name, ...] = (("1.4", "wildcards"), ("10.1", "requests"), ("1.3", "dns-names"), ("1.1", "write-gap"))
SUBJECTS = ("ServiceAccount/ci/a", "ServiceAccount/ci/b", "production/api")
PROFILE = RELEASE.model_copy(update={"requirements": ("1.4", "10.1", "1.3", "1.1"), "must_pass": ("all",)})
quick = settings(max_examples=250, deadline=None, derandomize=True, database=None)

subjects = st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=3, unique=True)
said: st.SearchStrategy[Said] = st.one_of(
    st.sampled_from([Verdict.passed, Verdict.passed, Verdict.passed, Verdict.not_applicable]),
    subjects.map(lambda names: broken(*names)),
    subjects.map(lambda names: broken(*names)),
    subjects.map(lambda names: unseen(*names)),
    st.tuples(subjects, subjects).map(lambda two: (*broken(*two[0]), *unseen(*two[1]))),
    st.sampled_from([Verdict.error, Verdict.manual]),
)


@st.composite
def runs(draw: st.DrawFn) -> list[StoredRun]:
    """A run that judged all else, lately, and some before and after it that judged some of the few."""
    made = [a_run(3, dict(zip(NAMES, draw(st.tuples(*[said] * len(NAMES))), strict=True)))]
    for index in range(draw(st.integers(0, 3))):
        made.append(
            a_run(
                draw(st.sampled_from([0.5, 1, 2, 5, 30, 200, -1])),
                {name: draw(said) for name in NAMES},
                clauses=tuple(draw(st.lists(st.sampled_from(NAMES), unique=True))),
                doubt=draw(st.sampled_from(["", "", "", "altered"])),
                interrupted=draw(st.sampled_from([False, False, False, True])),
                name=f"run-{index}",
            )
        )
    return made


@st.composite
def waivers(draw: st.DrawFn) -> tuple[Waiver, ...]:
    """Waivers, most of them in order."""
    day = NOW.date()
    made = {}
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(NAMES))
        subject = draw(st.sampled_from([*SUBJECTS, *SUBJECTS, "ServiceAccount/ci/*", "*"]))
        issued = day - timedelta(days=draw(st.sampled_from([0, 1, 2, 2, 9, -1])))
        made[name, subject] = a_waiver(
            requirement=name[0],
            clause=name[1],
            subject=subject,
            issued=issued.isoformat(),
            expires=(issued + timedelta(days=draw(st.sampled_from([3, 7, 7, 8, 31])))).isoformat(),
            approver=draw(st.sampled_from(["J. Doe", "J. Doe", "J. Doe", "m.roe@example.com"])),
        )
    return tuple(made.values())


def in_order(waiver: Waiver, day: date) -> bool:
    """Written anew from the words of the profile, without the code under test."""
    severity = CATALOGUE.requirement(waiver.requirement).severity
    days = {"critical": 7, "high": 14, "medium": 30, "low": 90}[severity]
    return (
        waiver.issued <= day <= waiver.expires
        and (waiver.expires - waiver.issued).days <= days
        and waiver.approver == "J. Doe"
        and ("*" not in waiver.subject or (severity == "low" and re.search("[a-z]", waiver.subject) is not None))
    )


@quick
@given(made=runs(), accepted=waivers())
def test_go_is_never_said_of_what_was_not_seen(made: list[StoredRun], accepted: tuple[Waiver, ...]) -> None:
    answer = ask(*made, waivers=accepted, profile=PROFILE)
    assert answer.go is (not answer.blockers)
    if not answer.go:
        return
    for name in NAMES:
        latest = max(
            (run for run in made if run.spoke_at(name) is not None),
            key=lambda run: (run.spoke_at(name), bool(run.doubt)),
        )
        assert not latest.doubt
        assert timedelta(0) <= NOW - latest.started <= PROFILE.fresh_for(CATALOGUE.clause(*name).kind)
        (result,) = latest.results(name)
        assert result.verdict in {Verdict.passed, Verdict.not_applicable, Verdict.failed}
        for finding in result.findings if result.verdict is Verdict.failed else ():
            assert finding.ok is not None
            assert finding.ok or any(
                (w.requirement, w.clause) == name and w.names(finding.subject) and in_order(w, NOW.date())
                for w in accepted
            )


@quick
@given(made=runs(), accepted=waivers())
def test_waivers_change_no_verdict_and_settle_only_what_was_seen_broken(
    made: list[StoredRun], accepted: tuple[Waiver, ...]
) -> None:
    bare, waived = ask(*made, profile=PROFILE), ask(*made, waivers=accepted, profile=PROFILE)
    assert [c.verdict for c in bare.clauses] == [c.verdict for c in waived.clauses]
    for before, after in zip(bare.clauses, waived.clauses, strict=True):
        if before.standing is not Standing.broken:
            assert after.standing is before.standing
        elif after.standing is not Standing.broken:
            assert after.standing in {Standing.waived, Standing.not_evaluated}


@quick
@given(made=runs(), accepted=waivers(), worse=said)
def test_one_more_run_that_is_no_pass_never_makes_it_go(
    made: list[StoredRun], accepted: tuple[Waiver, ...], worse: Said
) -> None:
    name = NAMES[0]
    one_more = a_run(0.1, {name: worse}, clauses=(name,), name="run-9", doubt="altered")
    if ask(*made, one_more, waivers=accepted, profile=PROFILE).go:
        pytest.fail("a run in doubt was believed")


@quick
@given(made=runs(), accepted=waivers())
def test_the_answer_depends_on_no_order(made: list[StoredRun], accepted: tuple[Waiver, ...]) -> None:
    forward = ask(*made, waivers=accepted, profile=PROFILE)
    backward = ask(*reversed(made), waivers=tuple(reversed(accepted)), profile=PROFILE)
    assert forward.go is backward.go
    assert [c.standing for c in forward.clauses] == [c.standing for c in backward.clauses]
    assert {(b.what, b.clause, b.subjects) for b in forward.blockers} == {
        (b.what, b.clause, b.subjects) for b in backward.blockers
    }


def test_go_and_waived_are_both_reached() -> None:
    """The properties are about something: with these means a GO with a waiver comes about."""
    said_so = {NAMES[0]: broken("ServiceAccount/ci/a")}
    answer = ask(a_run(3, said_so), waivers=(a_waiver(subject="ServiceAccount/ci/a"),), profile=PROFILE)
    assert answer.go
    assert {clause.standing for clause in answer.clauses} <= SETTLED
