"""``verify preflight`` and ``verify rbac``: what a run would cover, and what it must be granted for that."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import RUNS, USAGE, JsonOption, printed, wrong_calls

if TYPE_CHECKING:  # what a command does not need is not loaded for it
    from harness.selection import Choice
    from policies.catalogue import Catalogue
    from targets.model import Target

TargetOption = Annotated[str, typer.Option("--target", "-t", help="A name (targets/NAME.yaml) or a YAML file.")]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", "-p", help="What this profile looks at: nightly, golive, soc2.")
]
RequirementOption = Annotated[
    list[str] | None, typer.Option("--requirement", "-r", help="Only these, e.g. 1.4 or 1.1,10.1.")
]
KindOption = Annotated[
    list[str] | None, typer.Option("--kind", "-k", help="Only these: inspect, probe, load, disrupt.")
]
DisruptOption = Annotated[bool, typer.Option("--disrupt", help="Allow faults where the target is production.")]


def preflight(
    *,
    target: TargetOption,
    profile: ProfileOption = None,
    requirement: RequirementOption = None,
    kind: KindOption = None,
    disrupt: DisruptOption = False,
    json: JsonOption = False,
) -> None:
    """What a run with the same options would cover; reads only, and starts nothing.

    Which clauses can be evaluated, what is refused and which of them it costs, what would be disrupted, and whether
    something is still broken. Exit codes: 0 all of it can be evaluated, 4 a wrong call, 10 some of it cannot.

    verify preflight --target lab · verify preflight -t ./mine.yaml --profile golive --json
    """
    from rich.console import Console

    from fixtures.kubernetes import operator
    from harness.checks import source
    from harness.coverage import coverage, coverage_screen
    from harness.plugin import restore_command

    progress = Console(stderr=True, highlight=False, style="bright_black")
    with _wrong_calls():
        catalogue, deployment, choice = _read(target, profile, requirement, kind)
        found = coverage(
            deployment,
            operator(deployment),
            code=source(),
            catalogue=catalogue,
            choice=choice,
            disrupt=disrupt,
            restore=restore_command(target, str(RUNS)),
            say=lambda line: progress.print(line, markup=False),
        )
    printed(found, json, lambda: coverage_screen(found, catalogue))
    raise typer.Exit(found.exit_code)


def rbac(
    *,
    target: TargetOption,
    profile: ProfileOption = None,
    requirement: RequirementOption = None,
    kind: KindOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; without it, to the terminal.")] = None,
) -> None:
    """The least that the two identities must be granted for a run with the same options, for `kubectl apply -f`.

    No cluster is asked. A Role where a namespace is enough, a ClusterRole only where it must be.

    verify rbac --target ./mine.yaml --profile nightly --output identities.yaml
    """
    from harness.checks import source
    from harness.coverage import least
    from harness.rbac import as_yaml, roles

    with _wrong_calls():
        catalogue, deployment, choice = _read(target, profile, requirement, kind)
        chosen = [f"--profile={profile}"] if profile else []
        chosen += [f"--requirement={r}" for r in requirement or []] + [f"--kind={k}" for k in kind or []]
        command = shlex.join(["verify", "rbac", "--target", target, *chosen])
        home = deployment.identities.namespace
        wanted = least(source(), catalogue, choice, deployment)
        tokens = "".join(f"\n  {need.access}" for need in wanted if need.identity == "operator")
        comment = (
            f"Written by `{command}`.\nThe namespace {home}, and those of the Roles, must be there before.\n"
            f"The identity of the target's context, which runs all this, needs no more than:{tokens}"
        )
        text = as_yaml(roles(wanted, deployment), comment)
        if output is None:
            typer.echo(text, nl=False)
            return
        output.write_text(text)
    typer.echo(f"{output}: now `kubectl apply -f {output}`, or name it as IDENTITIES in the values of the bootstrap")


@contextlib.contextmanager
def _wrong_calls() -> Iterator[None]:
    """As every command's, and a wrong choice, a wrong kubeconfig, a file that cannot be written."""
    from fixtures.kubernetes import KubeconfigError
    from harness.selection import SelectionError

    with wrong_calls():
        try:
            yield
        except (SelectionError, KubeconfigError) as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(USAGE) from error
        except OSError as error:
            typer.echo(f"{error.filename} cannot be written: {error.strerror}; name another file.", err=True)
            raise typer.Exit(USAGE) from error


def _read(
    target: str, profile: str | None, requirement: list[str] | None, kind: list[str] | None
) -> tuple[Catalogue, Target, Choice]:
    from harness.selection import choose, names_known_to
    from policies.catalogue import load_catalogue
    from targets.model import load_target

    catalogue = load_catalogue()
    deployment = load_target(target, check=names_known_to(catalogue))
    return catalogue, deployment, choose(catalogue, requirement or [], kind or [], profile)
