"""``survivors.toml``: the mutants that no case can tell from the rule, each with the reason why."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.mutation.mutants import Function, Mutant, Outcome

FILE = Path(__file__).with_name("survivors.toml")


def explained() -> dict[Mutant, str]:
    """Mutant to why it cannot be seen to differ. Raises KeyError where an entry lacks one of its five keys."""
    entries = tomllib.loads(FILE.read_text("utf-8"))["survivor"]
    return {_mutant(entry): entry["why"] for entry in entries}


def _mutant(entry: dict[str, str]) -> Mutant:
    return Mutant(Function(entry["file"], entry["function"]), entry["was"], entry["becomes"])


def complaints(outcome: Outcome, chosen: list[Function]) -> Iterator[str]:
    """A sentence for each survivor without an explanation, and for each explanation without a survivor."""
    known = explained()
    for mutant in sorted(outcome.survivors - set(known)):
        yield f"no case sees this change; add one that does, or explain it in {FILE.name}:\n{_entry(mutant)}"
    for mutant in sorted(set(known) - outcome.survivors):
        if mutant.function in chosen:
            yield f"explained in {FILE.name}, but a case sees it or it is there no more; take it out:\n{_entry(mutant)}"


def _entry(mutant: Mutant) -> str:
    keys = {
        "file": mutant.function.file,
        "function": mutant.function.name,
        "was": mutant.was,
        "becomes": mutant.becomes,
    }
    return "\n".join(f"  {key} = {json.dumps(text, ensure_ascii=False)}" for key, text in keys.items())
