"""``verify keygen`` and ``verify evidence``: keys for runs, and whether what runs left is what they wrote."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from rich.console import Console

from harness.commands import USAGE
from policies.documents import DocumentError

if TYPE_CHECKING:
    from reports.bucket import BucketStore

ALTERED: Final = 1
NOT_CONFIRMED: Final = 10
SHOWN: Final = 20
"""Problems of a run that are printed; the rest is counted."""

RUN_ID: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")

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


TargetOption = Annotated[
    str | None, typer.Option("--target", "-t", help="The deployment whose evidence.store says how S3 is reached.")
]


@evidence.command()
def check(
    path: Annotated[
        str, typer.Argument(help="The folder of a run, a folder of runs, or s3://BUCKET/PREFIX[/RUN].")
    ] = "out/runs",
    public_key: Annotated[
        list[Path] | None,
        typer.Option("--public-key", envvar="VERIFY_PUBLIC_KEY", help="Whose signature is trusted; may be repeated."),
    ] = None,
    timestamp_ca: Annotated[
        Path | None,
        typer.Option("--timestamp-ca", envvar="VERIFY_TIMESTAMP_CA", help="Whose timestamps are trusted: a PEM file."),
    ] = None,
    target: TargetOption = None,
) -> None:
    """Check offline that the evidence is what the run wrote, and judge every fact again with the rules.

    Digests of all files, the signature, the timestamp, the chain of runs; in S3 also that nothing lies over what was
    written first, and that all of it is locked as the target asks. Exit codes: 0 nothing is wrong, 1 altered or not
    signed by a key given, 4 a wrong call, 10 nothing shows that it was altered, but a rule changed since and finds
    otherwise, or it is not locked.
    """
    from harness.verdict import decide
    from reports.bucket import SCHEME, BucketError
    from reports.evidence import check as check_evidence
    from reports.signing import SigningError, load_public_key
    from reports.store import StoreError
    from reports.timestamp import StampError, load_authorities

    try:
        keys = [load_public_key(file) for file in public_key or []]
        authorities = load_authorities(timestamp_ca) if timestamp_ca else None
        if path.startswith(SCHEME):
            store, run = _in_bucket(path, target)
            found = store.check(run, keys, decide, authorities)
        else:
            found = check_evidence(Path(path), keys, decide, authorities=authorities)
    except (SigningError, StampError, StoreError, BucketError, DocumentError) as error:
        _wrong_call(error)
    for one in found.runs:
        word = "ok" if not one.problems else "ALTERED" if one.altered else "not confirmed"
        ended = "" if one.finished else ", interrupted"
        signed = f", signed by {one.signed_by[:12]}" if one.signed_by else ""
        stamped = f", stamped on {one.stamped:%Y-%m-%d %H:%M:%S} UTC" if one.stamped else ""
        judged = f"{one.again} of {one.results} results judged again"
        typer.echo(f"{word:8} {one.run}: {one.files} files, {judged}{signed}{stamped}{ended}")
        for problem in one.problems[:SHOWN]:
            typer.echo(f"  {'altered' if problem.altered else 'unsure '}  {problem}")
        if len(one.problems) > SHOWN:
            typer.echo(f"  and {len(one.problems) - SHOWN} more")
        for note in one.notes:
            typer.echo(f"  note     {note}")
    for problem in found.problems:
        typer.echo(f"ALTERED  {problem}")
    raise typer.Exit(ALTERED if found.altered else 0 if found.confirmed else NOT_CONFIRMED)


@evidence.command()
def push(
    target: Annotated[str, typer.Option("--target", "-t", help="The deployment whose evidence.store is meant.")],
    run: Annotated[Path, typer.Argument(help="The folder of a run that ended.")] = Path("out/runs/latest"),
) -> None:
    """Keep a run in the target's bucket, as `verify run` does at its end, where that could not be reached then.

    Runs before it in its chain that did not get there either go with it. Nothing is ever written over. Exit codes:
    0 it is there, locked; 4 it is not.
    """
    from reports.bucket import BucketError
    from reports.store import StoreError

    try:
        kept = _bucket(target).push(run)
    except (StoreError, BucketError, DocumentError) as error:
        _wrong_call(error)
    for each in kept.runs[:-1]:
        typer.echo(f"kept {each} as well, which had not reached the bucket")
    typer.echo(f"kept {kept.url}: {kept.objects} objects, locked until {kept.until:%Y-%m-%d %H:%M} UTC")


@evidence.command()
def fetch(
    target: Annotated[str, typer.Option("--target", "-t", help="The deployment whose evidence.store is meant.")],
    run: Annotated[str | None, typer.Argument(help="The run's id.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest run that is whole.")] = False,
    to: Annotated[Path, typer.Option("--to", help="The folder into which the run's folder comes.")] = Path("out/kept"),
) -> None:
    """Bring a run from the target's bucket into a folder, as it was first written.

    Exit codes: 0, 1 something lies over what was written first, 4 a wrong call, 10 it is not locked as asked.
    """
    from reports.bucket import BucketError

    try:
        if (run is None) is not latest:
            raise BucketError("say which run: its id, or --latest.")
        store = _bucket(target)
        folder, problems = store.fetch(run or store.latest(), to)
    except (BucketError, DocumentError) as error:
        _wrong_call(error)
    for problem in problems[:SHOWN]:
        typer.echo(f"  {'altered' if problem.altered else 'unsure '}  {problem}")
    typer.echo(f"{folder}: check it with `verify evidence check {folder}`")
    raise typer.Exit(ALTERED if any(p.altered for p in problems) else NOT_CONFIRMED if problems else 0)


def _bucket(target: str) -> BucketStore:
    from harness.keeping import bucket_of
    from reports.bucket import BucketError, BucketStore
    from targets.model import load_target

    bucket = bucket_of(load_target(target))
    if bucket is None:
        raise BucketError(f"target {target} keeps its runs in a folder alone; name a bucket in its evidence.store.")
    return BucketStore(bucket)


def _in_bucket(url: str, target: str | None) -> tuple[BucketStore, str | None]:
    """The store that an URL is of, and the run where it names one; reached as the target says."""
    from reports.bucket import BucketStore, parse_url

    place = parse_url(url, _bucket(target).bucket if target else None)
    store = BucketStore(place)
    above, _, last = place.prefix.rpartition("/")
    if RUN_ID.fullmatch(last):
        return BucketStore(replace(place, prefix=above)), last
    return store, None


def _wrong_call(error: Exception) -> NoReturn:
    Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
    raise typer.Exit(USAGE) from error
