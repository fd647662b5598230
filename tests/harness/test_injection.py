"""A fault is undone on every way out, whenever and however often the run is told to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fixtures.faults import FAULTS, EndedEarly, not_redundant
from fixtures.unobservable import Unobservable
from fixtures.waiting import WaitTimeout, wait_until
from harness import lease
from harness.injection import Injector
from harness.interrupts import Interrupts
from policies.facts.base import Cause
from policies.facts.faults import Radius
from reports.faults import Line
from targets.model import BlastRadius, ControlPlane, Disrupt, ErrorBudget, Target, Window, load_target
from tests.harness.storm import ROUNDS, injector, switch
from tests.unit.small_server import Asked, serving, status

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 30.0  # longer than anything here lasts when it works


def strict(**rules: Any) -> Target:
    """A target with its own rules for disruption, whose endpoint is the server itself."""
    disrupt = Disrupt(allowed=True, **rules)
    return load_target("lab").model_copy(update={"control_plane": ControlPlane(endpoint=None), "disrupt": disrupt})


class Cluster:
    """Keeps the journal's ConfigMap and the lease."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.lease: dict[str, Any] | None = None
        self.takes_entries = True
        self.ready = True

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        match asked.method, asked.path.rpartition("/")[2]:
            case "GET", "version":
                return 200, {"gitVersion": "v1.36.3"}
            case "GET", "readyz":
                return (200, "ok") if self.ready else (500, status(500, "etcd failed"))
            case "GET", "verify-journal":
                return 200, {"data": self.entries}
            case "PATCH", "verify-journal":
                changes = asked.body["data"].items()
                if not self.takes_entries:
                    return 500, status(500, "no leader")
                merged = {**self.entries, **{k: v for k, v in changes if v is not None}}
                self.entries = {k: v for k, v in merged.items() if k not in {k for k, v in changes if v is None}}
                return 200, {}
            case "GET", "verify-disrupt" if self.lease is not None:
                return 200, self.lease
            case "POST" | "PUT", _:
                self.lease = {**asked.body, "metadata": {"name": "verify-disrupt", "resourceVersion": "1"}}
                return 201, self.lease
        return 404, status(404, "not found")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the fault makes."""
    monkeypatch.setitem(FAULTS, "switch", switch(tmp_path / "off"))
    return tmp_path / "off"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def server(cluster: Cluster) -> Iterator[str]:
    with serving(cluster) as server:
        yield server.url


@pytest.fixture
def breaking(server: str) -> Iterator[Injector]:
    breaking = injector(server)
    yield breaking
    breaking.lease.release()


def test_undone_at_the_end(breaking: Injector, file: Path, cluster: Cluster) -> None:
    lines: list[Line] = []
    breaking.record = lines.append
    with breaking("switch", {}) as injected:
        assert file.exists()
        assert injected.proof == "it is off"
        assert len(cluster.entries) == 1
    assert not file.exists()
    assert cluster.entries == {}
    assert [line.event for line in lines] == ["open", "injected", "proved", "undone"]
    assert lines[0].entry.radius == Radius(nodes=0, pods=1, seconds=60)


def test_what_is_not_written_down_is_not_injected(breaking: Injector, file: Path, cluster: Cluster) -> None:
    cluster.takes_entries = False
    with pytest.raises(Unobservable, match="HTTP 500: no leader"), breaking("switch", {}):
        pytest.fail("it was injected")
    assert not file.exists()


def test_nothing_more_is_broken_while_something_is(breaking: Injector, file: Path, cluster: Cluster) -> None:
    with breaking("switch", {}):
        left = dict(cluster.entries)
    cluster.entries = left
    with pytest.raises(Unobservable, match="run `verify restore --target lab`") as caught, breaking("switch", {}):
        pytest.fail("it was injected")
    assert caught.value.unseen.cause is Cause.UNSAFE
    assert not file.exists()


def test_a_fault_ends_early_when_the_error_budget_is_used_up(server: str, file: Path, cluster: Cluster) -> None:
    lines: list[Line] = []
    breaking = injector(server, strict(error_budget=ErrorBudget(api_seconds=1)))
    breaking.record = lines.append
    began = time.monotonic()
    try:
        raises = pytest.raises(EndedEarly)
        with raises as caught, breaking("switch", {}):
            cluster.ready = False
            wait_until(lambda: False, LONG_S, "nothing")
    finally:
        breaking.lease.release()
    assert time.monotonic() - began < LONG_S / 2
    assert not file.exists()
    assert cluster.entries == {}
    assert caught.value.unseen.cause is Cause.UNSAFE
    assert re.search(r"the API endpoint failed for [1-5]\.\d s, 1 s are allowed", caught.value.unseen.detail)
    assert "HTTP 500: etcd failed" in caught.value.unseen.detail
    assert [line.event for line in lines] == ["open", "injected", "proved", "ended early", "undone"]
    assert lines[3].detail == caught.value.unseen.detail
    assert lines[4].detail.startswith("error budget used: the API endpoint ")


def test_a_fault_that_keeps_within_the_error_budget_is_not_ended(server: str, file: Path, cluster: Cluster) -> None:
    breaking = injector(server, strict(error_budget=ErrorBudget(api_seconds=60)))
    try:
        with breaking("switch", {}):
            cluster.ready = False
            with pytest.raises(WaitTimeout):
                wait_until(lambda: False, 2.5, "nothing")
            assert file.exists()
    finally:
        breaking.lease.release()


def test_a_fault_ends_early_when_another_takes_the_lease(
    breaking: Injector, file: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.2)
    other = "run-2|elsewhere|7|7|another machine"
    took = pytest.raises(EndedEarly, match=r"run run-2 on elsewhere \(pid 7\) took it")
    with took, breaking("switch", {}):
        assert cluster.lease is not None
        cluster.lease["spec"]["holderIdentity"] = other
        wait_until(lambda: False, LONG_S, "nothing")
    assert not file.exists()
    assert cluster.entries == {}
    breaking.lease.release()
    assert cluster.lease is not None
    assert cluster.lease["spec"]["holderIdentity"] == other, "what is another's is not given back"


NOW = datetime.now(UTC)
OPENS, CLOSES = NOW + timedelta(hours=2), NOW + timedelta(hours=3)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (
            {"blast_radius": BlastRadius(minutes=0.5)},
            "it would touch 0 nodes, 1 pod, at most 60 s; 1 node, 30 pods, at",
        ),
        (
            {"windows": (Window.model_validate({"from": f"{OPENS:%H:%M}", "to": f"{CLOSES:%H:%M}"}),)},
            f"the next opens at {OPENS:%Y-%m-%d %H:%M} UTC",
        ),
    ],
)
def test_what_the_target_does_not_allow_is_not_injected(
    rules: dict[str, Any], words: str, server: str, file: Path, cluster: Cluster
) -> None:
    breaking = injector(server, strict(**rules))
    try:
        with pytest.raises(Unobservable) as caught, breaking("switch", {}):
            pytest.fail("it was injected")
    finally:
        breaking.lease.release()
    assert caught.value.unseen.cause is Cause.UNSAFE
    assert words in caught.value.unseen.detail
    assert not file.exists()
    assert cluster.entries == {}


def test_without_redundancy_or_backup_nothing_is_injected(
    breaking: Injector, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(*_: object) -> str:
        raise not_redundant("cp2 is down")

    fault = FAULTS["switch"]
    monkeypatch.setitem(FAULTS, "switch", replace(fault, redundancy=alone))
    with pytest.raises(Unobservable, match="cp2 is down"), breaking("switch", {}):
        pytest.fail("it was injected")
    monkeypatch.setitem(FAULTS, "switch", replace(fault, needs_backup="etcd"))
    with pytest.raises(Unobservable, match=r"say in disrupt\.backups\.etcd"), breaking("switch", {}):
        pytest.fail("it was injected")
    assert not file.exists()


@pytest.mark.parametrize("signals", [0, 1, 2, 20])
def test_undone_whenever_signals_come(server: str, tmp_path: Path, cluster: Cluster, signals: int) -> None:
    command = [sys.executable, "-m", "tests.harness.storm", server, str(tmp_path), str(signals)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > ROUNDS / 4
    assert cluster.entries == {}


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().heard():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
