"""Waivers, each wrong in one way, are each reported as what they are, and none of them makes a gate GO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.profiles import Profile
from policies.waivers import Waiver
from reports.gate import Answer, Standing
from reports.model import Verdict
from tests.reports.gate_runs import LOOSENED, LOOSENED_TEXT, RELEASE, a_run, a_waiver, ask, broken, unseen

DATA: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "data" / "waivers.yaml").read_text())
CASES = [*DATA["in_order"], *DATA["wrong"]]
CLAUSE = ("1.4", "wildcards")
SUBJECT = "ServiceAccount/ci/deployer"


def answer_to(case: dict[str, Any], *waivers: Waiver, profile: Profile = RELEASE) -> Answer:
    said = case.get("said")
    findings: Any = broken(*case.get("broken", [SUBJECT])) if said is None else Verdict(said)
    if said == "not_evaluated":
        findings = unseen(SUBJECT)
    run = a_run(1, {CLAUSE: findings}, overrides=LOOSENED if case.get("loosened") else None)
    return ask(run, waivers=waivers, profile=profile)


def test_there_are_more_than_ten_ways_to_be_wrong() -> None:
    assert len({tuple(case["flaws"]) for case in DATA["wrong"]}) >= 7
    assert len(DATA["wrong"]) >= 10


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_waiver_is_reported_as_what_it_is(case: dict[str, Any]) -> None:
    answer = answer_to(case, a_waiver(**case["waiver"]))
    assert [finding.flaw.value for finding in answer.waiver_findings] == case["flaws"]
    assert answer.go is case.get("go", not case["flaws"])
    assert [b.what for b in answer.blockers if b.about == "waiver"] == case["flaws"]
    assert bool(answer.accepted) is (case in DATA["in_order"] or case["case"] == "for one of two that are broken")


TEN: tuple[tuple[dict[str, Any], tuple[str, str]], ...] = (
    ({"issued": "2026-11-17", "expires": "2026-11-23"}, ("expired", "it ended on 2026-11-23")),
    ({"issued": "2026-11-25", "expires": "2026-11-30"}, ("not yet in force", "it begins on 2026-11-25")),
    ({"expires": "2026-11-28"}, ("too long", "it runs for 8 days, at most 7 where the requirement is critical")),
    ({"subject": "User/ci-3*"}, ("too wide", "its subject holds a *, which this profile does not take")),
    ({"requested_by": "J. Doe"}, ("self-approved", "J. Doe approved it and had asked for it")),
    ({"requested_by": "j.doe@example.com"}, ("self-approved", "J. Doe approved it and had asked for it")),
    ({"approver": "n/a, ---"}, ("self-approved", "approved it and had asked for it")),
    ({"approver": "---"}, ("self-approved", "it names nobody who asked for it, or nobody who approved it")),
    ({"subject": "User/ci-80"}, ("unused", "it names nothing that is broken; remove it")),
    ({"requirement": "1.3", "clause": "mtu"}, ("not seen", "a waiver accepts only a breach that was seen")),
)


def ten_waivers(wrong: bool) -> tuple[Waiver, ...]:
    """One for each of ten broken subjects; where they are wrong, each in one way."""
    return tuple(
        a_waiver(**{"subject": f"User/ci-{number}", "requested_by": "M. Roe, n/a", **(changes if wrong else {})})
        for number, (changes, _) in enumerate(TEN)
    )


def test_ten_waivers_each_wrong_in_one_way_are_each_reported_as_that_and_none_makes_it_go() -> None:
    subjects = [f"User/ci-{number}" for number in range(len(TEN))]
    run = a_run(1, {CLAUSE: broken(*subjects), ("1.3", "mtu"): unseen("w1")})
    others = ask(run, waivers=ten_waivers(wrong=False))
    assert [(b.about, b.requirement, b.clause) for b in others.blockers] == [("clause", "1.3", "mtu")]
    assert others.waiver_findings == ()

    answer = ask(run, waivers=ten_waivers(wrong=True))
    assert not answer.go
    assert [finding.flaw.value for finding in answer.waiver_findings] == [flaw for _, (flaw, _) in TEN]
    for finding, (_, (_, sentence)) in zip(answer.waiver_findings, TEN, strict=True):
        assert sentence in finding.sentence
    (clause,) = [c for c in answer.clauses if (c.requirement, c.clause) == CLAUSE]
    assert (clause.standing, clause.verdict) == (Standing.broken, Verdict.failed)
    assert [subject.subject for subject in clause.broken if not subject.ticket] == subjects
    assert answer.accepted == ()


@pytest.mark.parametrize("case", DATA["wrong"], ids=lambda case: case["case"])
def test_a_wrong_waiver_is_no_go_even_where_its_flaws_do_not_block(case: dict[str, Any]) -> None:
    blocks_nothing = RELEASE.model_copy(update={"also_blocks": ("deviations",)})
    answer = answer_to(case, a_waiver(**case["waiver"]), profile=blocks_nothing)
    holds_anyway = case.get("said") == "passed" and not case.get("loosened")
    assert answer.go is holds_anyway
    assert not any(blocker.about == "waiver" for blocker in answer.blockers)
    assert [finding.flaw.value for finding in answer.waiver_findings] == case["flaws"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_waiver_never_hides_the_raw_verdict(case: dict[str, Any]) -> None:
    with_it, without = answer_to(case, a_waiver(**case["waiver"])), answer_to(case)
    assert [clause.verdict for clause in with_it.clauses] == [clause.verdict for clause in without.clauses]
    assert [[s.subject for s in clause.broken] for clause in with_it.clauses] == [
        [s.subject for s in clause.broken] for clause in without.clauses
    ]


def test_what_is_covered_says_so_by_ticket() -> None:
    answer = answer_to({}, a_waiver())
    clause = next(c for c in answer.clauses if (c.requirement, c.clause) == CLAUSE)
    assert (clause.standing, clause.verdict) == (Standing.waived, Verdict.failed)
    assert [(s.subject, s.ticket) for s in clause.broken] == [(SUBJECT, "SEC-12")]
    assert [(a.covers, a.approver, a.expires) for a in answer.accepted] == [((SUBJECT,), "J. Doe", "2026-11-27")]


def test_a_wrong_waiver_does_not_take_a_right_one_along() -> None:
    answer = answer_to({}, a_waiver(target="lab"), a_waiver(approver="M. Roe"))
    assert [b.what for b in answer.blockers] == ["self-approved"]
    clause = next(c for c in answer.clauses if (c.requirement, c.clause) == CLAUSE)
    assert clause.standing is Standing.waived


def test_a_pattern_covers_where_the_profile_takes_it_and_no_more_subjects_than_it_says() -> None:
    terms = RELEASE.waivers.model_copy(update={"patterns": ("critical",), "most_subjects": 2})
    profile = RELEASE.model_copy(update={"waivers": terms})
    pattern = a_waiver(subject="ServiceAccount/ci/*")
    two = {"broken": ["ServiceAccount/ci/a", "ServiceAccount/ci/b"]}
    three = {"broken": [*two["broken"], "ServiceAccount/ci/c"]}
    assert answer_to(two, pattern, profile=profile).go
    answer = answer_to(three, pattern, profile=profile)
    assert not answer.go
    assert [f.sentence for f in answer.waiver_findings] == ["it covers 3 subjects, at most 2 may be"]


def test_what_a_profile_does_not_waive_is_not_waived() -> None:
    terms = RELEASE.waivers.model_copy(update={"most_days": {"high": 30}})
    answer = answer_to({}, a_waiver(), profile=RELEASE.model_copy(update={"waivers": terms}))
    assert [f.flaw.value for f in answer.waiver_findings] == ["not waivable"]
    assert not answer.go


def test_broken_and_waived_beside_what_was_not_seen_is_no_go() -> None:
    run = a_run(1, {CLAUSE: (*broken(SUBJECT), *unseen("Role/x"))})
    answer = ask(run, waivers=(a_waiver(),))
    assert [(b.what, b.sentence) for b in answer.blockers] == [
        ("not evaluated", "what was seen broken is waived, and 1 more could not be seen")
    ]


def test_what_was_seen_too_long_ago_is_not_waived() -> None:
    answer = ask(a_run(5, {CLAUSE: broken(SUBJECT)}), a_run(1, kinds=("probe", "disrupt")), waivers=(a_waiver(),))
    assert "not seen" in [f.flaw.value for f in answer.waiver_findings]
    assert not answer.go


def test_a_loosened_limit_is_waived_by_its_text() -> None:
    waiver = a_waiver(requirement="1.1", clause="write-gap", subject=LOOSENED_TEXT)
    loosened = a_run(1, overrides=LOOSENED)
    without = ask(loosened)
    assert [(b.about, b.subjects) for b in without.blockers] == [("deviation", (LOOSENED_TEXT,))]
    assert f'subject "{LOOSENED_TEXT}"' in without.blockers[0].remedy
    answer = ask(loosened, waivers=(waiver,))
    assert answer.go
    assert [(one.in_force, one.ticket) for one in answer.loosened] == [(LOOSENED_TEXT, "SEC-12")]
    looser = ask(a_run(1, overrides={"1.1": {"api_write_gap": 46}}), waivers=(waiver,))
    assert [b.about for b in looser.blockers] == ["deviation", "waiver"]
