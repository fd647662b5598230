"""A fault in the control plane, as a client of the API saw it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Protocol

from msgspec import Struct

from policies.facts.base import Fact, Unseen


class Event(Struct, frozen=True):
    """A moment of the fault, for the timeline. ``at`` is seconds since the observation started."""

    at: float
    what: str


class Write(Struct, frozen=True):
    """One write through the endpoint: sent and answered in seconds since the observation started."""

    number: int
    sent: float
    answered: float
    acknowledged: bool


class Written(Protocol):
    """A write by any writer; seconds since its first."""

    @property
    def sent(self) -> float: ...

    @property
    def answered(self) -> float: ...

    @property
    def acknowledged(self) -> bool: ...


def longest_silence(writes: Iterable[Written], injected_at: float, ended_at: float) -> tuple[float, float] | None:
    """Start and end of the longest time without an acknowledgement that ends after the injection began.

    None where nothing was acknowledged before, so that no gap shows. The end of watching ends a silence, too.
    """
    acknowledged = sorted(write.answered for write in writes if write.acknowledged)
    before = sum(at <= injected_at for at in acknowledged)
    if not before:
        return None
    instants = [*acknowledged[before - 1 :], max(ended_at, acknowledged[-1])]
    return max(pairwise(instants), key=lambda stretch: stretch[1] - stretch[0])


class PodIdentity(Struct, frozen=True):
    """What must not change about a running pod that the fault does not touch."""

    namespace: str
    name: str
    node: str
    uid: str
    ready: bool
    containers: dict[str, str]
    """Container name to ``<container id> restarts=<n>``."""


class ControlPlaneOutage(Fact, frozen=True):
    """One control-plane node cut off while a writer wrote through the endpoint every ``interval_s``.

    Times are seconds on the verifying machine's monotonic clock since the writer started; ``seen_at`` is its end, UTC.
    """

    node: str
    fault: str
    """Name of the fault, as the journal has it."""
    proof: str
    """How the fault was proved to have happened; empty where it was not proved."""
    injected_at: float
    """When the injection began."""
    undone_at: float
    """When the undo began: until then the fault stood for certain."""
    ended_at: float
    """When the writer stopped."""
    interval_s: float
    writes: tuple[Write, ...]
    read_back: tuple[int, ...]
    """Numbers of the acknowledged writes that were there afterwards."""
    pods_before: tuple[PodIdentity, ...]
    pods_after: tuple[PodIdentity, ...]
    events: tuple[Event, ...]
    unseen: Unseen | None = None
    """Set where the fault was not injected or its effect could not be observed."""
    cut_short: Unseen | None = None
    """Set where the fault was undone before its time: what is seen can then be a violation, and never a pass."""

    @property
    def longest_silence(self) -> tuple[float, float] | None:
        """See `longest_silence`."""
        return longest_silence(self.writes, self.injected_at, self.ended_at)
