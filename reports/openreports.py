"""A run as OpenReports objects, for dashboards that read them from the cluster: one ClusterReport a group.

Every clause of the catalogue is in them, so that the reports of a run replace those of the one before completely.
``pass`` is only what passed. What was to be judged and was not is ``error``, which OpenReports has for "could not be
evaluated"; ``skip`` is what was left out on purpose or does not apply. Source: reports-api 0.2, openreports.io/v1alpha1
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from policies.catalogue import Catalogue
from policies.facts.base import Cause
from policies.finding import Finding
from policies.framework import Framework
from reports.markup import visible
from reports.model import RunRecord, Verdict
from reports.overview import ClauseState, GroupState, overview
from reports.runs import StoredRun
from reports.waiving import Breach, Overlay

GROUP: Final = "openreports.io"
VERSION: Final = "v1alpha1"
KIND: Final = "ClusterReport"
SOURCE: Final = "finbot-verify"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABELS: Final = "verify.finbot.dev"

# etcd takes objects of 1.5 MB; with these, that of the largest group stays below, whatever was found.
MOST_CHARACTERS: Final = 4000
MOST_RESOURCES: Final = 20
MOST_CHARACTERS_OF_A_PROPERTY: Final = 500

Outcome: TypeAlias = Literal["pass", "fail", "warn", "error", "skip"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("pass", "fail", "warn", "error", "skip")
Object: TypeAlias = dict[str, Any]

_LEFT_OUT: Final = (Cause.NO_CHECK, Cause.NOT_SELECTED)

# How rules name what Kubernetes knows as an object: a pattern over the whole subject, its apiVersion and its kind.
_NAMED: Final = (
    (r"(?:node|kubelet on|etcd as seen on|names from) (?P<name>[a-z0-9][a-z0-9.-]*)", "v1", "Node"),
    (r"namespace (?P<name>[a-z0-9][a-z0-9-]*)", "v1", "Namespace"),
    (r"pod (?P<namespace>[a-z0-9-]+)/(?P<name>[a-z0-9.-]+)(?: on .*)?", "v1", "Pod"),
    (r"ServiceAccount/(?P<namespace>[a-z0-9-]+)/(?P<name>[a-z0-9.-]+)", "v1", "ServiceAccount"),
    (r"service account (?P<namespace>[a-z0-9-]+)/(?P<name>[a-z0-9.-]+)(?: in .*)?", "v1", "ServiceAccount"),
    (r"DaemonSet (?P<namespace>[a-z0-9-]+)/(?P<name>[a-z0-9.-]+)", "apps/v1", "DaemonSet"),
    (r"(?P<namespace>[a-z0-9-]+)/Pod/(?P<name>[a-z0-9.-]+)(?: container .*)?", "v1", "Pod"),
    *(
        (rf"(?P<namespace>[a-z0-9-]+)/{kind}/(?P<name>[a-z0-9.-]+)(?: container .*)?", group, kind)
        for kind, group in {
            "Deployment": "apps/v1",
            "ReplicaSet": "apps/v1",
            "StatefulSet": "apps/v1",
            "DaemonSet": "apps/v1",
            "Job": "batch/v1",
            "CronJob": "batch/v1",
        }.items()
    ),
)
_PATTERNS: Final = tuple((re.compile(pattern), version, kind) for pattern, version, kind in _NAMED)


def cluster_reports(
    record: RunRecord, catalogue: Catalogue, framework: Framework, overlay: Overlay
) -> tuple[Object, ...]:
    """A ClusterReport for each group of the catalogue. ``overlay`` are the waivers over this run."""
    groups = overview(record, catalogue).groups
    return tuple(_report(record, group, framework, overlay) for group in groups)


def outcome(state: ClauseState) -> Outcome:
    """What OpenReports calls what became of a clause."""
    match state.verdict:
        case Verdict.passed:
            return "pass"
        case Verdict.failed:
            return "fail"
        case Verdict.not_applicable:
            return "skip"
        case Verdict.not_evaluated if not state.wanted and state.cause in _LEFT_OUT:
            return "skip"
    return "error"


def report_name(target: str, group: int) -> str:
    """The object's name: the same for every run of a target, so that the next run replaces it."""
    return f"finbot-verify-{target or 'unknown'}-{group:02}"


def reference(subject: str) -> Object | None:
    """The Kubernetes object that a finding's subject names; None where it names none."""
    for pattern, version, kind in _PATTERNS:
        found = pattern.fullmatch(subject)
        if found is not None:
            return {"apiVersion": version, "kind": kind, **found.groupdict()}
    return None


def _report(record: RunRecord, group: GroupState, framework: Framework, overlay: Overlay) -> Object:
    states = [clause for requirement in group.requirements for clause in requirement.clauses]
    results = [_result(record, group, state, framework, overlay) for state in states]
    counted = Counter(result["result"] for result in results)
    labels = {
        MANAGED_BY: SOURCE,
        f"{LABELS}/target": record.target,
        f"{LABELS}/run": record.run,
        f"{LABELS}/group": f"{group.group.group:02}",
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": report_name(record.target, group.group.group),
            "labels": {key: value for key, value in labels.items() if value},
        },
        "source": SOURCE,
        "summary": {name: counted[name] for name in OUTCOMES},
        "results": results,
    }


def _result(record: RunRecord, group: GroupState, state: ClauseState, framework: Framework, overlay: Overlay) -> Object:
    requirement, clause, result = state.requirement, state.clause, state.result
    said = outcome(state)
    findings = result.findings if result is not None else ()
    message = result.message if result is not None and result.message else clause.statement
    at = result.ended if result is not None else record.ended or StoredRun(record, "").started
    return {
        "source": SOURCE,
        "policy": f"{requirement.id} {requirement.title}",
        "rule": clause.slug,
        "category": group.group.title,
        "severity": requirement.severity,
        "timestamp": _timestamp(at),
        "result": said,
        "scored": said in {"pass", "fail"},
        "message": _shortened(message, MOST_CHARACTERS),
        "resources": list(_resources(said, findings)),
        "properties": {
            name: _shortened(value, MOST_CHARACTERS_OF_A_PROPERTY)
            for name, value in _properties(record, state, framework, overlay)
            if value
        },
    }


def _properties(
    record: RunRecord, state: ClauseState, framework: Framework, overlay: Overlay
) -> Iterator[tuple[str, str]]:
    requirement, result = state.requirement, state.result
    yield "run", record.run
    yield "verdict", state.verdict.value
    yield "cause", state.cause.value if state.cause is not None else ""
    yield "why", state.why
    yield "kind", state.clause.kind
    supports = framework.of(requirement.id)
    if supports is not None:
        yield "soc2", ", ".join(f"{name} ({far})" for name, far in supports.criteria.items())
    if result is None:
        return
    yield "subjects", str(len(result.findings))
    yield "broken", str(sum(finding.ok is False for finding in result.findings) or "")
    yield "unseen", str(sum(finding.ok is None for finding in result.findings) or "")
    yield "limits", "; ".join(result.limits[name] for name in sorted(result.limits))
    covering = {
        waiver.ticket: waiver
        for finding in result.findings
        if finding.ok is False
        and (waiver := overlay.covered.get(Breach(requirement.id, state.clause.slug, finding.subject))) is not None
    }
    yield "waived", "; ".join(f"{ticket} until {waiver.expires}" for ticket, waiver in sorted(covering.items()))


def _resources(said: Outcome, findings: Sequence[Finding]) -> Iterator[Object]:
    """The objects that the result is about: what is broken, what could not be seen, or all that holds."""
    wanted = {"pass": True, "fail": False}.get(said)
    found: dict[tuple[str, ...], Object] = {}
    for finding in findings:
        named = reference(finding.subject) if finding.ok is wanted else None
        if named is not None:
            found.setdefault(tuple(named.values()), named)
    yield from list(found.values())[:MOST_RESOURCES]


def _shortened(text: str, most: int) -> str:
    shown = visible(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _timestamp(at: datetime) -> Object:
    return {"seconds": int(at.astimezone(UTC).timestamp()), "nanos": at.microsecond * 1000}
