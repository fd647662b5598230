"""``verify run --resume``: take an interrupted run up again, and repeat only what has no fresh evidence.

What was closed is never written into: a new run refers to the earlier one and holds its results with their facts, so
that its own evidence stands alone. Only verdicts that stand on what was seen are carried over, as long as every gate
would count them; inspection takes seconds and is always repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from harness.selection import Choice, choose
from harness.verdict import decide
from policies.catalogue import KINDS, Catalogue, Kind
from policies.facts.base import Fact
from policies.profiles import known_profiles, load_profile
from reports.beginning import at_work, beginning_of
from reports.evidence import check
from reports.model import Beginning, ClauseResult, Origin, RunRecord, Verdict
from reports.overview import EXIT_INTERRUPTED
from reports.signing import SigningKey
from reports.store import LATEST, RunStore, StoreError

UNFINISHED: Final = "unfinished"
"""What stands for the latest run of the target that did not get to its end."""
WITH_EVIDENCE: Final = frozenset({Verdict.passed, Verdict.failed})
REPEATED: Final[frozenset[Kind]] = frozenset({"inspect"})


class ResumeError(Exception):
    """There is nothing that may be taken up; the message is a sentence that says what to do."""


@dataclass(frozen=True)
class Resumed:
    """What a run takes over of an earlier one. Nothing, in a run that starts from the beginning."""

    origins: tuple[Origin, ...] = ()
    """The runs that are taken up, the first one first."""
    store: RunStore | None = None
    choice: Choice = field(default_factory=Choice)
    planned: frozenset[tuple[str, str]] = frozenset()
    """What the earlier run meant to judge."""
    results: tuple[ClauseResult, ...] = ()
    """Those that are carried over."""
    too_old: tuple[ClauseResult, ...] = ()
    """Those that are repeated because they were seen too long ago."""
    carried: frozenset[tuple[str, str]] = field(init=False)
    """The clauses of ``results``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "carried", frozenset((r.requirement, r.clause) for r in self.results))

    def facts(self, result: ClauseResult) -> Iterator[Fact]:
        """What a result stands on. Raises StoreError."""
        if self.store is not None:
            yield from (self.store.load_fact(digest) for digest in result.facts)

    def sentences(self, now: datetime) -> Iterator[str]:
        """What is taken over, for the reader."""
        if not self.origins:
            return
        last = self.origins[-1]
        yield f"resumes run {last.run}, which began {_ago(now - last.started)} ago"
        for result in self.results:
            name = f"{result.requirement} {result.clause}"
            yield f"  carried over: {name} {result.verdict}, judged {_ago(now - result.ended)} ago"
        for result in self.too_old:
            name = f"{result.requirement} {result.clause}"
            yield f"  repeated: {name} was judged {_ago(now - result.ended)} ago, which is too long"


def resume(root: Path, named: str, now: Beginning, catalogue: Catalogue, key: SigningKey | None) -> Resumed:
    """What a run that begins now takes over of an earlier one in ``root``; ``named`` is its id, or ``UNFINISHED``.

    Raises ResumeError where there is none, where it was of another target, catalogue, code or limits, or where its
    evidence is not what it wrote; StoreError where a file cannot be read.
    """
    store = RunStore.open(root / named) if named != UNFINISHED else _unfinished(root, now.target)
    record, earlier = store.read(), _known(store)
    if at_work(store.path):
        raise ResumeError(f"run {store.run_id} is at work; wait until it has ended, or end it.")
    if record.manifest is not None and not _left_something(record, earlier):
        raise ResumeError(f"run {store.run_id} judged all that it meant to; start a new one without --resume.")
    if different := next(_different(earlier, now), ""):
        raise ResumeError(f"run {store.run_id} cannot be resumed: {different}. Start a new one without --resume.")
    # A run that was killed could not sign; what comes of it is known by its origin, and no gate that wants signatures
    # counts it.
    keys = [key.public] if key is not None and record.manifest is not None else []
    (checked,) = check(store.path, keys, decide).runs
    if checked.problems:
        more = f", and {len(checked.problems) - 1} more" if len(checked.problems) > 1 else ""
        what = f"its evidence does not verify: {checked.problems[0]}{more}"
        raise ResumeError(f"run {store.run_id} cannot be resumed: {what}. Start a new one without --resume.")
    fresh, too_old = _by_age(record.results, earlier, now.started, _times_to_live(catalogue))
    signed = record.manifest.key if record.manifest is not None else ""
    return Resumed(
        origins=(*earlier.resumes, Origin(run=earlier.run, started=earlier.started, key=signed)),
        store=store,
        choice=choose(catalogue, earlier.requirements, earlier.kinds, earlier.profile),
        planned=frozenset(earlier.planned),
        results=fresh,
        too_old=too_old,
    )


def _unfinished(root: Path, target: str) -> RunStore:
    """The latest run of the target that did not get to its end, and that no other one took up and finished."""
    finished: set[str] = set()
    for folder in sorted((f for f in root.glob("*/") if f.name != LATEST and not f.is_symlink()), reverse=True):
        store = RunStore(folder)
        try:
            earlier = store.read().manifest or beginning_of(folder)
            if earlier is None or earlier.target != target or folder.name in finished:
                continue
            if _left_something(store.read(), earlier):
                return RunStore.open(folder)
        except StoreError:
            continue  # whoever names it is told what is wrong with it
        finished.update(origin.run for origin in earlier.resumes)
    raise ResumeError(f"there is nothing to resume: no run of target {target} in {root} was interrupted.")


def _known(store: RunStore) -> Beginning:
    known = store.read().manifest or beginning_of(store.path)
    if known is None:
        raise ResumeError(
            f"run {store.run_id} ended before it had said what it meant to do; start a new one without --resume."
        )
    return known


def _left_something(record: RunRecord, earlier: Beginning) -> bool:
    """Whether a run did not judge all that it meant to."""
    if record.manifest is None or record.manifest.exit_code == EXIT_INTERRUPTED:
        return True
    return bool(set(earlier.planned) - {(result.requirement, result.clause) for result in record.results})


def _different(earlier: Beginning, now: Beginning) -> Iterator[str]:
    """Why what it saw does not speak for a run that begins now."""
    if earlier.target != now.target:
        yield f"it was of target {earlier.target}, and this is {now.target}"
    if earlier.catalogue_digest != now.catalogue_digest:
        yield "the catalogue was changed since"
    if earlier.limits != now.limits:
        changed = [r for r in now.limits if earlier.limits.get(r) != now.limits[r]]
        yield f"other limits are in force now ({', '.join(changed)})"
    if earlier.target_digest != now.target_digest:
        yield f"target {now.target} was changed since"
    if not earlier.code or earlier.code != now.code:
        was, here = earlier.commit or "no commit", now.commit or "no commit"
        yield f"other code saw and judged then ({was}; this is {here})"


def _times_to_live(catalogue: Catalogue) -> dict[Kind, timedelta]:
    """How long evidence of each kind counts, from the start of its run: as long as the strictest gate counts it."""
    profiles = [load_profile(name, catalogue) for name in known_profiles()]
    ages = {kind: [p.fresh_for(kind) for p in profiles if kind in p.kinds] for kind in KINDS}
    return {kind: min(found) for kind, found in ages.items() if found}


def _by_age(
    results: Sequence[ClauseResult], earlier: Beginning, now: datetime, lives: dict[Kind, timedelta]
) -> tuple[tuple[ClauseResult, ...], tuple[ClauseResult, ...]]:
    """The results that need not be repeated, and those that were seen too long ago."""
    with_evidence = [r for r in results if r.verdict in WITH_EVIDENCE and r.facts and r.kind not in REPEATED]
    ages = {id(r): now - earlier.not_before(r) for r in with_evidence}
    fresh = {id(r) for r in with_evidence if timedelta(0) <= ages[id(r)] <= lives.get(r.kind, timedelta(0))}
    return tuple(r for r in with_evidence if id(r) in fresh), tuple(r for r in with_evidence if id(r) not in fresh)


def _ago(age: timedelta) -> str:
    from reports.headline import duration

    return duration(age)
