"""What the chosen checks may have to do: every verb, by identity, with what it is for and which clauses rest on it.

The verbs themselves are declared in the modules that call the API; here they are put together. `verify preflight` asks
for them, `verify rbac` grants them, and nothing else may be done.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, TypeAlias

import pytest

from fixtures import (
    access,
    alerts,
    control_plane,
    database_backups,
    health,
    kubernetes,
    network,
    nodes,
    pooler,
    postgres,
    postgres_failover,
    redis,
)
from fixtures.kubernetes import Access
from fixtures.scratch import LOOK_ACCESS
from harness import identity, journal, lease
from harness.checks import ROOT, Check, source
from harness.selection import names
from policies.catalogue import Catalogue, Kind
from targets.model import Target

Clause: TypeAlias = tuple[str, str]
"""Requirement id and slug."""
Identity: TypeAlias = Literal["operator", "scanner", "disruptor"]
IDENTITIES: Final[tuple[Identity, ...]] = ("operator", "scanner", "disruptor")
Declared: TypeAlias = Mapping[Identity, tuple[Access, ...]]

RULES: Final = ROOT / "policies/rules"
SNAPSHOT: Final = "snapshot"

FIXTURES: Final[Mapping[str, Declared]] = {
    SNAPSHOT: {"scanner": kubernetes.SNAPSHOT_ACCESS},  # of a check that judges it, only the lists that its rule reads
    "nodes": {"scanner": nodes.ACCESS},
    "pod_network": {"scanner": network.SCANNER_ACCESS, "disruptor": network.ACCESS},
    "quota_trials": {"disruptor": access.QUOTA_ACCESS},
    "defaults": {"disruptor": access.DEFAULTS_ACCESS},
    "foreign_secrets": {"operator": access.TOKENS_ACCESS},
    "anonymous_access": {
        "operator": access.TOKENS_ACCESS,
        "scanner": access.ANONYMOUS_SCANNER_ACCESS,
        "disruptor": access.ANONYMOUS_DISRUPTOR_ACCESS,
    },
    "quota_alerts": {"disruptor": alerts.ACCESS},
    "postgres_failover": {"disruptor": postgres_failover.ACCESS},
    "postgres_node_loss": {"disruptor": postgres_failover.NODE_ACCESS},
    "redis_cluster": {"disruptor": redis.ACCESS},
    "redis_reads": {"disruptor": redis.ACCESS},
    "redis_failover": {"disruptor": redis.FAILOVER_ACCESS},
    "control_plane_outage": {"disruptor": control_plane.ACCESS},
    "backup_plan": {"scanner": database_backups.PLAN_ACCESS},
    "backups": {"disruptor": database_backups.ACCESS},
    "recovery": {"disruptor": database_backups.RECOVERY_ACCESS},
    "pooler": {"scanner": pooler.LOOK_ACCESS},
    "pooled_clients": {"disruptor": pooler.ACCESS},
    "pooler_doors": {"disruptor": pooler.ACCESS},
    "pooler_loss": {"disruptor": pooler.ACCESS},
    "postgres": {"disruptor": postgres.ACCESS},
    "database_services": {"disruptor": postgres.CLIENT_ACCESS},
    "replication_lag": {"disruptor": postgres.CLIENT_ACCESS},
}
"""By the fixture that calls the API; a test holds that none is missing."""

# What a run does for itself, whatever is checked: see that nothing is broken or left over, and be somebody.
EVERY_RUN: Final[Mapping[str, Declared]] = {
    "the scanner's token": {"operator": (identity.SCANNER_TOKEN,)},
    "what an earlier run left": {"scanner": (*journal.READ_ACCESS, *lease.READ_ACCESS, *LOOK_ACCESS)},
}
ACTING: Final[Mapping[str, Declared]] = {
    "the disruptor's token": {"operator": (identity.DISRUPTOR_TOKEN,)},
    "the proof of restoration, and restore": {
        "disruptor": (*journal.READ_ACCESS, *lease.READ_ACCESS, *LOOK_ACCESS),
    },
}
DISRUPTING: Final[Mapping[str, Declared]] = {
    "the undo journal": {"disruptor": journal.WRITE_ACCESS},
    "the disruption lease": {"disruptor": lease.WRITE_ACCESS},
    "what must hold before a fault": {"disruptor": kubernetes.SNAPSHOT_ACCESS},
    "the error budget": {"disruptor": health.ACCESS},
}


@dataclass(frozen=True)
class Asked:
    """A check that was chosen: its clause, and the fixtures behind it."""

    requirement: str
    clause: str
    kind: Kind
    fixtures: tuple[str, ...]
    facts: tuple[str, ...] = ()
    """The fixtures whose observations are judged, and the rule that does; empty where that is not known."""
    rule: str = ""

    @property
    def name(self) -> Clause:
        """Requirement id and slug."""
        return self.requirement, self.clause


def asked(check: Check, kind: Kind) -> Asked:
    """A check of the suites as one that was chosen."""
    return Asked(check.requirement, check.clause, kind, check.fixtures, check.facts, check.rule)


def asked_by(item: pytest.Item, catalogue: Catalogue) -> Asked:
    """The same of a test that pytest has collected, in the suites or elsewhere."""
    requirement, clause = names(item)
    kind = catalogue.clause(requirement, clause).kind
    check = source().checks.get((requirement, clause))
    if check is not None and item.path == ROOT / check.file:
        return asked(check, kind)
    return Asked(requirement, clause, kind, tuple(getattr(item, "fixturenames", ())))


@dataclass(frozen=True)
class Need:
    """One permission of one identity."""

    identity: Identity
    access: Access
    uses: tuple[str, ...]
    """The fixtures that use it, then what of the run itself does."""
    clauses: tuple[Clause, ...]
    """What cannot be evaluated without it; empty where only the run around the checks knows less."""

    @property
    def for_the_check(self) -> bool:
        """Whether a check, or the fault that it injects, uses it itself."""
        return any(map(_for_a_check, self.uses))


def _for_a_check(use: str) -> bool:
    return use in FIXTURES or use in DISRUPTING


def needs(checks: Iterable[Asked], target: Target | None) -> tuple[Need, ...]:
    """All of them for these checks. Without a target its names stay in angle brackets."""
    checks = tuple(checks)
    found: dict[tuple[Identity, Access], dict[str, dict[Clause, None]]] = {}
    for check in checks:
        for use, declared in _of(check):
            for who, accesses in declared.items():
                for each in accesses:
                    for one in each.within(target) if target is not None else (each,):
                        found.setdefault((who, one), {}).setdefault(use, {})[check.name] = None
    return tuple(
        Need(who, one, tuple(sorted(uses, key=lambda use: not _for_a_check(use))), tuple(_stopped(who, uses)))
        for (who, one), uses in found.items()
    )


def _stopped(who: Identity, uses: Mapping[str, Mapping[Clause, None]]) -> dict[Clause, None]:
    """The clauses that have no verdict without these uses; without the operator's tokens none has one."""
    return {name: None for use, names in uses.items() if who == "operator" or _for_a_check(use) for name in names}


def _of(check: Asked) -> Iterator[tuple[str, Declared]]:
    """What one check needs, by what needs it."""
    for fixture in check.fixtures:
        if fixture == SNAPSHOT:
            yield SNAPSHOT, {"scanner": tuple(_lists(check))}
        elif fixture in FIXTURES:
            yield fixture, FIXTURES[fixture]
    yield from EVERY_RUN.items()
    if check.kind != "inspect":
        yield from ACTING.items()
    if check.kind == "disrupt":
        yield from DISRUPTING.items()


def _lists(check: Asked) -> Iterator[Access]:
    """The lists of the snapshot that a check's rule reads; all of them where the rule is not known."""
    if check.rule and SNAPSHOT not in check.facts:
        return  # it is behind another fixture, which declares what it takes from it
    read = reads(check.rule) if check.rule else None
    for each in kubernetes.SNAPSHOT_ACCESS:
        if read is None or each.resource in read:
            yield each


@cache
def reads(rule: str) -> frozenset[str] | None:
    """The lists that a rule, as ``module.function``, takes from the snapshot; None where there is no such rule.

    Read from its source, and that of the functions of the rules that it hands the snapshot to.
    """
    functions = _rules()
    if rule not in functions:
        return None
    module = rule.partition(".")[0]
    fields: set[str] = set()
    waiting, seen = [rule], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        function = functions[name]
        snapshots = {a.arg for a in function.args.args if a.annotation is not None and _is_snapshot(a.annotation)}
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in snapshots:
                fields.add(node.attr.replace("_", ""))
            if isinstance(node, ast.Name) and f"{module}.{node.id}" in functions:
                waiting.append(f"{module}.{node.id}")
    return frozenset(fields) & {each.resource for each in kubernetes.SNAPSHOT_ACCESS}


def _is_snapshot(annotation: ast.expr) -> bool:
    return ast.unparse(annotation) == "Snapshot"


@cache
def _rules() -> Mapping[str, ast.FunctionDef]:
    return {
        f"{file.stem}.{node.name}": node
        for file in RULES.glob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
