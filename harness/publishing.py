"""What a run says of itself: its beginning, and at its end exit code, manifest, page and screen."""

from __future__ import annotations

import hashlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import asdict
from rich.console import Console

from harness.gating import Question, ask
from harness.keeping import bucket_of, keep
from harness.run import Run
from policies.catalogue import Catalogue
from policies.documents import DocumentError
from policies.profiles import load_profile
from policies.waivers import load_waivers
from reports.gate import Answer
from reports.model import Beginning, Emulated, Manifest, RunRecord, RunSummary
from reports.overview import EXIT_NOT_EVALUATED, exit_code
from reports.provenance import code, commit, versions
from reports.runs import stored_runs
from reports.signing import MAKE_ONE
from reports.store import PAGE, StoreError
from targets.model import Target

ROOT = Path(__file__).resolve().parent.parent
PYTEST_OWN = {2, 3, 4}  # interrupted, internal error, usage: nothing that was judged says more than these


def begin(target: Target, catalogue: Catalogue, typed: str) -> Beginning:
    """What is known of a run that begins now, before it has chosen anything or has a folder.

    ``typed`` is how the target was named.
    """
    return Beginning(
        run="",
        target=target.name,
        typed=typed,
        started=datetime.now(UTC),
        catalogue_digest=catalogue.digest,
        limits={
            requirement.id: {
                name: limit
                for clause in requirement.clauses
                for name, limit in catalogue.limits(requirement.id, clause.slug, target.limits).items()
            }
            for requirement in catalogue
        },
        target_digest=hashlib.sha256(target.model_dump_json().encode()).hexdigest(),
        commit=commit(ROOT),
        code=code(ROOT),
    )


def conclude(run: Run, pytest_code: int) -> RunSummary:
    """What the run was and what the process answers. The exit code comes from the verdicts, not from pytest's count."""
    summary = _summary(run, 0)
    record = RunRecord(
        run=run.store.run_id,
        path=str(run.store.path),
        manifest=Manifest(**asdict(summary)),
        results=tuple(run.results),
    )
    code = exit_code(record, run.catalogue)
    if pytest_code in PYTEST_OWN and not run.not_restored:
        code = pytest_code
    return _summary(run, code)


def publish(run: Run, summary: RunSummary) -> int:
    """Draw the page, close the evidence with it in, sign, push; then show the screen. Returns the exit code.

    That is the run's own, but 10 instead of 0 where the evidence did not reach the store that the target names: what
    was to be proved later is not proved, and the manifest, which is signed before, cannot say it.
    """
    from reports.html import render
    from reports.terminal import show

    def draw(record: RunRecord) -> None:
        render(record, run.catalogue, run.store.path / PAGE)

    began = time.monotonic()
    run.store.finish(summary, draw, run.key, "" if run.key else f"no key was named; {MAKE_ONE}", run.authority)
    closed = time.monotonic()
    kept = keep(run.target, run.store.path)
    pushed = time.monotonic()
    show(run.store.read(), run.catalogue, answer=_gate(run))
    spent = run.store.spent_s + time.monotonic() - began
    whole = (datetime.now(UTC) - summary.started).total_seconds()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not isinstance(kept, str):
        also = f", with {len(kept.runs) - 1} earlier runs" if len(kept.runs) > 1 else ""
        took = f"{kept.objects} objects in {pushed - closed:.1f} s"
        console.print(f"kept   {kept.url}{also}, locked until {kept.until:%Y-%m-%d} ({took})")
    elif kept:
        console.print(f"kept   only in {run.store.path}: {kept} Then: verify evidence push {run.store.path}")
    console.print(f"cost   evidence and reports took {spent:.1f} s of {whole:.1f} s ({100 * spent / whole:.1f} %)")
    return EXIT_NOT_EVALUATED if summary.exit_code == 0 and isinstance(kept, str) and kept else summary.exit_code


def _gate(run: Run) -> Answer | str:
    """What the gate of the run's profile says now, from this run and those before it; else why it was not asked."""
    if not run.choice.profile:
        return ""
    root = run.store.path.parent
    try:
        profile = load_profile(run.choice.profile, run.catalogue)
        if profile.signed and run.key is None:
            return f"{profile.profile} counts signed evidence alone: run with --key"
        # Whoever signs here trusts that key here; `verify gate` asks with the keys that its caller trusts.
        keys = [run.key.public] if run.key is not None else []
        waivers = load_waivers(run.catalogue)
        question = Question(profile, run.target.name, datetime.now(UTC), waivers, keys if profile.signed else ())
        return ask(question, root, stored_runs(root), run.catalogue)
    except (DocumentError, StoreError) as error:
        return f"not asked: {error}"


def _summary(run: Run, code: int) -> RunSummary:
    target, bucket = run.target, bucket_of(run.target)
    return RunSummary(
        **asdict(run.beginning()),
        description=target.description,
        environment=target.environment,
        ended=datetime.now(UTC),
        exit_code=code,
        deviations=run.catalogue.deviations(target.limits),
        emulated=tuple(Emulated(e.component, e.by) for e in target.emulated),
        not_restored=tuple(run.not_restored),
        dry_run=run.dry,
        store=bucket.url() if bucket is not None else "",
        command=tuple(sys.argv),
        versions={
            **versions(),
            "kubernetes": run.preflight.version if run.preflight else "",  # the cluster's, not the client package's
        },
    )
