"""Pod traffic and name resolution, measured from a probe pod on every node."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from policies.facts.base import Fact, Unseen


class PairLoss(Struct, frozen=True):
    """ICMP echo from the probe pod on ``source`` to the one on ``destination`` (node names)."""

    source: str
    destination: str
    sent: int
    received: int


class Resolution(Struct, frozen=True):
    """One name asked from one node, ``len(times_ms)`` answered queries out of ``asked``.

    ``kind`` is how the name is served: a Service's cluster IP, a headless Service's pod addresses, a name outside the
    cluster, or ``service-ip``: a TCP connection to the Service's cluster IP itself.
    """

    node: str
    name: str
    kind: Literal["service", "headless", "external", "service-ip"]
    asked: int
    answered: int
    """Queries with the right answer: NOERROR and, where ``expected`` is not empty, exactly those addresses."""
    addresses: tuple[str, ...]
    expected: tuple[str, ...]
    """Addresses that the API says the name stands for; empty for external names."""
    times_ms: tuple[float, ...]
    detail: str = ""


class PodNetwork(Fact, frozen=True):
    """The full matrix over ``nodes`` (every node of the cluster), pairs in both directions."""

    nodes: tuple[str, ...]
    pairs: tuple[PairLoss, ...]
    resolutions: tuple[Resolution, ...]
    unseen: tuple[Unseen, ...] = ()
    """One for each node on which no probe pod came up, and the like."""
