"""The primary killed again and again under a writer: how long writes stopped each time, and whether any was lost.

`python -m tests.lab.failovers 20` does it twenty times on the running lab, prints a line for each, and ends with 1
where an acknowledged row was lost or something was left over. Each failover is the one that requirement 5.1 judges,
with everything that keeps it safe.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from fixtures.faults import POD_KILLED
from fixtures.postgres_failover import observe_failover
from fixtures.scratch import leftovers
from harness.identity import as_identity
from harness.injection import Injector
from harness.interrupts import Interrupts
from harness.journal import Journal
from harness.lease import Lease
from harness.restoration import TIDY_WITHIN_S, prove_restored
from policies.catalogue import load_catalogue
from policies.facts.postgres_failover import PostgresFailover
from policies.limits import Limits
from tests.violations.lab import Lab


def injector(lab: Lab, run: str, say: Callable[[str], None]) -> Injector:
    """One that may break the lab, with the disruptor's own rights."""
    api = as_identity(lab.target, lab.api, lab.target.identities.disruptor)
    namespace = lab.target.identities.namespace
    return Injector(
        run=run,
        target=lab.target,
        api=api,
        journal=Journal(api, namespace),
        lease=Lease(api, namespace, run),
        record=lambda _: None,
        progress=say,
        restore="verify restore --target lab",
        may_disrupt=lambda: None,
        interrupts=Interrupts(),
    )


def limits(clause: str = "write-gap") -> Limits:
    """Those of a clause of 5.1, as the catalogue has them."""
    return load_catalogue().limits("5.1", clause)


def fail_over(lab: Lab, breaking: Injector, fault: str = POD_KILLED.name) -> PostgresFailover:
    """One observation. Raises `Unobservable`."""
    clause, name = ("write-gap", "write_gap") if fault == POD_KILLED.name else ("node-loss-write-gap",) * 2
    limit = limits(clause)[name.replace("-", "_")]
    return observe_failover(
        breaking.api,
        lab.target,
        fault,
        run_id=breaking.run,
        inject=breaking,
        limit=limit,
        progress=breaking.progress,
    )


def gap_s(seen: PostgresFailover) -> float:
    """How long writes stopped."""
    start, end = seen.longest_silence or (0.0, float("inf"))
    return end - start


def lost(seen: PostgresFailover) -> list[int]:
    """Numbers of the rows that were acknowledged and are not there."""
    return sorted({write.number for write in seen.writes if write.acknowledged} - set(seen.read_back))


def main(times: int) -> int:
    """So many failovers in a row."""
    lab = Lab()
    breaking = injector(lab, f"{datetime.now(UTC):%Y%m%d-%H%M%S}-row", lambda _: None)
    gaps: list[float] = []
    losses = 0
    try:
        for number in range(1, times + 1):
            seen = fail_over(lab, breaking)
            gone = lost(seen)
            gaps.append(gap_s(seen))
            losses += len(gone)
            back = f"{seen.rejoined_at - seen.injected_at:.1f} s" if seen.rejoined_at is not None else "not"
            acknowledged = sum(write.acknowledged for write in seen.writes)
            print(
                f"{number:3d}  {seen.old_primary} to {seen.new_primary}, timeline {seen.timeline_after}: "
                f"gap {gaps[-1]:.2f} s, back after {back}, {len(gone)} of {acknowledged} rows lost {gone or ''}, "
                f"check {seen.wall_s:.0f} s",
                flush=True,
            )
    finally:
        breaking.lease.release()
    # What was told to end has its time to do so, as after a run.
    left = prove_restored(
        (), dict, lambda: [name for name in leftovers(lab.api) if breaking.run in name], TIDY_WITHIN_S, lambda _: None
    )
    print(
        f"{len(gaps)} failovers: gap median {statistics.median(gaps):.2f} s, longest {max(gaps):.2f} s; "
        f"{losses} rows lost; {', '.join(left) or 'nothing left over'}"
    )
    return 1 if losses or left else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
