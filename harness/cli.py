"""The command line ``verify``. Thin: ``run`` is pytest with the right arguments."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bootstrap.lab.cli import app as lab
from harness.commands import RUNS, USAGE
from harness.evidence_cli import app as evidence
from harness.explain_cli import explain
from harness.export_cli import app as export
from harness.gate_cli import diff, gate, history
from harness.preflight_cli import (
    DisruptOption,
    KindOption,
    ProfileOption,
    RequirementOption,
    TargetOption,
    preflight,
    rbac,
)
from policies.catalogue import load_catalogue
from policies.documents import DocumentError
from reports.overview import EXIT_NOT_RESTORED

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Prove, requirement by requirement, what a live Kubernetes deployment withstands.

    First time: `verify lab up`, then `verify run --target lab`, then open out/runs/latest/report.html.
    Elsewhere: grant what `verify rbac --target FILE` writes, look with `verify preflight`, then `verify run`.

    Exit codes of `run`: 0 all clauses passed, 1 a clause failed, 2 interrupted, 4 a wrong call or target, 5 nothing to
    run, 10 something could not be evaluated, 11 the deployment is not as it was found (run `verify restore`).""",
)
app.add_typer(lab, name="lab")
app.add_typer(evidence)  # `verify keygen` and `verify evidence`
app.add_typer(export, name="export")

ROOT = Path(__file__).resolve().parent.parent

OutOption = Annotated[Path, typer.Option("--out", help="Where runs are kept.")]


@app.command()
def run(
    earlier: Annotated[str | None, typer.Argument(metavar="[RUN]", help="With --resume: which run, by its id.")] = None,
    *,
    target: TargetOption,
    profile: ProfileOption = None,
    requirement: RequirementOption = None,
    kind: KindOption = None,
    disrupt: DisruptOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Inspect, say what would be broken and whether it could; break nothing.")
    ] = False,
    key: Annotated[
        str | None, typer.Option("--key", help="What signs the evidence: a file, env:NAME or hv:NAME (Vault).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Repeat only what an interrupted run (default: the latest) did not see.")
    ] = False,
    out: OutOption = RUNS,
) -> None:
    """Verify a deployment: look, judge, leave evidence in out/runs/<id>/ and a report.html.

    The order is preflight, inspect, probe, load, disrupt, proof of restoration. Ctrl-C undoes what was broken first.

    verify run --target lab · verify run -t lab -r 1.4,10.1 · verify run -t lab -k inspect ·
    verify run -t ./mine.yaml --profile nightly · verify run -t lab --dry-run · verify run -t lab --resume
    """
    import pytest

    from harness.resume import UNFINISHED

    if earlier is not None and not resume:
        Console(stderr=True).print(f"RUN ({earlier}) is only for --resume; leave it out.", markup=False)
        raise typer.Exit(USAGE)
    arguments = [str(ROOT / "suites"), "--rootdir", str(ROOT), "-c", str(ROOT / "pytest.ini"), "-q", "--no-header"]
    # A development tool that needs half a second to load, and rewriting for asserts, of which the suites have none.
    arguments += ["-p", "no:hypothesispytest", "--assert=plain"]
    arguments += ["--no-summary", "--target", target, "--out", str(out)]
    arguments += [f"--profile={profile}"] if profile else []
    arguments += [f"--requirement={r}" for r in requirement or []] + [f"--kind={k}" for k in kind or []]
    arguments += ["--disrupt"] if disrupt else []
    arguments += ["--dry-run"] if dry_run else []
    arguments += ["--key", key] if key else []
    arguments += [f"--resume={earlier or UNFINISHED}"] if resume else []
    sys.exit(int(pytest.main(arguments)))


@app.command()
def restore(
    target: TargetOption,
    out: OutOption = RUNS,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what a run elsewhere made within the last hour: it has ended for sure.")
    ] = False,
) -> None:
    """Undo what an interrupted run left broken, and prove it. Safe to call at any time, from any machine.

    What a run made that is still at work is left to it.

    verify restore --target lab · verify restore -t ./mine.yaml --all
    """
    from fixtures.kubernetes import KubeconfigError
    from harness.plugin import restore_command
    from harness.restore import BusyError
    from harness.restore import restore as undo_everything
    from targets.model import load_target

    console = Console(stderr=True, highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    try:
        again = restore_command(target, str(out))
        problems = undo_everything(load_target(target), out, again, say, everything=everything)
    except (DocumentError, KubeconfigError, BusyError) as error:
        say(str(error))
        raise typer.Exit(USAGE) from error
    for problem in problems:
        say(f"not restored: {problem}")
    raise typer.Exit(EXIT_NOT_RESTORED if problems else 0)


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(help="The run's folder.")] = RUNS / "latest",
    show: Annotated[bool, typer.Option("--open", help="Open it in a browser, where there is a screen.")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Draw it anew into this file, outside of the run.")] = None,
) -> None:
    """Say where report.html of a run is, and draw it where there is none: for a run that was interrupted.

    The page of a run that ended is part of its evidence and is never drawn over; --to draws it anew elsewhere.

    verify report · verify report out/runs/20261124-020000-7a11ed --to page.html
    """
    from reports.html import render
    from reports.store import PAGE, RunStore, StoreError

    try:
        store = RunStore.open(run_folder)
        record = store.read()
        page = to or store.path / PAGE
        if to is not None or record.manifest is None:
            render(record, load_catalogue(), page)
        elif not page.exists():
            raise StoreError(f"{page} is not there any more; draw it anew elsewhere with --to FILE.")
    except (DocumentError, StoreError) as error:
        Console(stderr=True).print(str(error), markup=False)
        raise typer.Exit(USAGE) from error
    typer.echo(f"report: {page}")
    if show and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        typer.launch(str(page))


for reader in (preflight, rbac, explain, gate, diff, history):
    app.command()(reader)


# Unknown options, missing values and the like; typer keeps click's classes to itself, this is what they all are.
setattr(typer.BadParameter.__base__, "exit_code", USAGE)  # noqa: B010 - the attribute is not declared there


def main() -> None:
    """Entry point."""
    app()
