"""List requests, as the lab's API servers wrote them into their audit logs: nobody counts their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, field

from bootstrap.lab.layout import CONTROL_PLANE

LOG = "var/log/kubernetes/audit/audit.log"


class _User(Struct):
    username: str
    extra: dict[str, list[str]] = {}


class _Event(Struct):
    verb: str
    user: _User
    agent: str = field(default="", name="userAgent")


class AuditLogs:
    """What the three API servers log from now on."""

    def __init__(self) -> None:
        self._seen = {log: _size(log) for log in (node.root / LOG for node in CONTROL_PLANE)}

    def lists(self, agent: str) -> int:
        """List requests of the client whose User-Agent begins so; where several made some, of the busiest.

        A run has a credential of its own, so that another one at the same time is not counted in.
        """
        count = Counter(
            (event.user.username, *event.user.extra.get("authentication.kubernetes.io/credential-id", ()))
            for log, seen in self._seen.items()
            for event in _events(log, seen)
            if event.verb == "list" and event.agent.startswith(agent)
        )
        return max(count.values(), default=0)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _events(log: Path, seen: int) -> Iterator[_Event]:
    if not log.exists():
        return
    with log.open("rb") as file:
        file.seek(seen if seen <= _size(log) else 0)  # a log that has become smaller has been begun anew
        for line in file:
            if line.endswith(b"\n"):
                yield msgspec.json.decode(line, type=_Event)
