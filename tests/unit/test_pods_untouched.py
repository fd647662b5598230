"""Which pods a cut node must leave as they are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fixtures.control_plane import steady_pods
from policies.facts.kubernetes import Pod


def pod(name: str, phase: str = "Running", **meta: str) -> Pod:
    """One as the API sends it."""
    sent: dict[str, Any] = {"metadata": {"name": name, **meta}, "spec": {"nodeName": "w1"}, "status": {"phase": phase}}
    return msgspec.convert(sent, Pod)


@pytest.mark.parametrize(
    "other",
    [pod("ended", "Succeeded"), pod("pending", "Pending"), pod("ending", deletionTimestamp="2026-11-24T02:00:00Z")],
    ids=lambda other: other.metadata.name,
)
def test_what_runs_and_stays_is_watched(other: Pod) -> None:
    assert [each.name for each in steady_pods((pod("runs"), other))] == ["runs"]
