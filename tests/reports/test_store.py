"""The evidence is complete or visibly incomplete, and nothing altered passes for what was seen."""

from __future__ import annotations

import gzip
import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from policies.catalogue import Catalogue
from policies.facts.declared import Declared
from reports.store import RunStore, StoreError
from tests.reports.example import START, make_run, outage

DECLARED = Declared(START, ("production", "staging"), "kube-system", "kube-flannel", "vxlan", ())


def test_what_was_written_is_read_back(tmp_path: Path, catalogue: Catalogue) -> None:
    written = make_run(tmp_path, catalogue)
    record = RunStore.open(tmp_path / "latest").read()
    assert record.run == written.run_id
    assert record.manifest is not None
    assert record.manifest.deviations[0].in_force.text() == "at most 45 s (api_write_gap)"
    assert record.manifest.limits["1.1"]["api_write_gap"].value == 45
    assert {(r.requirement, r.clause) for r in record.results} == set(record.manifest.planned)
    assert not record.damage


@pytest.mark.parametrize("fact", [DECLARED, outage()], ids=lambda fact: type(fact).__name__)
def test_a_fact_comes_back_equal_and_is_kept_once(tmp_path: Path, fact: Declared) -> None:
    store = RunStore.create(tmp_path)
    digest = store.record_fact(fact)
    first = (store.path / "facts" / f"{digest}.json.gz").read_bytes()
    assert store.record_fact(fact) == digest
    assert store.load_fact(digest) == fact
    assert [file.read_bytes() for file in (store.path / "facts").iterdir()] == [first]
    assert hashlib.sha256(gzip.decompress(first)).hexdigest() == digest


def test_equal_facts_are_equal_files_in_every_run(tmp_path: Path) -> None:
    one, other = RunStore.create(tmp_path), RunStore.create(tmp_path)
    name = f"facts/{one.record_fact(DECLARED)}.json.gz"
    other.record_fact(DECLARED)
    assert (one.path / name).read_bytes() == (other.path / name).read_bytes()


def test_killed_at_any_byte_leaves_every_whole_line(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, finish=False)
    file = store.path / "findings.jsonl"
    whole = b"".join(file.read_bytes().splitlines(keepends=True)[:2])
    first = whole.index(b"\n") + 1
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        record = store.read()
        assert len(record.results) == (cut >= first) + (cut == len(whole))
        assert record.manifest is None
        assert not record.damage


def test_a_damaged_line_is_named(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue)
    file = store.path / "findings.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], b'{"verdict": 7}\n', *lines[2:]]))
    record = store.read()
    assert len(record.results) == len(lines) - 1
    assert len(record.damage) == 1
    assert record.damage[0].startswith("line 2 of findings.jsonl cannot be read")


def test_an_altered_fact_is_refused(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path)
    digest = store.record_fact(DECLARED)
    file = store.path / "facts" / f"{digest}.json.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b"staging", b"another")))
    with pytest.raises(StoreError, match="altered after it was recorded"):
        store.load_fact(digest)
    file.write_bytes(b"\x1f\x8b" + bytes(40))
    with pytest.raises(StoreError, match="incomplete"):
        store.load_fact(digest)
    file.unlink()
    with pytest.raises(StoreError, match="incomplete"):
        store.load_fact(digest)


@pytest.mark.parametrize(
    "kind", ["subprocess.Popen", "policies.facts.base.Cause", "policies.facts.nothing.Here", "", "."]
)
def test_only_facts_of_ours_are_made(tmp_path: Path, kind: str) -> None:
    store = RunStore.create(tmp_path)
    content = msgspec.json.encode({"type": kind, "fact": {}})
    digest = hashlib.sha256(content).hexdigest()
    (store.path / "facts" / f"{digest}.json.gz").write_bytes(gzip.compress(content))
    with pytest.raises(StoreError, match="no type of fact"):
        store.load_fact(digest)


def test_the_manifest_vouches_for_every_file_but_itself(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, draw=True)
    manifest = store.read().manifest
    assert manifest is not None
    names = {f.relative_to(store.path).as_posix() for f in store.path.rglob("*") if f.is_file()}
    assert "report.html" in names
    assert set(manifest.files) == names - {"manifest.json"}
    assert manifest.files == store.digests()
    assert not [name for name in names if Path(name).name.startswith(".")]


def test_latest_is_the_newest_run_and_ids_sort_by_time(tmp_path: Path) -> None:
    runs = [RunStore.create(tmp_path, run_id) for run_id in ("20260101-000000-aaaaaa", None)]
    assert (tmp_path / "latest").resolve() == runs[-1].path.resolve()
    assert [run.run_id for run in runs] == sorted(run.run_id for run in runs)


def test_a_folder_without_a_run_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        RunStore.open(tmp_path)


def test_a_manifest_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue)
    (store.path / "manifest.json").write_text("{}")
    with pytest.raises(StoreError, match="cannot read"):
        store.read()


def test_where_nothing_can_be_made_one_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*: Not a directory\. Free space or .* --out"):
        RunStore.create(tmp_path / "file")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow beyond 1 KiB: what a full disk does to a writer.

    No longer than needed, for pytest's own output may be going to a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_half_fact(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path)
    with full_disk(), pytest.raises(StoreError, match="cannot write"):
        store.record_fact(outage())
    assert list((store.path / "facts").iterdir()) == []
    with full_disk(), pytest.raises(StoreError, match="cannot write"):
        store.journal({"text": "x" * 2000})
