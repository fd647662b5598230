"""What the source says of every check: its test and promise, its rule, the facts it sees, and what these reach for.

Read from the source itself, so that what is explained is what runs. Nothing is imported or collected for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final, TypeAlias

ROOT: Final = Path(__file__).resolve().parent.parent
SUITES: Final = ROOT / "suites"
FIXTURES: Final = ROOT / "fixtures"

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Definition: TypeAlias = _Function | ast.ClassDef


@dataclass(frozen=True)
class Check:
    """The test of one clause."""

    requirement: str
    clause: str
    file: str
    """From the root of the checkout."""
    line: int
    test: str
    promise: str
    rule: str
    """Module and name under policies.rules; empty where the test judges with none."""
    facts: tuple[str, ...]
    """The fixtures whose observations are judged."""
    fixtures: tuple[str, ...]
    """All fixtures behind the test, those that it names first, with what the harness hands them."""
    disrupts: str
    """The system that it breaks; empty where it breaks nothing."""


@dataclass(frozen=True)
class Source:
    """All checks of the suites and the fixtures behind them."""

    checks: Mapping[tuple[str, str], Check]
    """By requirement id and clause slug."""
    modules: Mapping[str, ast.Module]
    """The modules with fixtures, by name."""

    def promise(self, fixture: str) -> str:
        """The first paragraph of a fixture's docstring; empty where there is none."""
        found = self._fixtures.get(fixture)
        return paragraph(found[1]) if found is not None else ""

    def settings(self, fixtures: Iterable[str]) -> tuple[str, ...]:
        """What of the target these fixtures read, as ``network.service``, sorted."""
        chains = {chain for fixture in fixtures for node in self._reached(fixture) for chain in _target_chains(node)}
        return tuple(sorted(c for c in chains if not any(other.startswith(f"{c}.") for other in chains)))

    def names(self, fixtures: Iterable[str]) -> frozenset[str]:
        """What these fixtures name, themselves or in the functions of their module that they call."""
        return frozenset(
            node.id
            for fixture in fixtures
            for reached in self._reached(fixture)
            for node in ast.walk(reached)
            if isinstance(node, ast.Name)
        )

    @cached_property
    def _fixtures(self) -> Mapping[str, tuple[str, _Function]]:
        return {
            node.name: (name, node)
            for name, module in self.modules.items()
            for node in module.body
            if isinstance(node, _Function) and any("pytest.fixture" in ast.unparse(d) for d in node.decorator_list)
        }

    def _reached(self, fixture: str) -> Iterator[_Definition]:
        """The fixture, and every function and class of its own module that it comes to use."""
        if fixture not in self._fixtures:
            return
        module, first = self._fixtures[fixture]
        known = {node.name: node for node in self.modules[module].body if isinstance(node, _Definition)}
        waiting: list[_Definition] = [first]
        seen: set[str] = set()
        while waiting:
            node = waiting.pop()
            if node.name in seen:
                continue
            seen.add(node.name)
            yield node
            waiting += [known[n.id] for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in known]


@cache
def source() -> Source:
    """Read it all: some tens of files."""
    modules = {file.stem: ast.parse(file.read_text()) for file in FIXTURES.glob("*.py")}
    known = Source({}, modules)._fixtures
    checks = {}
    for file in sorted(SUITES.rglob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, _Function) and (name := _marked(node, "requirement")):
                requirement, clause = name
                rule, facts = _judged(node)
                checks[requirement, clause] = Check(
                    requirement=requirement,
                    clause=clause,
                    file=str(file.relative_to(ROOT)),
                    line=node.lineno,
                    test=node.name,
                    promise=paragraph(node),
                    rule=rule,
                    facts=facts,
                    fixtures=tuple(_closure(node, known)),
                    disrupts=next(iter(_marked(node, "disrupts")), ""),
                )
    return Source(checks, modules)


def paragraph(node: _Definition) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())


def _marked(node: _Function, marker: str) -> tuple[str, ...]:
    """The arguments of ``@pytest.mark.<marker>``; none where it is not there."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"pytest.mark.{marker}":
            return tuple(str(ast.literal_eval(argument)) for argument in decorator.args)
    return ()


def _judged(node: _Function) -> tuple[str, tuple[str, ...]]:
    """The rule of ``judge(rules.module.rule, fact, ...)`` and its facts."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "judge" and call.args:
            rule, *facts = (ast.unparse(argument) for argument in call.args)
            return rule.removeprefix("rules."), tuple(facts)
    return "", ()


def _closure(node: _Function, known: Mapping[str, tuple[str, _Function]]) -> dict[str, None]:
    """The fixtures that a test names, and those that they name."""
    found: dict[str, None] = {}
    waiting = [node]
    while waiting:
        function = waiting.pop(0)
        for name in _arguments(function):
            if name not in found:
                found[name] = None
                waiting += [known[name][1]] if name in known else []
    return found


def _arguments(node: _Function) -> Iterator[str]:
    return (argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs))


def _target_chains(node: ast.AST) -> Iterator[str]:
    """``network.service`` for each ``target.network.service`` below, and whatever follows cut at a call."""
    for found in ast.walk(node):
        if isinstance(found, ast.Attribute) and (chain := ast.unparse(found)).startswith("target."):
            yield chain.removeprefix("target.")
