"""A fault is undone on every way out, whenever and however often the run is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.faults import FAULTS
from fixtures.unobservable import Unobservable
from harness.injection import Injector
from harness.interrupts import Interrupts
from harness.journal import Line
from policies.facts.base import Cause
from tests.harness.storm import ROUNDS, injector, switch
from tests.unit.small_server import Asked, serving, status

ROOT = Path(__file__).resolve().parents[2]


class Cluster:
    """Keeps the journal's ConfigMap and the lease."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.lease: dict[str, Any] | None = None
        self.takes_entries = True

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        match asked.method, asked.path.rpartition("/")[2]:
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
    assert [line.event for line in lines] == ["open", "injected", "undone"]


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


@pytest.mark.parametrize("signals", [1, 2, 20])
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
