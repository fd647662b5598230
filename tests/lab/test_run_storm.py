"""A disruptive run that is ended, or loses the API, at forty moments over its whole duration: nothing stays broken.

Each time, after ``verify restore``: the lab is as it was found, the evidence so far verifies, and no verdict is wrong.
`pytest tests/lab/test_run_storm.py --all-moments` tries all forty, which takes three quarters of an hour; without it
some of them, others every day.
"""

from __future__ import annotations

import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pytest

from bootstrap.lab.layout import CONTROL_PLANE, HOST
from fixtures.scratch import leftovers
from harness.journal import Journal
from harness.lease import Lease
from policies.facts.base import Listing
from reports.model import ClauseResult, Verdict
from reports.store import RunStore
from tests.lab.product import ROOT, VERIFY, Ended, start, verify
from tests.violations.lab import Lab

RUN: Final = ("run", "--target", "lab", "--requirement", "1.1")
LASTS_S: Final = 45.0  # how long that takes on the lab
SEED: Final = 20261124
TIMES: Final = 10
SIGNALS_A_DAY: Final = 3
CUTS_A_DAY: Final = 2
CUT_S: Final = (5.0, 50.0)  # from shorter than any patience of a run to longer than its limit on writes
SOCKET: Final = HOST / "haproxy.sock"
# By how long a cut of the whole endpoint each is truly broken: beside the node's own loss, which takes some seconds;
# and once what talks to the API has lost it for longer than 1.1 allows.
BROKEN_BY_A_CUT_S: Final = {("1.1", "write-gap"): 20.0, ("1.1", "pods-untouched"): 30.0}

CUT: Final = "API cut"
What = Literal["SIGINT", "SIGTERM", "SIGKILL", "API cut"]


@dataclass(frozen=True)
class Moment:
    """What happens to a run, and how long after its start; ``lasts_s`` is how long the API then stays away."""

    what: What
    at_s: float
    lasts_s: float = 0.0

    def __str__(self) -> str:
        lasts = f"-for-{self.lasts_s:.1f}s" if self.lasts_s else ""
        return f"{self.what.replace(' ', '-')}-after-{self.at_s:.2f}s{lasts}"


def moments(what: What) -> list[Moment]:
    """Ten random moments, one in every tenth of the run, always the same ones."""
    dice = random.Random(f"{SEED} {what}")  # noqa: S311 - nothing secret
    starts = [LASTS_S * (tenth + dice.random()) / TIMES for tenth in range(TIMES)]
    return [Moment(what, at, dice.uniform(*CUT_S) if what == CUT else 0.0) for at in starts]


SIGNALLED: Final = [
    moment for three in zip(moments("SIGINT"), moments("SIGTERM"), moments("SIGKILL"), strict=True) for moment in three
]
CUTS: Final = moments(CUT)


def of_today(all_of_them: list[Moment], a_day: int) -> list[Moment]:
    """So many of them, others tomorrow, until all have had their day; far apart in the run."""
    days = len(all_of_them) // a_day
    return all_of_them[datetime.now(UTC).toordinal() % days :: days]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All moments where they are asked for, else those of today; their names, which pytest prints, say which."""
    if "moment" in metafunc.fixturenames:
        cuts = metafunc.function is test_a_run_that_loses_the_api_at_any_moment
        chosen, a_day = (CUTS, CUTS_A_DAY) if cuts else (SIGNALLED, SIGNALS_A_DAY)
        if not metafunc.config.option.all_moments:
            chosen = of_today(chosen, a_day)
        metafunc.parametrize("moment", chosen, ids=str)


def test_every_day_has_its_share_and_none_is_left_out() -> None:
    for chosen, a_day in ((SIGNALLED, SIGNALS_A_DAY), (CUTS, CUTS_A_DAY)):
        days = len(chosen) // a_day
        shares = [chosen[day::days] for day in range(days)]
        assert {len(share) for share in shares} == {a_day}
        assert {moment for share in shares for moment in share} == set(chosen)


# --- what was found


def found(lab: Lab) -> dict[str, Any]:
    """The lab as it is: every object by what its owner decides, and the packet filters of every node."""
    seen = lab.snapshot()
    objects: dict[str, Any] = {}
    for name, listing in msgspec.structs.asdict(seen).items():
        if isinstance(listing, Listing) and name != "pods":
            assert listing.unseen is None, listing.unseen
            objects |= {f"{name} {item.metadata.namespace}/{item.metadata.name}": item for item in listing.items}
    # Restarts are the system's own business: a component that lost its lease begins anew.
    objects |= {
        f"pod {pod.metadata.namespace}/{pod.metadata.name}": (pod.metadata.uid, pod.spec, pod.status.phase, pod.ready)
        for pod in seen.pods.items
    }
    for name, machine in lab.machines.items():
        # Where no fault reaches, in nat and filter, kube-proxy and the CNI order their rules anew whenever they like.
        objects[f"rules of {name}"] = machine.sh("iptables -w 10 -t mangle -S; ip6tables -w 10 -t mangle -S")
        objects[f"fuse of {name}"] = machine.sh("ls /run/verify-cut.pid 2>/dev/null || true")
    return objects


def different(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is not as it was, in words."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [f"{name} was {before.get(name)}, and is {after.get(name)}" for name in names]


def assert_nothing_in_force(lab: Lab) -> None:
    """No fault, no entry, no holder, nothing left over."""
    for name, machine in lab.machines.items():
        assert "VERIFY-CUT" not in machine.sh("iptables -w 10 -t mangle -S"), name
    assert Journal(lab.api, lab.target.identities.namespace).entries() == ()
    assert Lease(lab.api, lab.target.identities.namespace, "").holder() is None
    assert leftovers(lab.api) == ()


# --- what it left


def results_of(ended: Ended) -> tuple[ClauseResult, ...]:
    """What the run said; nothing where it was ended before it had a folder."""
    if not (ended.out / "latest/facts").is_dir():
        return ()
    return RunStore.open(ended.out / "latest").read().results


def assert_verdicts_are_true(ended: Ended, cut_s: float = 0.0) -> None:
    """The lab is healthy: nothing fails, what passes was seen, and what was not seen says so or is not there.

    Writes through an endpoint that was really away for longer than the limit have really stopped for too long, and what
    ends itself when it has had no API for a while was really started again.
    """
    for result in results_of(ended):
        name = (result.requirement, result.clause)
        assert result.verdict in {Verdict.passed, Verdict.failed, Verdict.not_evaluated, Verdict.error}
        if result.verdict is Verdict.passed:
            assert result.findings
            assert all(finding.ok for finding in result.findings)
            assert result.facts
        if result.verdict is Verdict.failed:
            assert name in BROKEN_BY_A_CUT_S, result.message
            assert cut_s > BROKEN_BY_A_CUT_S[name], result.message
        if result.verdict is Verdict.error:
            assert "not restored: " in result.message, result.message


def assert_evidence_verifies(ended: Ended) -> str:
    """What there is, is what the run wrote; returns what the check says."""
    if not (ended.out / "latest/facts").is_dir():
        return "it had written nothing"
    folder = (ended.out / "latest").resolve()
    checked = subprocess.run(
        [VERIFY, "evidence", "check", folder], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"ok       {folder.name}" in checked.stdout
    again = sum(bool(result.rule) for result in results_of(ended))
    assert f"{again} of {len(results_of(ended))} results judged again" in checked.stdout
    return checked.stdout.splitlines()[0]


def assert_mended(lab: Lab, ended: Ended, before: dict[str, Any]) -> str:
    """``verify restore`` brings back whatever the run could not; returns whether it had to."""
    restored = verify("restore", "--target", "lab", out=ended.out)
    assert restored.exit_code == 0, (ended.output, restored.output)
    assert_nothing_in_force(lab)
    lab.settle()
    assert different(before, found(lab)) == [], (ended.output, restored.output)
    undone, removed = "undone: " in restored.output, "remove " in restored.output
    return ", ".join(word for word, said in (("undid a fault", undone), ("removed leftovers", removed)) if said)


def told(moment: Moment, ended: Ended, restored: str, checked: str) -> None:
    """One line of figures."""
    last = next((line for line in reversed(ended.output.splitlines()) if " s  " in line), "nothing said")
    results = results_of(ended)
    passed = sum(result.verdict is Verdict.passed for result in results)
    rest = [f"{r.clause}: {r.verdict}" for r in results if r.verdict is not Verdict.passed]
    print(
        f"\n{moment}: {ended.exit_code} after {ended.seconds:.1f} s; {passed} passed, else {rest or 'none'}; "
        f"restore: {restored or 'nothing to do'}; {checked}; last: {last.strip()}"
    )


# --- the moments


def test_a_run_that_is_ended_at_any_moment(moment: Moment, lab: Lab, tmp_path: Path) -> None:
    before = found(lab)
    running = start(*RUN, out=tmp_path)
    with suppress(subprocess.TimeoutExpired):
        running.process.wait(moment.at_s)
    number = signal.Signals[moment.what]
    in_time = running.process.poll() is None
    running.send(number)
    ended = running.end()
    if in_time and number is signal.SIGKILL:
        assert ended.exit_code == -number
    elif in_time:
        assert ended.exit_code in {2, 11}, ended.output  # 11: it could not tell whether all is as it was
        assert "Traceback" not in ended.output
    if ended.exit_code in {0, 2}:  # so it says itself
        assert_nothing_in_force(lab)
    restored = assert_mended(lab, ended, before)
    assert_verdicts_are_true(ended)
    told(moment, ended, restored, assert_evidence_verifies(ended))


def test_a_run_that_loses_the_api_at_any_moment(moment: Moment, lab: Lab, tmp_path: Path) -> None:
    before = found(lab)
    running = start(*RUN, out=tmp_path)
    with suppress(subprocess.TimeoutExpired):
        running.process.wait(moment.at_s)
    with no_endpoint(), suppress(subprocess.TimeoutExpired):
        running.process.wait(moment.lasts_s)
    ended = running.end()
    lab.settle()
    if ended.exit_code in {0, 10}:
        assert_nothing_in_force(lab)
    restored = assert_mended(lab, ended, before)
    assert_verdicts_are_true(ended, cut_s=moment.lasts_s)
    told(moment, ended, restored, assert_evidence_verifies(ended))


@contextmanager
def no_endpoint() -> Iterator[None]:
    """No API server behind the endpoint while the block lasts: its connections are cut, and new ones are closed."""
    servers = [f"api-servers/{node.name}" for node in CONTROL_PLANE]
    try:
        for server in servers:
            told_haproxy(f"set server {server} state maint")
            told_haproxy(f"shutdown sessions server {server}")
        yield
    finally:
        for server in servers:
            told_haproxy(f"set server {server} state ready")


def told_haproxy(command: str) -> None:
    """Tell the lab's HAProxy by its admin socket. Raises AssertionError where it does not understand."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(SOCKET))
        connection.sendall(f"{command}\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode().strip()
    assert answer == "", f"{command}: {answer}"
