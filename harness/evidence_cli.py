"""``verify keygen`` and ``verify evidence check``: keys for runs, and whether what a run left is what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

USAGE: Final = 4
ALTERED: Final = 1
NOT_CONFIRMED: Final = 10
SHOWN: Final = 20
"""Problems of a run that are printed; the rest is counted."""

app = typer.Typer()
evidence = typer.Typer(no_args_is_help=True, help="What a run left: whether it is what the run wrote.")
app.add_typer(evidence, name="evidence")


@app.command()
def keygen(out: Annotated[Path, typer.Option("--out", help="Where the private key is written, mode 0600.")]) -> None:
    """Make a key (Ed25519, PEM) that signs the evidence of runs; the public one is written beside it as FILE.pub.

    Then: `verify run --key FILE`, and `verify evidence check RUN --public-key FILE.pub` by whoever wants to know.
    """
    from reports.signing import SigningError, generate, load_public_key

    try:
        public = generate(out)
        fingerprint = load_public_key(public).id
    except SigningError as error:
        _wrong_call(error)
    typer.echo(f"private key: {out}\npublic key:  {public}\nfingerprint: {fingerprint}")


@evidence.command()
def check(
    path: Annotated[Path, typer.Argument(help="The folder of a run, or a folder of runs.")] = Path("out/runs"),
    public_key: Annotated[
        list[Path] | None,
        typer.Option("--public-key", envvar="VERIFY_PUBLIC_KEY", help="Whose signature is trusted; may be repeated."),
    ] = None,
) -> None:
    """Check offline that the evidence is what the run wrote, and judge every fact again with the rules.

    Digests of all files, the signature, the chain of runs. Exit codes: 0 nothing is wrong, 1 altered or not signed by
    a key given, 4 a wrong call, 10 nothing shows that it was altered, but a rule changed since and finds otherwise.
    """
    from harness.verdict import decide
    from reports.evidence import check as check_evidence
    from reports.signing import SigningError, load_public_key
    from reports.store import StoreError

    try:
        found = check_evidence(path, [load_public_key(file) for file in public_key or []], decide)
    except (SigningError, StoreError) as error:
        _wrong_call(error)
    for run in found.runs:
        word = "ok" if not run.problems else "ALTERED" if run.altered else "not confirmed"
        ended = "" if run.finished else ", interrupted"
        signed = f", signed by {run.signed_by[:12]}" if run.signed_by else ""
        judged = f"{run.again} of {run.results} results judged again"
        typer.echo(f"{word:8} {run.run}: {run.files} files, {judged}{signed}{ended}")
        for problem in run.problems[:SHOWN]:
            typer.echo(f"  {'altered' if problem.altered else 'changed'}  {problem}")
        if len(run.problems) > SHOWN:
            typer.echo(f"  and {len(run.problems) - SHOWN} more")
        for note in run.notes:
            typer.echo(f"  note     {note}")
    for problem in found.problems:
        typer.echo(f"ALTERED  {problem}")
    raise typer.Exit(ALTERED if found.altered else 0 if found.confirmed else NOT_CONFIRMED)


def _wrong_call(error: Exception) -> NoReturn:
    Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
    raise typer.Exit(USAGE) from error
