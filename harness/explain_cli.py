"""``verify explain``: all that is known of a requirement or of one clause."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import RUNS, JsonOption, RunsOption, moment, printed, wrong_calls
from harness.gate_cli import AsOfOption

if TYPE_CHECKING:  # what a command does not need is not loaded for it
    from policies.catalogue import Catalogue, Clause, Requirement
    from reports.runs import StoredRun
    from targets.model import Target


def explain(
    what: Annotated[
        list[str] | None, typer.Argument(help="A requirement, or one clause of it: 1.1, 1.1/write-gap.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="With this deployment's limits: a name or a YAML file.")
    ] = None,
    runs: RunsOption = RUNS,
    as_of: AsOfOption = None,
    json: JsonOption = False,
) -> None:
    """What a requirement means, how it is checked, what that needs, and what was last seen. Without one: all fifty.

    verify explain 1.1 · verify explain 1.1/write-gap --target lab
    """
    from harness.checks import source
    from harness.explanation import explain_screen, explained, list_screen
    from policies.catalogue import load_catalogue

    with wrong_calls():
        catalogue = load_catalogue()
        code = source()
        if not what:
            listed = {r.id: sum((r.id, c.slug) in code.checks for c in r.clauses) for r in catalogue}
            printed(listed, json, lambda: list_screen(catalogue, listed))
            return
        requirement, clauses = _named(" ".join(what), catalogue)
        deployment = _target(target, catalogue)
        now = moment(as_of)
        found = explained(
            requirement,
            clauses,
            catalogue=catalogue,
            code=code,
            target=deployment,
            stored=[run for run in _stored(runs) if run.started <= now],
            today=now.date(),
        )
    printed(found, json, lambda: explain_screen(found, now))


def _named(text: str, catalogue: Catalogue) -> tuple[Requirement, tuple[Clause, ...]]:
    """The requirement and the clauses meant by ``1.1``, ``1.1/write-gap`` or ``1.1 write-gap``."""
    requirement_id, _, slug = text.replace("/", " ").strip().partition(" ")
    requirement = catalogue.requirement(requirement_id)
    return requirement, (catalogue.clause(requirement_id, slug.strip()),) if slug else requirement.clauses


def _target(named: str | None, catalogue: Catalogue) -> Target | None:
    if named is None:
        return None
    from harness.selection import names_known_to
    from targets.model import load_target

    return load_target(named, check=names_known_to(catalogue))


def _stored(runs: Path) -> tuple[StoredRun, ...]:
    """The runs there, the latest first; none where there is no such folder yet."""
    from reports.runs import stored_runs

    return tuple(reversed(stored_runs(runs))) if runs.is_dir() else ()
