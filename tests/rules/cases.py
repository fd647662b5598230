"""The cases of the rules, read from ``cases/<module>.yaml``: rule, the clause whose limits it gets, and its cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policies import rules
from policies.catalogue import Catalogue, load_catalogue
from policies.facts.base import Fact
from policies.finding import Finding
from policies.limits import Limits
from tests.rules.facts import build

FOLDER = Path(__file__).parent / "data"
Rule = Callable[..., Iterable[Finding]]


@dataclass(frozen=True)
class Case:
    """One case of one rule.

    ``bad``, ``blind`` and, where a case states it, ``good`` are the subjects that must be found violated, unseen and in
    order, exactly; ``says`` are parts of what an operator reads.
    """

    rule: str
    requirement: str
    clause: str
    name: str
    facts: tuple[Fact, ...]
    overrides: Mapping[str, float]
    expect: str
    cause: str | None
    bad: tuple[str, ...]
    blind: tuple[str, ...]
    good: tuple[str, ...] | None
    says: tuple[str, ...]

    @property
    def function(self) -> Rule:
        """The rule itself."""
        module, name = self.rule.split(".")
        found: Rule = getattr(getattr(rules, module), name)
        return found

    def limits(self) -> Limits:
        """The catalogue's limits, with the ones that the case tightens."""
        return _catalogue().limits(self.requirement, self.clause, {self.requirement: self.overrides})

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"


@cache
def _catalogue() -> Catalogue:
    return load_catalogue()


def load_cases() -> Iterator[Case]:
    """All cases of all files."""
    for file in sorted(FOLDER.glob("*.yaml")):
        for rule, block in yaml.safe_load(file.read_text("utf-8")).items():
            requirement, clause = str(block["clause"]).split()
            for case in block["cases"]:
                yield _case(f"{file.stem}.{rule}", requirement, clause, block.get("facts", {}), case)


def _case(rule: str, requirement: str, clause: str, healthy: Mapping[str, Any], case: Mapping[str, Any]) -> Case:
    """A case states, fact by fact, which keys differ from the healthy facts of its rule."""
    allowed = {"name", "facts", "limits", "expect", "cause", "bad", "blind", "good", "says"}
    if set(case) - allowed:
        raise KeyError(f"{rule}, {case['name']}: unknown {set(case) - allowed}")
    changes = case.get("facts", {})
    if set(changes) - set(healthy):
        raise KeyError(f"{rule}, {case['name']}: unknown facts {set(changes) - set(healthy)}")
    facts = {kind: {**(short or {}), **(changes.get(kind) or {})} for kind, short in healthy.items()}
    return Case(
        rule=rule,
        requirement=requirement,
        clause=clause,
        name=case["name"],
        facts=tuple(build(kind, short) for kind, short in facts.items()),
        overrides=case.get("limits", {}),
        expect=case["expect"],
        cause=case.get("cause"),
        bad=tuple(case.get("bad", ())),
        blind=tuple(case.get("blind", ())),
        good=tuple(case["good"]) if "good" in case else None,
        says=tuple(case.get("says", ())),
    )
