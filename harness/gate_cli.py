"""``verify gate``, ``verify diff`` and ``verify history``: what is read out of the evidence of earlier runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import RUNS, CallError, JsonOption, RunsOption, moment, printed, recorded, wrong_calls

if TYPE_CHECKING:  # what a command does not need is not loaded for it
    from reports.runs import StoredRun

TargetName = Annotated[
    str | None, typer.Option("--target", "-t", help="The target's name; needed where runs of several are kept.")
]

AsOfOption = Annotated[
    str | None, typer.Option("--as-of", help="What it would have said then, in UTC: 2026-11-24T12:00.")
]
KeysOption = Annotated[
    list[Path] | None,
    typer.Option("--public-key", envvar="VERIFY_PUBLIC_KEY", help="Whose signature is trusted; may be repeated."),
]


def gate(
    *,
    profile: Annotated[str | None, typer.Option("--profile", "-p", help="nightly, golive, soc2.")] = None,
    target: TargetName = None,
    runs: RunsOption = RUNS,
    public_key: KeysOption = None,
    waivers: Annotated[Path | None, typer.Option("--waivers", help="Default: policies/waivers.yaml.")] = None,
    as_of: AsOfOption = None,
    json: JsonOption = False,
) -> None:
    """GO or NO-GO, from the evidence of earlier runs alone, with the list of what blocks.

    Exit codes: 0 for GO and nothing else, 1 for NO-GO, 4 for a wrong call or file. A profile says what must hold and
    how old its evidence may be; waivers in policies/waivers.yaml cover breaches that were seen, for a time.
    """
    from harness.gating import Question, ask
    from policies.catalogue import load_catalogue
    from policies.profiles import known_profiles, load_profile
    from policies.waivers import WAIVERS, load_waivers
    from reports.gate_screen import gate_screen
    from reports.runs import stored_runs
    from reports.signing import load_public_key

    with wrong_calls():
        if profile is None:
            raise CallError(f"say for what: --profile with one of {', '.join(known_profiles())}.")
        catalogue = load_catalogue()
        demanded = load_profile(profile, catalogue)
        accepted = load_waivers(catalogue, waivers or WAIVERS)
        if demanded.signed and not public_key:
            raise CallError(
                f"{profile} counts signed evidence alone; say whose signature is trusted with --public-key."
            )
        keys = [load_public_key(file) for file in public_key or []]
        now = moment(as_of)
        stored = [run for run in stored_runs(runs) if as_of is None or run.started <= now]
        question = Question(demanded, _target(target, runs, stored), now, accepted, keys)
        answer = ask(question, runs, stored, catalogue)
    printed(answer, json, lambda: gate_screen(answer, catalogue, demanded))
    raise typer.Exit(answer.exit_code)


def diff(
    before: Annotated[str, typer.Argument(help="A run's id, or its folder.")],
    after: Annotated[str, typer.Argument(help="Another one; `latest` is the newest.")] = "latest",
    runs: RunsOption = RUNS,
    json: JsonOption = False,
) -> None:
    """What changed from one run to another: verdicts, the subjects behind them, limits, versions."""
    from policies.catalogue import load_catalogue
    from reports.diff import diff_screen, difference

    with wrong_calls():
        catalogue = load_catalogue()
        found = difference(recorded(before, runs), recorded(after, runs), catalogue)
    printed(found, json, lambda: diff_screen(found))


def history(
    target: TargetName = None,
    runs: RunsOption = RUNS,
    public_key: KeysOption = None,
    last: Annotated[int, typer.Option("--last", min=1, help="So many runs.")] = 12,
    json: JsonOption = False,
) -> None:
    """The trend: each requirement's verdict in each of the last runs of a target."""
    from harness.gating import verifier
    from policies.catalogue import load_catalogue
    from reports import history as histories
    from reports.runs import stored_runs, verified
    from reports.signing import load_public_key

    with wrong_calls():
        catalogue = load_catalogue()
        stored = stored_runs(runs)
        name = _target(target, runs, stored)
        verify = verifier([load_public_key(file) for file in public_key or []])
        mine = [run for run in stored if run.of(name)]
        found = histories.history([verified(run, verify) for run in mine[-last:]], catalogue, name, len(mine) - last)
    printed(found, json, lambda: histories.history_screen(found, catalogue))


def _target(named: str | None, runs: Path, stored: Iterable[StoredRun]) -> str:
    """The target meant: as named, or the only one of which there are runs. Raises CallError."""
    from policies.documents import did_you_mean

    there = sorted({run.manifest.target for run in stored if run.manifest is not None})
    if named is not None:
        if there and named not in there:
            raise CallError(f'{runs} holds no run of a target "{named}".{did_you_mean(named, there)}')
        return named
    if len(there) != 1:
        has = f"holds runs of {', '.join(there)}" if there else "holds no finished run"
        raise CallError(f"{runs} {has}; say which deployment with --target.")
    return there[0]
