"""The list of mutants that no case can see is about the rules as they are, and each entry says why."""

from __future__ import annotations

import ast

from policies import rules
from tests.mutation.explained import complaints, explained
from tests.mutation.mutants import ROOT, Function, Mutant, Outcome, functions, part_of

EXPLAINED = explained()
SOME = next(iter(EXPLAINED))
OTHER = Mutant(SOME.function, "if observed <= limit:", "if observed < limit:")


def test_each_is_of_a_line_that_is_there() -> None:
    """A rule that was rewritten takes its explanations along."""
    for mutant, why in EXPLAINED.items():
        assert mutant.function in set(functions())
        lines = [line.strip() for line in (ROOT / mutant.function.file).read_text("utf-8").splitlines()]
        assert "\n".join(lines).count(mutant.was) > 0, mutant
        assert len(why.split()) > 3, mutant


def test_a_survivor_without_an_explanation_is_told() -> None:
    """With what to do, and in the form in which it would be explained."""
    outcome = Outcome(1, frozenset([*EXPLAINED, OTHER]))
    (complaint,) = complaints(outcome, list(functions()))
    assert complaint.startswith("no case sees this change; add one that does")
    assert 'becomes = "if observed < limit:"' in complaint


def test_an_explanation_without_a_survivor_is_told() -> None:
    """But only where its function was among those changed."""
    outcome = Outcome(1, frozenset(set(EXPLAINED) - {SOME}))
    (complaint,) = complaints(outcome, [SOME.function])
    assert "take it out" in complaint
    assert list(complaints(Outcome(1, frozenset()), [])) == []


def test_the_days_parts_are_all_of_it() -> None:
    """No function is left out, none comes twice; and a function's part does not hang on the others."""
    everything = list(functions())
    parts = [part_of(everything, part, 3) for part in range(3)]
    assert sorted(function for part in parts for function in part) == sorted(everything)
    assert all(len(part) > len(everything) / 5 for part in parts)
    assert part_of([SOME.function], 0, 1) == [SOME.function]


def test_every_public_rule_is_among_the_functions_that_are_changed() -> None:
    """A decorated rule would be left alone by mutmut."""
    files = [ROOT / f"policies/rules/{name}.py" for name in (*rules.__all__, "common") if name.islower()]
    stated = {
        Function(str(file.relative_to(ROOT)), node.name)
        for file in files
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert stated <= set(functions())
