"""What was observed under one run is no evidence in another one, however well it was copied."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.verdict import decide
from policies.catalogue import Catalogue
from policies.facts.base import Cause
from reports.evidence import check
from reports.model import Verdict
from reports.store import RunStore
from tests.reports.judged import judged_run, summarise
from tests.reports.test_gate_command import Shelf, that_pass


@pytest.fixture
def earlier(tmp_path: Path, catalogue: Catalogue) -> RunStore:
    """A run in which every clause that has a check passed."""
    return judged_run(tmp_path / "earlier", catalogue, cases=that_pass())


def seen_at(run: RunStore) -> datetime:
    """When the last of its facts was seen, UTC."""
    return max(run.load_fact(digest).seen_at for result in run.read().results for digest in result.facts)


def copied(earlier: RunStore, root: Path, catalogue: Catalogue) -> RunStore:
    """A later run that says as its own what the earlier one saw: names, times, digests and chain all fit."""
    store = RunStore.create(root)
    started = seen_at(earlier) + timedelta(seconds=1)
    shutil.copytree(earlier.path / "facts", store.path / "facts", dirs_exist_ok=True)
    for result in earlier.read().results:
        store.append_result(replace(result, run=store.run_id, started=started, ended=started))
    store.finish(summarise(store.run_id, catalogue, "", started), lambda _: None, None, "no key")
    return store


def test_every_pass_that_was_copied_is_named(earlier: RunStore, tmp_path: Path, catalogue: Catalogue) -> None:
    assert check(earlier.path, [], decide).runs[0].problems == ()
    later = copied(earlier, tmp_path / "later", catalogue)
    (found,) = check(later.path, [], decide).runs
    passed = [result for result in later.read().results if result.verdict is Verdict.passed]
    assert passed
    assert len(found.problems) == len(passed)
    for problem in found.problems:
        assert problem.place.startswith("findings.jsonl line ")
        assert "its verdict is passed, and its findings come to not_evaluated" in problem.what


def test_it_is_no_go(earlier: RunStore, tmp_path: Path, catalogue: Catalogue) -> None:
    later = copied(earlier, tmp_path / "later", catalogue)
    manifest = later.read().manifest
    assert manifest is not None
    as_of = f"{manifest.ended + timedelta(hours=1):%Y-%m-%dT%H:%M}"
    answered = Shelf(later.path.parent, tmp_path, tmp_path).gate("--as-of", as_of)
    assert answered.exit_code == 1, answered.output
    assert "not to be trusted" in answered.output


def test_judged_in_the_later_run_it_is_stale(earlier: RunStore) -> None:
    for result in earlier.read().results:
        facts = [earlier.load_fact(digest) for digest in result.facts]
        decision = decide(result.findings, facts, max(fact.seen_at for fact in facts) + timedelta(microseconds=1))
        assert (decision.verdict, decision.cause) == (Verdict.not_evaluated, Cause.STALE)
