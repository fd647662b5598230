"""Runs that really judged: rules on facts of their own cases, written as the harness writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from harness.verdict import decide, sentences
from policies.catalogue import Catalogue, Overrides
from reports.html import render
from reports.model import ClauseResult, Emulated, RunSummary
from reports.provenance import commit
from reports.signing import SigningKey
from reports.store import PAGE, RunStore
from reports.timestamp import Authority
from tests.rules.cases import Case, load_cases

START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
CHECKOUT = Path(__file__).parents[2]
JOURNAL = ({"at": START, "event": "injected"}, {"at": START, "event": "undone"})


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case of every rule."""
    return tuple(load_cases())


def one_of_each() -> Iterator[Case]:
    """One case of every clause, in turn one that passes, one that fails and one that could not be seen."""
    wanted = ("passed", "failed", "not_evaluated")
    for number, clause in enumerate(sorted({(case.requirement, case.clause) for case in all_cases()})):
        mine = [c for c in all_cases() if (c.requirement, c.clause) == clause and not c.overrides]
        yield next((c for c in mine if c.expect == wanted[number % 3]), mine[0])


def judged_run(
    root: Path,
    catalogue: Catalogue,
    *,
    key: SigningKey | None = None,
    cases: Iterable[Case] | None = None,
    finish: bool = True,
    made_by: str | None = None,
    started: datetime = START,
    run_id: str | None = None,
    overrides: Overrides | None = None,
    authority: Authority | None = None,
    bucket: str = "",
) -> RunStore:
    """Write a run through the store; ``made_by`` is the commit that it names, by default the one here.

    ``overrides`` are the target's limits; a case that has limits of its own keeps them. ``bucket`` is where it is to be
    kept.
    """
    store = RunStore.create(root, run_id)
    judged = list(one_of_each() if cases is None else cases)
    for case in judged:
        own = {case.requirement: case.overrides} if case.overrides else overrides
        limits = catalogue.limits(case.requirement, case.clause, own)
        findings = tuple(case.function(*case.facts, limits))
        decision = decide(findings, case.facts, started)
        remedy = catalogue.remedy(case.requirement, case.clause)
        store.append_result(
            ClauseResult(
                run=store.run_id,
                requirement=case.requirement,
                clause=case.clause,
                kind=catalogue.clause(case.requirement, case.clause).kind,
                test=f"suites/test.py::test_{case.clause}",
                verdict=decision.verdict,
                cause=decision.cause,
                message=sentences(case.requirement, case.clause, findings, remedy),
                facts=tuple(store.record_fact(fact) for fact in case.facts),
                rule=case.rule,
                limits={name: limit.text() for name, limit in limits.items()},
                findings=findings,
                started=started,
                ended=started + timedelta(seconds=0.4),
            )
        )
    for line in JOURNAL:
        store.journal(line)
    (store.path / "junit.xml").write_text('<testsuites name="pytest"/>')
    (store.path / "allure-results").mkdir()
    (store.path / "allure-results" / "5d1c-result.json").write_text('{"status": "passed"}')
    if finish:
        made = commit(CHECKOUT) if made_by is None else made_by
        summary = replace(summarise(store.run_id, catalogue, made, started, overrides), store=bucket)
        store.finish(
            summary,
            lambda record: render(record, catalogue, store.path / PAGE),
            key,
            "" if key else "no key",
            authority,
        )
    return store


def summarise(
    run: str, catalogue: Catalogue, made_by: str, started: datetime, overrides: Overrides | None = None
) -> RunSummary:
    """What the harness says of such a run."""
    return RunSummary(
        run=run,
        target="lab",
        environment="lab",
        started=started,
        ended=started + timedelta(seconds=134.2),
        exit_code=1,
        catalogue_digest=catalogue.digest,
        limits={
            r.id: {n: x for c in r.clauses for n, x in catalogue.limits(r.id, c.slug, overrides).items()}
            for r in catalogue
        },
        deviations=catalogue.deviations(overrides or {}),
        emulated=(Emulated("Six machines", "one machine"),),
        command=("verify", "run", "--target", "lab"),
        commit=made_by,
        versions={"kubernetes": "v1.36.3"},
    )
