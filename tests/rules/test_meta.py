"""Catalogue, suites, rules and cases stand for each other, one to one."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import pytest

from policies import rules
from policies.catalogue import Catalogue, load_catalogue
from policies.limits import Limit, Limits
from tests.rules.cases import Case, load_cases

SUITES = Path(__file__).parents[2] / "suites"
CHECKED = {"1.1", "1.3", "1.4", "5.1", "5.2", "5.3", "5.4", "5.5", "8.3", "10.1"}


@dataclass(frozen=True)
class Suite:
    """One test of the suites, as it is written."""

    file: str
    name: str
    requirement: str
    clause: str
    disrupts: bool
    promise: str
    rule: str


def suites() -> Iterator[Suite]:
    """All tests of all suites, read without importing them. Raises where a test has another form."""
    for file in sorted(SUITES.rglob("test_*.py")):
        for function in ast.parse(file.read_text("utf-8")).body:
            if isinstance(function, ast.FunctionDef):
                yield _suite(file, function)


def _suite(file: Path, function: ast.FunctionDef) -> Suite:
    marks = {}
    for decorator in function.decorator_list:
        assert isinstance(decorator, ast.Call), f"{function.name}: a mark without arguments"
        marks[ast.unparse(decorator.func)] = [ast.literal_eval(argument) for argument in decorator.args]
    assert set(marks) <= {"pytest.mark.requirement", "pytest.mark.disrupts"}, f"{function.name}: unknown marks"
    requirement, clause = marks["pytest.mark.requirement"]
    _docstring, *body = function.body
    assert len(body) == 1, f"{function.name} does more than judge"
    call = body[0].value if isinstance(body[0], ast.Expr) else None
    assert isinstance(call, ast.Call), f"{function.name} does not end with a call of judge"
    assert ast.unparse(call.func) == "judge", f"{function.name} does not end with a call of judge"
    return Suite(
        file=file.name,
        name=function.name,
        requirement=requirement,
        clause=clause,
        disrupts="pytest.mark.disrupts" in marks,
        promise=ast.get_docstring(function) or "",
        rule=ast.unparse(call.args[0]).removeprefix("rules."),
    )


ALL_SUITES = list(suites())
ALL_CASES = list(load_cases())


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The catalogue as it is."""
    return load_catalogue()


def test_each_clause_has_one_test_and_each_test_a_clause(catalogue: Catalogue) -> None:
    """A requirement that has a check has one for each of its clauses."""
    tested = Counter((suite.requirement, suite.clause) for suite in ALL_SUITES)
    stated = {(r.id, clause.slug) for r in catalogue if r.id in CHECKED for clause in r.clauses}
    assert set(tested) == stated
    assert [clause for clause, tests in tested.items() if tests > 1] == []


@pytest.mark.parametrize("suite", ALL_SUITES, ids=lambda suite: suite.name)
def test_each_test_is_a_promise(suite: Suite, catalogue: Catalogue) -> None:
    """It stands in the file of its requirement, promises one sentence, and is marked when it breaks something."""
    assert suite.file.startswith(f"test_{suite.requirement.replace('.', '_')}_")
    assert suite.promise.endswith(".")
    assert "\n" not in suite.promise
    assert suite.disrupts == (catalogue.clause(suite.requirement, suite.clause).kind == "disrupt")


def rule_names() -> list[str]:
    """Every public function of the rules that takes limits, as ``module.name``."""
    modules = [getattr(rules, name) for name in rules.__all__ if name.islower()]
    return [
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in modules
        for name, function in vars(module).items()
        if isinstance(function, FunctionType)
        and function.__module__ == module.__name__
        and not name.startswith("_")
        and list(inspect.signature(function).parameters)[-1].removeprefix("_") == "limits"
    ]


def test_each_rule_judges_one_clause() -> None:
    """No rule without a test, no test without a rule, and the rule says of which clause it is."""
    assert sorted(rule_names()) == sorted(suite.rule for suite in ALL_SUITES)
    for suite in ALL_SUITES:
        module, name = suite.rule.split(".")
        documented = inspect.getdoc(getattr(getattr(rules, module), name)) or ""
        assert documented.startswith(f"{suite.clause}: "), suite.rule


@pytest.mark.parametrize("rule", rule_names())
def test_each_rule_has_cases_of_every_outcome(rule: str) -> None:
    """One that passes, one that fails, one that could not be evaluated; and no two of one name."""
    cases = [case for case in ALL_CASES if case.rule == rule]
    assert {case.expect for case in cases} == {"passed", "failed", "not_evaluated"}
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.bad for case in cases if case.expect == "failed")


def test_cases_are_judged_with_the_limits_of_the_rules_own_clause() -> None:
    """The clause that a case names is the one for which the suites use its rule."""
    used = {suite.rule: (suite.requirement, suite.clause) for suite in ALL_SUITES}
    assert {case.rule: (case.requirement, case.clause) for case in ALL_CASES} == used


class Noting(Limits):
    """Limits that note which of them were asked for."""

    __slots__ = ("noted",)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits.values())
        self.noted: set[str] = set()

    def __getitem__(self, name: str) -> Limit:
        self.noted.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("rule", rule_names())
def test_each_limit_of_the_catalogue_is_used(rule: str, catalogue: Catalogue) -> None:
    """A number that nothing is compared with is no limit."""
    cases: list[Case] = [case for case in ALL_CASES if case.rule == rule]
    noted: set[str] = set()
    for case in cases:
        limits = Noting(case.limits())
        list(case.function(*case.facts, limits))
        noted |= limits.noted
    assert noted == set(catalogue.limits(cases[0].requirement, cases[0].clause))
