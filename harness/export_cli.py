"""``verify export``: a run in the formats of other tools."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands import RUNS, CallError, RunsOption, recorded, wrong_calls

if TYPE_CHECKING:  # what a command does not need is not loaded for it
    from policies.catalogue import Catalogue
    from reports.model import RunRecord
    from reports.waiving import Overlay

app = typer.Typer(no_args_is_help=True, help="A run in the formats of other tools: OSCAL, OpenReports.")

RunArgument = Annotated[str, typer.Argument(help="A run's id, or its folder; `latest` is the newest.")]
WaiversOption = Annotated[Path | None, typer.Option("--waivers", help="Default: policies/waivers.yaml.")]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", "-p", help="Whose terms waivers have to keep; default: the run's own.")
]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="A file; without it, to the terminal.")]


@dataclass(frozen=True)
class _Exported:
    """What every format is made from."""

    record: RunRecord
    catalogue: Catalogue
    overlay: Overlay


@app.command()
def oscal(
    run: RunArgument = "latest",
    output: OutputOption = None,
    runs: RunsOption = RUNS,
    waivers: WaiversOption = None,
    profile: ProfileOption = None,
) -> None:
    """OSCAL assessment results, for the tools of auditors. The same run always gives the same bytes.

    Only what passed is `satisfied`. What was not evaluated is `not-satisfied` with the reason `other` and its cause.
    """
    from policies.framework import load_framework
    from reports.oscal import assessment_results

    with wrong_calls():
        read = _read(run, runs, waivers, profile)
        framework = load_framework(read.catalogue)
        _write(assessment_results(read.record, read.catalogue, framework, read.overlay), output)


@app.command()
def openreports(
    run: RunArgument = "latest",
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Write them to the cluster of --target.")] = False,
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="With --apply: a name (targets/NAME.yaml) or a YAML file.")
    ] = None,
    output: OutputOption = None,
    runs: RunsOption = RUNS,
    waivers: WaiversOption = None,
    profile: ProfileOption = None,
) -> None:
    """OpenReports: a ClusterReport for each of the ten groups, as YAML, or written to the cluster with --apply.

    Those of the next run replace them. They are written by the identity of the target's context, which must be allowed
    to (ClusterRole finbot-verify:publisher); the cluster needs OpenReports' types (bootstrap/layers/50-openreports).
    """
    import yaml

    from policies.framework import load_framework
    from reports.openreports import cluster_reports

    with wrong_calls():
        if apply != (target is not None):
            raise CallError("--apply and --target belong together: reports are written to the deployment named.")
        read = _read(run, runs, waivers, profile)
        reports = cluster_reports(read.record, read.catalogue, load_framework(read.catalogue), read.overlay)
        if target is not None:
            _apply(reports, target, read.record)
            return
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        text = yaml.dump_all(reports, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)
        _write(text.encode(), output)


def _apply(reports: Sequence[Mapping[str, Any]], named: str, record: RunRecord) -> None:
    from fixtures import openreports as cluster
    from fixtures.kubernetes import operator
    from fixtures.unobservable import Unobservable
    from targets.model import load_target

    target = load_target(named)
    if record.target != target.name:
        of = f'of "{record.target}"' if record.target else "of a deployment that it could not name"
        raise CallError(f'run {record.run} is {of}, not of "{target.name}"; reports are written where they belong.')
    try:
        cluster.apply(operator(target), reports)
    except Unobservable as error:
        raise CallError(str(error)) from error
    typer.echo(f"written: {len(reports)} ClusterReports; see them with kubectl get clusterreports", err=True)


def _read(run: str, runs: Path, waivers: Path | None, profile: str | None) -> _Exported:
    """A run with the waivers as they lay over it on the day on which it ended."""
    from policies.catalogue import load_catalogue
    from policies.profiles import load_profile
    from policies.waivers import WAIVERS, load_waivers
    from reports.runs import StoredRun
    from reports.waived import EVERYDAY
    from reports.waiving import over_run

    catalogue = load_catalogue()
    accepted = load_waivers(catalogue, waivers or WAIVERS).waivers
    record = recorded(run, runs)
    own = record.manifest.profile if record.manifest is not None else ""
    terms = load_profile(profile or own or EVERYDAY, catalogue).waivers
    day = (record.ended or StoredRun(record, "").started).date()
    overlay = over_run(record, accepted, terms=terms, catalogue=catalogue, today=day)
    return _Exported(record, catalogue, overlay)


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(content)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise CallError(f"cannot write {output}: {error.strerror or error}. Name another file.") from error
    typer.echo(f"written: {output}", err=True)
