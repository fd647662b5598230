"""A gate is asked: the runs of a folder are verified, those that are young enough to matter, and the answer is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.verdict import decide
from policies.catalogue import Catalogue
from policies.profiles import Profile
from policies.waivers import Waivers
from reports.evidence import check
from reports.gate import Answer, gate, window
from reports.runs import StoredRun, Verify, gaps, verified
from reports.signing import PublicKey


@dataclass(frozen=True)
class Question:
    """What one gate is asked."""

    profile: Profile
    target: str
    now: datetime
    """UTC."""
    waivers: Waivers
    keys: Sequence[PublicKey] = ()
    """Whose signature is trusted; without any, unsigned evidence counts where the profile takes it."""


def ask(question: Question, runs: Path, stored: Sequence[StoredRun], catalogue: Catalogue) -> Answer:
    """The answer from ``stored``, the runs of the folder ``runs``. Raises StoreError."""
    verify = verifier(question.keys)
    since = question.now - window(question.profile)  # what is older does not count anyway
    found = [verified(r, verify) if r.of(question.target) and r.started >= since else r for r in stored]
    return gate(
        found,
        profile=question.profile,
        catalogue=catalogue,
        waivers=question.waivers,
        target=question.target,
        now=question.now,
        gaps=gaps(runs, stored),
        keys=tuple(key.id for key in question.keys),
    )


def verifier(keys: Sequence[PublicKey]) -> Verify:
    """What asks whether a run is what it wrote, and is signed by one of the keys where there are any."""

    def verify(folder: Path) -> str:
        (run,) = check(folder, keys, decide).runs
        return "" if not run.problems else str(run.problems[0])

    return verify
