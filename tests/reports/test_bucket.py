"""Evidence in a real S3 with Object Lock: nobody can take it away, and what lies over it or is not locked is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from bootstrap.lab.s3 import BUCKET, Server
from harness.cli import app
from harness.verdict import decide
from policies.catalogue import Catalogue
from reports.bucket import Bucket, BucketError, BucketStore, is_plain
from reports.evidence import CheckedStore
from reports.signing import PublicKey, generate, load_public_key, load_signing_key
from reports.store import RunStore
from targets.model import TARGETS
from tests.reports.judged import judged_run, one_of_each
from tests.reports.s3 import serving_s3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests here: each has a prefix of its own."""
    with serving_s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


@dataclass(frozen=True)
class Kept:
    """Three runs of one folder, a bucket that is empty below its prefix, and the key."""

    folder: Path
    runs: tuple[RunStore, ...]
    store: BucketStore
    key: PublicKey

    def check(self, run: RunStore | None = None) -> CheckedStore:
        return self.store.check(run.run_id if run else None, [self.key], decide)

    def object(self, run: RunStore, name: str) -> dict[str, str]:
        return {"Bucket": BUCKET, "Key": self.store.bucket.key(run.run_id, name)}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """Three signed runs, and the key."""
    root = tmp_path_factory.mktemp("signed")
    generate(root / "key")
    key = load_signing_key(str(root / "key"))
    for _ in range(3):
        judged_run(root / "runs", catalogue, key=key, cases=list(one_of_each())[:3])
    return root


@pytest.fixture
def kept(signed: Path, server: Server, tmp_path: Path) -> Kept:
    """A copy of the three runs, none of them in the bucket yet."""
    shutil.copytree(signed, tmp_path / "copy", symlinks=True)
    root = tmp_path / "copy"
    runs = [RunStore.open(path) for path in (root / "runs").iterdir() if not path.is_symlink()]
    in_order = sorted(runs, key=number)
    bucket = Bucket(
        BUCKET,
        tmp_path.name,
        server.url,
        "us-east-1",
        credentials=server.credentials,
        mode="COMPLIANCE",
        retention_days=2,
    )
    return Kept(root, tuple(in_order), BucketStore(bucket), load_public_key(root / "key.pub"))


def number(run: RunStore) -> int:
    manifest = run.read().manifest
    assert manifest is not None
    return manifest.number


def with_bucket(kept: Kept, **changes: object) -> Kept:
    return replace(kept, store=BucketStore(replace(kept.store.bucket, **changes)))  # type: ignore[arg-type]


def problems(found: CheckedStore) -> list[str]:
    return [*(str(problem) for run in found.runs for problem in run.problems), *map(str, found.problems)]


def test_what_was_pushed_is_what_comes_back_and_nobody_can_delete_it(kept: Kept, tmp_path: Path) -> None:
    first = kept.runs[0]
    done = kept.store.push(first.path)
    files = {p.relative_to(first.path): p.read_bytes() for p in first.path.rglob("*") if p.is_file()}
    assert (done.runs, done.objects) == ((first.run_id,), len(files))
    found = kept.check(first)
    assert problems(found) == []
    assert [run.signed_by for run in found.runs] == [kept.key.id]
    folder, wrong = kept.store.fetch(first.run_id, tmp_path / "back")
    assert wrong == ()
    assert {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == files
    with pytest.raises(BucketError, match="is there already, and nothing is written over it"):
        kept.store.fetch(first.run_id, tmp_path / "back")
    # Red: the server's own administrator is refused.
    there = kept.object(first, "findings.jsonl")
    version = kept.store.client.head_object(**there)["VersionId"]
    for bypass in (False, True):
        with pytest.raises(ClientError, match="AccessDenied"):
            kept.store.client.delete_object(**there, VersionId=version, BypassGovernanceRetention=bypass)
    assert problems(kept.check(first)) == []


def test_what_could_not_be_pushed_when_it_ended_goes_with_the_next_one(kept: Kept, catalogue: Catalogue) -> None:
    """What was meant for elsewhere, or for a folder alone, does not: the first one here need not be number 1."""
    key, here = load_signing_key(str(kept.folder / "key")), kept.store.bucket.url()
    late, elsewhere, last, after = (
        judged_run(kept.folder / "runs", catalogue, key=key, cases=list(one_of_each())[:1], bucket=bucket)
        for bucket in (here, "s3://other", here, here)
    )
    assert kept.store.push(last.path).runs == (late.run_id, last.run_id)
    assert kept.store.push(after.path).runs == (after.run_id,)
    assert elsewhere.run_id not in kept.store.runs()
    assert set(kept.store.runs()) == {late.run_id, last.run_id, after.run_id}
    assert kept.store.push(after.path).runs == (after.run_id,)  # nothing is written again
    (gap,) = problems(kept.check())  # two deployments in one folder of runs
    assert f"the manifest of run {elsewhere.run_id}, number 5, is not there" in gap


def test_the_chain_holds_in_the_bucket(kept: Kept) -> None:
    for run in kept.runs[1:]:
        kept.store.push(run.path)
    assert problems(kept.check()) == []
    assert kept.store.latest() == kept.store.runs()[-1]


def test_runs_of_several_folders_are_several_chains(kept: Kept, catalogue: Catalogue) -> None:
    kept.store.push(kept.runs[0].path)
    key = load_signing_key(str(kept.folder / "key"))
    for _ in range(2):
        elsewhere = judged_run(kept.folder / "elsewhere", catalogue, key=key, cases=list(one_of_each())[:1])
        kept.store.push(elsewhere.path)
    kept.store.push(kept.runs[1].path)
    assert problems(kept.check()) == []


def test_a_run_that_was_removed_is_named(kept: Kept) -> None:
    kept = with_bucket(kept, mode="GOVERNANCE")
    for run in kept.runs:
        kept.store.push(run.path)
    taken = kept.runs[1]
    for page in kept.store.client.get_paginator("list_object_versions").paginate(
        Bucket=BUCKET, Prefix=kept.store.bucket.key(taken.run_id)
    ):
        for one in page["Versions"]:
            kept.store.client.delete_object(
                Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"], BypassGovernanceRetention=True
            )
    (problem,) = problems(kept.check())
    assert f"the manifest of run {taken.run_id}, number 2, is not there" in problem
    assert kept.check().altered
    assert problems(kept.check(kept.runs[2])) == [problem]


def altered_before_the_push(kept: Kept) -> None:
    results = kept.runs[0].path / "findings.jsonl"
    results.write_bytes(results.read_bytes().replace(b"suites/", b"suitez/", 1))
    kept.store.push(kept.runs[0].path)


def written_over(kept: Kept) -> None:
    kept.store.push(kept.runs[0].path)
    kept.store.client.put_object(**kept.object(kept.runs[0], "findings.jsonl"), Body=b"")


def deleted(kept: Kept) -> None:
    kept.store.push(kept.runs[0].path)
    kept.store.client.delete_object(**kept.object(kept.runs[0], "manifest.json"))


def added(kept: Kept) -> None:
    kept.store.push(kept.runs[0].path)
    until = datetime.now(UTC) + timedelta(days=3)
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
    kept.store.client.put_object(**kept.object(kept.runs[0], "more"), Body=b"x", **lock)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (altered_before_the_push, "findings.jsonl line 1 "),
        (written_over, "findings.jsonl: it was written again on "),
        (deleted, "manifest.json: it was deleted on "),
        (added, "more: the run did not write it"),
    ],
)
def test_what_was_altered_is_named(kept: Kept, change: Callable[[Kept], None], says: str) -> None:
    change(kept)
    for found in (kept.check(), kept.check(kept.runs[0])):
        assert found.altered
        assert [problem.startswith(says) for problem in problems(found)] == [True]


def test_what_is_not_locked_as_asked_is_named(kept: Kept) -> None:
    first = kept.runs[0]
    with_bucket(kept, mode="GOVERNANCE", retention_days=1).store.push(first.path)
    found = kept.check(first)
    assert not found.altered
    assert not found.confirmed
    assert {p.partition(": ")[2][:45] for p in problems(found)} == {"it is locked in mode GOVERNANCE, which some m"}
    shorter = with_bucket(kept, mode="").check(first)
    assert all(" UTC, shorter than 2 days from " in problem for problem in problems(shorter))
    assert problems(with_bucket(kept, mode="", retention_days=0).check(first)) == []
    second = kept.runs[1]
    for file in second.path.rglob("*"):
        if file.is_file():
            name = file.relative_to(second.path).as_posix()
            kept.store.client.put_object(**kept.object(second, name), Body=file.read_bytes())
    assert all("it is not locked" in problem for problem in problems(kept.check(second)))
    assert problems(kept.check(second))


def test_something_else_under_its_name_is_never_written_over(kept: Kept) -> None:
    there = kept.object(kept.runs[0], "findings.jsonl")
    kept.store.client.put_object(**there, Body=b"theirs")
    with pytest.raises(BucketError, match=r"findings\.jsonl is there already and holds something else"):
        kept.store.push(kept.runs[0].path)
    assert kept.store.client.get_object(**there)["Body"].read() == b"theirs"
    with pytest.raises(ClientError, match="404"):  # what is not whole has no manifest
        kept.store.client.head_object(**kept.object(kept.runs[0], "manifest.json"))


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("findings.jsonl", True),
        ("facts/0a.json.gz", True),
        ("allure-results/..x", True),
        ("../outside", False),
        ("facts/../../outside", False),
        ("/etc/outside", False),
        ("facts//x", False),
        ("./x", False),
        ("facts/", False),
        ("", False),
        ("a\0b", False),
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_none_of_a_run(name: str, *, plain: bool) -> None:
    """Any of them is a name that S3 may hold."""
    assert is_plain(name) is plain


def nobodys(kept: Kept, secret: str) -> Path:
    """Credentials with the right key and another secret."""
    file = kept.folder / "credentials"
    assert kept.store.bucket.credentials is not None
    text = kept.store.bucket.credentials.read_text()
    file.write_text(text.partition("aws_secret_access_key")[0] + f"aws_secret_access_key = {secret}\n")
    return file


def readers(kept: Kept, server: Server) -> Path:
    file = kept.folder / "reader"
    (_, reader) = json.loads((server.folder / "s3.json").read_text())["identities"]
    (pair,) = reader["credentials"]
    file.write_text(
        f"[default]\naws_access_key_id = {pair['accessKey']}\naws_secret_access_key = {pair['secretKey']}\n"
    )
    return file


def test_a_bucket_that_cannot_be_used_is_a_sentence(kept: Kept, server: Server) -> None:
    kept.store.client.create_bucket(Bucket="plain")
    for changes, says in (
        ({"name": "plain"}, "the bucket plain has no Object Lock, so what is kept there could be deleted"),
        ({"name": "nothere"}, "there is no bucket nothere at s3://nothere/"),
        ({"endpoint": "http://127.0.0.1:1"}, "cannot reach http://127.0.0.1:1: Connection refused"),
        ({"source_address": "10.99.0.1"}, "cannot reach http://127.0.0.1:.*: Cannot assign requested address"),
        ({"credentials": Path("/no/such")}, "there are no credentials for .* in /no/such"),
        ({"credentials": nobodys(kept, "wrong")}, r"are not accepted \(SignatureDoesNotMatch"),
        ({"credentials": readers(kept, server)}, "refuses .*: give these credentials s3:"),
        ({"profile": "nobody"}, "The config profile .nobody. could not be found"),
    ):
        with pytest.raises(BucketError, match=says):
            with_bucket(kept, **changes).store.push(kept.runs[0].path)
    with pytest.raises(BucketError, match="holds no run"):
        kept.check(kept.runs[0])
    with pytest.raises(BucketError, match="holds no run that is whole"):
        kept.store.latest()


def test_a_run_that_did_not_end_is_not_pushed(kept: Kept, catalogue: Catalogue) -> None:
    store = judged_run(kept.folder / "runs", catalogue, cases=list(one_of_each())[:1], finish=False)
    with pytest.raises(BucketError, match=r"did not end, so nothing vouches for it yet; `verify run --resume`"):
        kept.store.push(store.path)


def test_as_it_is_typed(kept: Kept, tmp_path: Path) -> None:
    bucket = kept.store.bucket
    target = tmp_path / "target.yaml"
    text = (TARGETS / "lab.yaml").read_text().partition("\nevidence:")[0]
    target.write_text(
        f"{text}\nevidence:\n  store: {{bucket: {bucket.name}, prefix: {bucket.prefix}, endpoint: '{bucket.endpoint}', "
        f"region: us-east-1, retention_days: 2, credentials: '{bucket.credentials}'}}\n"
    )
    target.write_text(target.read_text().replace("source_address: 10.231.0.1", "source_address: 127.0.0.1"))
    first = kept.runs[0]

    def typed(*arguments: str | Path) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["evidence", *map(str, arguments)])
        return done.exit_code, done.output

    code, said = typed("push", first.path, "--target", target)
    assert code == 0
    assert f"kept {bucket.url(first.run_id)}: " in said
    public = ("--public-key", kept.folder / "key.pub", "--target", target)
    for url in (bucket.url(first.run_id), bucket.url()):
        code, said = typed("check", url, *public)
        assert code == 0
        assert said.startswith(f"ok       {first.run_id}: ")
    code, said = typed("fetch", "--latest", "--target", target, "--to", tmp_path / "back")
    assert code == 0
    assert typed("check", tmp_path / "back" / first.run_id)[0] == 0
    deleted(kept)
    code, said = typed("check", bucket.url(), *public)
    assert code == 1
    assert "  altered  manifest.json: it was deleted on " in said
    assert typed("fetch", "--target", target)[0] == 4
    target.write_text(text)
    code, said = typed("push", first.path, "--target", target)
    assert code == 4
    assert "keeps its runs in a folder alone" in said
