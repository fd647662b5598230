"""What the evidence of a run costs: that of a real one written again, signed, drawn, pushed and checked."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from harness.verdict import decide
from policies.catalogue import load_catalogue
from reports.bucket import Bucket, BucketStore
from reports.evidence import check
from reports.html import render
from reports.model import RunSummary
from reports.signing import generate, load_public_key, load_signing_key
from reports.store import JOURNAL, PAGE, RunStore, StoreError, whole_lines
from tests.bench.measured import BenchError
from tests.reports.s3 import serving_s3

AT_MOST_PERCENT = 5.0
CHECKED_WITHIN_S = 10.0


def evidence(folder: Path, console: Console) -> bool:
    """Measure, print, and say whether the limits hold. ``folder`` is that of a run that ended."""
    catalogue = load_catalogue()
    try:
        record = RunStore.open(folder).read()
    except StoreError as error:
        raise BenchError(str(error)) from error
    if record.manifest is None:
        raise BenchError(f"{folder} did not end; name a run that did.")
    summary = RunSummary(**{name: getattr(record.manifest, name) for name in RunSummary.__struct_fields__})
    facts = {digest: RunStore.open(folder).load_fact(digest) for result in record.results for digest in result.facts}
    wall_s = (record.manifest.ended - record.manifest.started).total_seconds()
    spent: dict[str, float] = {}

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        spent[what] = time.monotonic() - began

    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        root = Path(scratch)
        generate(root / "key")
        key = load_signing_key(str(root / "key"))
        store = RunStore.create(root / "runs", record.run)
        with timed("facts, results and journal, each on the disk before the run goes on"):
            for fact in facts.values():
                store.record_fact(fact)
            for result in record.results:
                store.append_result(result)
            journal = folder / JOURNAL
            for line in whole_lines(journal.read_bytes())[0] if journal.exists() else []:
                store.journal(msgspec.Raw(line))
        for name in ("junit.xml", "allure-results"):
            if (folder / name).exists():
                _copy(folder / name, store.path / name)
        with timed("page, digests, manifest, signature"):
            store.finish(summary, lambda read: render(read, catalogue, store.path / PAGE), key)
        with serving_s3(root / "s3") as s3:
            bucket = Bucket("evidence", "", s3.url, "us-east-1", None, s3.credentials, None, "COMPLIANCE", 1)
            with timed("every file into S3, locked"):
                objects = BucketStore(bucket).push(store.path).objects
        cost_s = sum(spent.values())
        with timed("`evidence check`, every fact judged again"):
            found = check(store.path, [load_public_key(root / "key.pub")], decide)
    checked_s = spent["`evidence check`, every fact judged again"]
    console.print(f"{len(facts)} facts, {len(record.results)} results, {objects} files of a run of {wall_s:.0f} s")
    for what, seconds in spent.items():
        console.print(f"  {seconds:5.2f} s  {what}")
    percent = 100 * cost_s / wall_s
    console.print(f"written and kept: {cost_s:.2f} s, {percent:.1f} % of the run (at most {AT_MOST_PERCENT:.0f})")
    console.print(
        f"checked: {checked_s:.2f} s (at most {CHECKED_WITHIN_S:.0f}), {len(found.runs[0].problems)} problems"
    )
    return percent <= AT_MOST_PERCENT and checked_s <= CHECKED_WITHIN_S


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for file in source.iterdir():
            _copy(file, target / file.name)
    else:
        target.write_bytes(source.read_bytes())
