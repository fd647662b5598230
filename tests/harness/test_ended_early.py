"""A fault that the watcher ends: what was seen until then is judged, and is never a pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fixtures import control_plane
from fixtures.control_plane import observe_outage
from fixtures.faults import FAULTS
from fixtures.kubernetes import Api
from harness.verdict import decide
from policies import rules
from policies.catalogue import load_catalogue
from policies.facts.base import Cause, Listing
from policies.facts.kubernetes import Snapshot
from policies.facts.nodes import NodeView
from reports.model import Verdict
from targets.model import ErrorBudget
from tests.harness.storm import injector, switch
from tests.harness.test_injection import Cluster, strict
from tests.unit.small_server import Asked, serving


class Living(Cluster):
    """Takes writes as well, while it is ready; it stops to be after some of them, until the fault is undone."""

    def __init__(self, file: Path, writes: int) -> None:
        super().__init__()
        self.file = file
        self.left = writes
        self.names: list[str] = []

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if self.file.exists():
            self.left -= asked.path.endswith("/scratch/configmaps")
        self.ready = self.left > 0 or not self.file.exists()
        match asked.method, asked.path.rpartition("/")[2]:
            case "POST", "configmaps" if "/scratch/" in asked.path:
                if not self.ready:
                    return 500, {}
                self.names.append(asked.body["metadata"]["name"])
                return 201, {}
            case "GET", "configmaps":
                return 200, {"metadata": {}, "items": [{"metadata": {"name": name}} for name in self.names]}
            case "GET", "cp1":
                return 200, {"spec": {"renewTime": "now"}}
            case "GET", "pods":
                return 200, {"kind": "PodList", "metadata": {}, "items": []}
        return super().__call__(asked)


@contextmanager
def scratch(*_: object, **__: object) -> Iterator[str]:
    yield "scratch"


def test_what_was_seen_until_then_counts_and_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "off"
    listings: list[Listing[Any]] = [Listing("x")] * 11
    before = Snapshot(datetime.now(UTC), "https://h", "v1.36.3", 1, *listings)
    victim = NodeView("cp1", "127.0.0.1", True)
    monkeypatch.setitem(FAULTS, "control-plane-node-cut", switch(file))
    monkeypatch.setattr(control_plane, "_look_before", lambda *_: (before, victim, {"node": "cp1"}))
    monkeypatch.setattr(control_plane, "_is_back", lambda *_: True)
    monkeypatch.setattr(control_plane, "scratch_namespace", scratch)
    monkeypatch.setattr(control_plane, "SETTLED_S", 0.1)
    limits = load_catalogue().limits("1.1", "write-gap")
    target = strict(error_budget=ErrorBudget(api_seconds=2))
    began = datetime.now(UTC)
    with serving(Living(file, 20)) as server:
        breaking = injector(server.url, target)
        started = time.monotonic()
        outage = observe_outage(
            Api(server.url), target, run_id="r1", inject=breaking, limits=limits, progress=lambda _: None
        )
        breaking.lease.release()
    assert not file.exists()
    assert time.monotonic() - started < control_plane.HOLD_AT_LEAST_S + control_plane.STEADY_S
    assert outage.cut_short is not None
    assert outage.cut_short.cause is Cause.UNSAFE
    assert outage.injected_at < outage.undone_at < outage.ended_at
    assert any(event.what.startswith("ended early: the API endpoint failed for ") for event in outage.events)
    assert outage.longest_silence is not None
    for rule in (rules.control_plane.write_gap, rules.control_plane.acknowledged_writes):
        clause = {"write_gap": "write-gap", "acknowledged_writes": "acknowledged-writes"}[rule.__name__]
        findings = list(rule(outage, load_catalogue().limits("1.1", clause)))
        decision = decide(findings, (outage,), began)
        assert (decision.verdict, decision.cause) == (Verdict.not_evaluated, Cause.UNSAFE)
