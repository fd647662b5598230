"""Runs made up from the real catalogue: one where all is well, and one with every verdict and hostile text in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from policies.catalogue import Catalogue, Clause, Requirement
from policies.facts.base import Cause, Fact, Unseen
from policies.facts.control_plane import ControlPlaneOutage, Event, PodIdentity, Write
from policies.facts.declared import Declared
from policies.finding import Finding
from policies.rules import control_plane
from policies.waivers import Waiver, Waivers
from reports.html import render
from reports.model import ClauseResult, Emulated, RunSummary, Verdict
from reports.store import PAGE, RunStore
from reports.timeline import Watched, watched

START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
CHECKED = ("1.1", "1.3", "1.4", "10.1")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>&amp;\x1b[31m\u202e"
KUBERNETES = {"kubernetes": "v1.36.3", "python": "3.11.7", "pytest": "9.2.0"}
NODES = ("cp1", "cp2", "cp3", "w1", "w2", "w3")
LOOSENED = {"1.1": {"api_write_gap": 45.0}}

Made = tuple[Verdict, Cause | None, tuple[Finding, ...], str]


def drawn_of(fact: Fact) -> Watched:
    """What there is to draw of an observation."""
    seen = watched(fact)
    assert seen is not None
    return seen


def outage(gap_s: float = 3.2, unseen: Unseen | None = None) -> ControlPlaneOutage:
    """One control-plane node cut off at 10 s, given back at 50 s, with a pause of ``gap_s`` in the writes."""
    writes = []
    for number in range(1400):
        sent = number * 0.05
        stopped = 10.4 <= sent < 10.4 + gap_s
        slow = 0.8 if stopped else 0.004 + 0.003 * (number % 5)
        writes.append(Write(number, round(sent, 3), round(sent + slow, 3), not stopped))
    pods = tuple(
        PodIdentity("production", f"api-{i}", "w1", f"uid-{i}", True, {"api": "c restarts=0"}) for i in range(40)
    )
    events = [
        Event(0.0, "writing to https://10.231.0.1:6443 every 50 ms"),
        Event(10.0, "the cut of cp2, etcd's leader, began"),
        Event(10.3, f"cp2 answers no more {HOSTILE}"),
        Event(10.4, "last write acknowledged before the longest pause"),
        Event(10.4 + gap_s, f"first write acknowledged after it, {gap_s:.2f} s later"),
        Event(50.0, "cp2 is being connected again"),
        Event(58.0, "cp2 is Ready"),
    ]
    return ControlPlaneOutage(
        seen_at=START + timedelta(seconds=100),
        node="cp2",
        fault="control-plane-node-cut",
        proof="cp2 did not answer on 6443 and etcd's leader moved",
        injected_at=10.0,
        undone_at=50.0,
        ended_at=70.0,
        interval_s=0.05,
        writes=tuple(writes),
        read_back=tuple(w.number for w in writes if w.acknowledged),
        pods_before=pods,
        pods_after=pods,
        events=tuple(events),
        unseen=unseen,
    )


def healthy(requirement: Requirement, clause: Clause) -> Made:
    """Every subject holds, among them long lists."""
    many = 36 if clause.slug in {"pod-traffic", "requests", "limits"} else 3
    findings = tuple(Finding(f"node {NODES[i % 6]} #{i}", clause.statement, "as it must be", True) for i in range(many))
    return Verdict.passed, None, findings, ""


def troubled(requirement: Requirement, clause: Clause) -> Made:
    """Every verdict and cause there is, spread over four requirements."""
    match requirement.id, clause.slug:
        case "1.4", "secrets-read":
            finding = Finding(
                f"ServiceAccount/staging/{HOSTILE}",
                "no list or watch on secrets",
                f"ClusterRole reader-{HOSTILE} by ClusterRoleBinding readers",
                False,
            )
            more = Finding("Group/system:authenticated", "no list or watch on secrets", "Role a in kube-public", False)
            ok = tuple(Finding(f"ServiceAccount/ns-{i}/default", "nothing", "nothing", True) for i in range(120))
            line = (
                f"1.4 secrets-read · {finding.subject}: {finding.observed}, {finding.expected}  -> Remove the binding"
            )
            return (
                Verdict.failed,
                None,
                (*ok, finding, more),
                f"{line}\n1.4 secrets-read · Group/system:authenticated: x",
            )
        case "1.4", "default-service-accounts":
            findings = tuple(
                Finding(f"ServiceAccount/team-{i}/default", "mounts no token", "mounts a token", False)
                for i in range(400)
            )
            return (
                Verdict.failed,
                None,
                findings,
                "1.4 default-service-accounts · team-0: mounts a token  -> Set it to false",
            )
        case "1.4", "wildcards":
            message = "1.4 wildcards · the check itself failed: ValueError: '<b>' is not a rule"
            return Verdict.error, None, (), message
        case "1.3", "dns-latency":
            unseen = Unseen(
                Cause.FORBIDDEN, "pods in verify-system", "HTTP 403: pods is forbidden", "bind the disruptor"
            )
            finding = Finding.unseen("w3", "at most 100 ms (dns_p95)", unseen)
            return (
                Verdict.not_evaluated,
                Cause.FORBIDDEN,
                (finding,),
                (f"1.3 dns-latency · w3: {finding.observed}, {finding.expected}  -> {unseen.remedy}"),
            )
        case "1.3", "mtu":
            return Verdict.not_applicable, None, (), "1.3 mtu · not applicable: the cloud's network has no overlay"
        case "10.1", _:
            if clause.slug == "quota-alert":
                return Verdict.manual, None, (), "10.1 quota-alert · the pager is answered by a person"
    return healthy(requirement, clause)


def make_run(
    root: Path,
    catalogue: Catalogue,
    outcome: Callable[[Requirement, Clause], Made] = troubled,
    *,
    gap_s: float = 51.0,
    without: tuple[str, ...] = (),
    finish: bool = True,
    draw: bool = False,
    overrides: dict[str, dict[str, float]] | None = None,
    not_restored: tuple[str, ...] = (),
) -> RunStore:
    """Write a run through the store. ``without`` are clauses of 1.1 that were chosen but never judged."""
    store = RunStore.create(root)
    overrides = LOOSENED if overrides is None else overrides
    declared = store.record_fact(Declared(START, ("production",), "kube-system", "kube-flannel", "vxlan", ()))
    lost = outage(gap_s)
    seen = store.record_fact(lost)
    planned = [(r.id, c.slug) for r in catalogue if r.id in CHECKED for c in r.clauses]
    for requirement in catalogue:
        if requirement.id not in CHECKED:
            continue
        for clause in requirement.clauses:
            if requirement.id == "1.1" and clause.slug in without:
                continue
            limits = catalogue.limits(requirement.id, clause.slug, overrides)
            facts, rule = (declared,), ""
            verdict, cause, findings, message = outcome(requirement, clause)
            if clause.kind == "disrupt":
                judge = getattr(control_plane, clause.slug.replace("-", "_"))
                findings, facts, rule = tuple(judge(lost, limits)), (seen,), f"control_plane.{judge.__name__}"
                broken = [f for f in findings if f.ok is False]
                verdict = Verdict.failed if broken else Verdict.passed
                message = "\n".join(
                    f"1.1 {clause.slug} · {f.subject}: {f.observed}, {f.expected}"
                    f"  -> {catalogue.remedy('1.1', clause.slug)}"
                    for f in broken
                )
            store.append_result(
                ClauseResult(
                    run=store.run_id,
                    requirement=requirement.id,
                    clause=clause.slug,
                    kind=clause.kind,
                    test=f"suites/test.py::test_{clause.slug}",
                    verdict=verdict,
                    cause=cause,
                    message=message,
                    facts=facts,
                    rule=rule,
                    limits={name: limit.text() for name, limit in limits.items()},
                    findings=findings,
                    started=START,
                    ended=START + timedelta(seconds=0.4),
                )
            )
    for line in journal():
        store.journal(line)
    if finish:
        summary = summarise(store.run_id, catalogue, planned, overrides, not_restored, 0 if outcome is healthy else 1)
        page = partial(render, catalogue=catalogue, out=store.path / PAGE) if draw else None
        store.finish(summary, page, unsigned="no key was named")
    return store


def journal() -> list[dict[str, object]]:
    """What the harness writes of the fault of `outage`, as a run does that was ended early by its error budget."""
    entry = {
        "id": "0ddba11c0ffe",
        "run": "run",
        "target": "lab",
        "fault": "control-plane-node-cut",
        "parameters": {"node": "cp2", "address": "10.231.0.12", "max_seconds": "90"},
        "opened": START,
        "radius": {"nodes": 1, "pods": 9, "seconds": 90.0},
    }
    said = {
        "open": (0.0, ""),
        "injected": (0.2, ""),
        "proved": (1.3, "cp2 does not answer on 6443"),
        "ended early": (40.0, f"service production/api had no ready endpoint for 10 s {HOSTILE}"),
        "undone": (40.4, "error budget used: the API endpoint 3.2 of 60 s, service production/api 10.0 of 10 s"),
    }
    return [
        {"at": START + timedelta(seconds=at), "event": event, "entry": entry, "detail": detail}
        for event, (at, detail) in said.items()
    ]


def waivers() -> Waivers:
    """One that covers a breach of the troubled run, and others that are wrong, each in its way."""
    common: dict[str, Any] = {
        "reason": "The old reader is replaced with the next release.",
        "risk": "Whoever is logged in reads Secrets of kube-public.",
        "requested_by": "M. Roe",
        "approver": "J. Doe",
        "ticket": "SEC-12",
        "issued": START.date() - timedelta(days=4),
        "expires": START.date() + timedelta(days=10),
        "requirement": "1.4",
        "clause": "secrets-read",
        "subject": "Group/system:authenticated",
    }
    others: tuple[dict[str, Any], ...] = (
        {},
        {"clause": "wildcards", "subject": f"ServiceAccount/ci/{HOSTILE}"},
        {"subject": "Group/developers"},
        {"subject": f"ServiceAccount/staging/{HOSTILE}", "approver": "M. Roe"},
        {"clause": "default-service-accounts", "subject": "ServiceAccount/*"},
        {
            "requirement": "1.1",
            "clause": "write-gap",
            "subject": "api endpoint",
            "expires": START.date() - timedelta(1),
        },
    )
    return Waivers(waivers=tuple(Waiver.model_validate(common | changes) for changes in others))


def summarise(
    run: str,
    catalogue: Catalogue,
    planned: list[tuple[str, str]],
    overrides: dict[str, dict[str, float]],
    not_restored: tuple[str, ...] = (),
    code: int = 0,
) -> RunSummary:
    """What the harness says of the run."""
    return RunSummary(
        run=run,
        target="lab",
        description="The embedded lab, six nodes on one machine",
        environment="lab",
        started=START,
        ended=START + timedelta(seconds=134.2),
        exit_code=code,
        checks=tuple(planned),
        planned=tuple(planned),
        catalogue_digest=catalogue.digest,
        limits={
            r.id: {n: x for c in r.clauses for n, x in catalogue.limits(r.id, c.slug, overrides).items()}
            for r in catalogue
        },
        deviations=catalogue.deviations(overrides),
        emulated=(Emulated("Six machines", "network and process namespaces of one machine, which share its kernel"),),
        not_restored=not_restored,
        command=("verify", "run", "--target", "lab"),
        commit="8f1f2c1e0d0c9e0d8d3f6f3f8a0f5b7a3c1d2e3f",
        versions=KUBERNETES,
    )
