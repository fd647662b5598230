"""Who holds the lease, whether that process still lives, and how two machines keep out of each other's way."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from fixtures.waiting import wait_until
from harness import lease as module
from harness.lease import DURATION_S, Holder, Lease, process_start
from policies.facts.base import Cause, Unseen
from tests.unit.small_server import Asked, SmallServer, serving, status

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = "run-2|elsewhere|1|1|another machine"

needs_unshare = pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-u", "true"], check=False).returncode != 0,
    reason="needs a host name of its own (unshare -u)",
)


def test_this_process_is_alive_and_survives_the_round_trip() -> None:
    me = Holder.me("run-1")
    assert Holder.parse(me.identity) == me
    assert me.alive


def test_a_process_that_ended_is_dead_at_once() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = Holder.me("run-1")
    holder = Holder(me.run, me.host, child.pid, process_start(child.pid), me.machine)
    assert holder.alive
    child.communicate(b"\n")
    assert holder.alive is False


def test_a_reused_pid_is_another_process() -> None:
    me = Holder.me("run-1")
    assert Holder(me.run, me.host, me.pid, "1", me.machine).alive is False


def test_of_a_process_on_another_machine_nothing_is_known_even_if_that_has_our_name() -> None:
    me = Holder.me("run-1")
    assert Holder(me.run, me.host, 1, "1", "another machine").alive is None
    assert Holder.parse("something-else").alive is None


class Leases:
    """Keeps one lease as the API does: a stale resource version is refused."""

    def __init__(self, identity: str = "", *, renewed: datetime | None = None, lasts_s: int = 1) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        if identity:
            at = (renewed or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self.put({"spec": {"holderIdentity": identity, "leaseDurationSeconds": lasts_s, "renewTime": at}})

    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = {**body, "metadata": {"name": "verify-disrupt", "resourceVersion": str(self.version)}}
        return self.lease

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if asked.method == "GET":
            return (200, self.lease) if self.lease is not None else (404, status(404, "not found"))
        if asked.method == "PUT" and asked.body["metadata"]["resourceVersion"] != str(self.version):
            return 409, status(409, "changed meanwhile")
        if asked.method == "POST" and self.lease is not None:
            return 409, status(409, "already exists")
        return 201, self.put(asked.body)

    @property
    def identity(self) -> str:
        assert self.lease is not None
        identity: str = self.lease["spec"]["holderIdentity"]
        return identity


def ours(server: SmallServer) -> Lease:
    return Lease(Api(server.url), "verify-system", "run-1")


def test_it_is_taken_held_and_given_back() -> None:
    leases = Leases()
    with serving(leases) as server:
        lease = ours(server)
        lease.acquire()
        assert Holder.parse(leases.identity) == Holder.me("run-1")
        assert lease.holder() == Holder.me("run-1")
        lease.release()
        assert leases.identity == ""
        assert lease.holder() is None


@pytest.mark.parametrize("hours", [-5, 0, 5], ids=["its clock is behind", "its clock is right", "its clock is ahead"])
def test_a_silent_holder_on_another_machine_frees_it_after_its_time_whatever_its_clock(hours: int) -> None:
    leases = Leases(ELSEWHERE, renewed=datetime.now(UTC) + timedelta(hours=hours))
    with serving(leases) as server:
        lease = ours(server)
        began = time.monotonic()
        lease.acquire()
        assert time.monotonic() - began >= 1.0
        assert Holder.parse(leases.identity).run == "run-1"
        lease.release()


def test_a_holder_that_renews_is_alive_whatever_its_clock() -> None:
    leases = Leases(ELSEWHERE, renewed=datetime.now(UTC) - timedelta(hours=5), lasts_s=DURATION_S)

    def renewing(asked: Asked) -> tuple[int, Any]:
        answer = leases(asked)
        assert leases.lease is not None
        leases.put({**leases.lease})
        return answer

    with serving(renewing) as server, pytest.raises(Unobservable, match=r"run run-2 on elsewhere .* is breaking"):
        ours(server).acquire()


def test_a_dead_process_of_this_machine_frees_it_at_once() -> None:
    me = Holder.me("run-0")
    leases = Leases(Holder(me.run, me.host, me.pid, "1", me.machine).identity, lasts_s=DURATION_S)
    with serving(leases) as server:
        lease = ours(server)
        began = time.monotonic()
        lease.acquire()
        assert time.monotonic() - began < DURATION_S / 4
        lease.release()


def test_a_holder_that_cannot_renew_it_says_so_before_others_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.1)
    monkeypatch.setattr(module, "GIVE_UP_AFTER_S", 1.0)
    leases, lost = Leases(), list[tuple[float, Unseen]]()
    down = threading.Event()
    with serving(lambda asked: (503, status(503, "no leader")) if down.is_set() else leases(asked)) as server:
        lease = ours(server)
        lease.on_lost = lambda why: lost.append((time.monotonic(), why))
        lease.acquire()
        went = time.monotonic()
        down.set()
        wait_until(lambda: bool(lost), 20, "the loss to be told", interval_s=0.05)
        down.clear()
        lease.release()
    at, why = lost[0]
    assert at - went > 0.8
    assert why.cause is Cause.UNSAFE
    assert re.search(r"it could not be renewed for \d+ s: HTTP 503: no leader", why.detail)


@contextmanager
def host(name: str, server: SmallServer, run: str) -> Iterator[subprocess.Popen[str]]:
    """A process with a host name of its own that wants the lease."""
    script = f"hostname {name} && exec {sys.executable} -m tests.harness.holder {server.url} {run}"
    process = subprocess.Popen(
        ["unshare", "-u", "sh", "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@needs_unshare
def test_of_two_machines_one_holds_it_and_the_other_says_who() -> None:
    leases = Leases()
    with serving(leases) as server, host("red", server, "run-red") as red:
        assert said(red) == "red held"
        with host("blue", server, "run-blue") as blue:
            assert said(blue).startswith(f"blue the disruption lease: run run-red on red (pid {red.pid}) is breaking")
        red.communicate("")
        with host("blue", server, "run-blue") as blue:
            assert said(blue) == "blue held"


@needs_unshare
def test_a_machine_that_died_frees_it_for_another() -> None:
    leases = Leases()
    with serving(leases) as server:
        with host("red", server, "run-red") as red:
            assert said(red) == "red held"
        assert leases.lease is not None
        leases.put({"spec": {**leases.lease["spec"], "leaseDurationSeconds": 2}})
        with host("blue", server, "run-blue") as blue:
            assert said(blue) == "blue held"
