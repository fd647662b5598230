"""What a fault says of itself before it is injected."""

from __future__ import annotations

from msgspec import Struct


class Radius(Struct, frozen=True):
    """The most that a fault touches, for its parameters and what the deployment holds now."""

    nodes: int
    pods: int
    seconds: float
    """How long it can stand before it is gone by itself, whatever becomes of the machine that injected it."""

    def text(self) -> str:
        """``1 node, 9 pods, at most 90 s``."""
        nodes, pods = (f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((self.nodes, "node"), (self.pods, "pod")))
        return f"{nodes}, {pods}, at most {self.seconds:g} s"
