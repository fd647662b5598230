"""The undo journal: what has been broken and not yet mended, readable by any machine that reaches the cluster.

An entry is written before a fault is injected and removed after its undo was proved. It lives in one ConfigMap of the
deployment, so that another machine can undo what this one left behind, and in the run's own ``journal.jsonl``, so that
it can be undone while the API is away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec

from fixtures.decoding import decoded
from fixtures.kubernetes import Access, Answer, Api
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause, Unseen
from reports.canonical import UNREADABLE
from reports.faults import Entry, Line

CONFIG_MAP = "verify-journal"
READ_ACCESS: Final = (Access("get", "", "configmaps", "<identities.namespace>", name=CONFIG_MAP),)
WRITE_ACCESS: Final = (
    *READ_ACCESS,
    Access("patch", "", "configmaps", "<identities.namespace>", name=CONFIG_MAP),
    Access("create", "", "configmaps", "<identities.namespace>"),
)
RESTORED = "restored.jsonl"
"""Beside the runs: what ``verify restore`` undid of them. It does not write into a run, whose evidence is closed."""


def refused(answer: Answer, what: str) -> Unobservable:
    """The error for a call on our own bookkeeping that the API did not carry out."""
    cause = Cause.FORBIDDEN if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} else Cause.UNREACHABLE
    return Unobservable(
        Unseen(
            cause,
            what,
            f"HTTP {answer.status}: {answer.message}",
            "apply bootstrap/layers/30-rbac, which lets the disruptor keep its journal and lease",
        )
    )


class Journal:
    """The open entries in the cluster. Every method raises Unobservable where the API does not answer or refuses."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._collection = f"/api/v1/namespaces/{namespace}/configmaps"
        self._path = f"{self._collection}/{CONFIG_MAP}"

    def entries(self) -> tuple[Entry, ...]:
        """All open entries, oldest first."""
        answer = self._api.request("GET", self._path)
        if answer.status == HTTPStatus.NOT_FOUND:
            return ()
        if not answer.ok:
            raise refused(answer, "the undo journal")
        data = msgspec.json.decode(answer.body).get("data") or {}
        return tuple(sorted((decoded(v, Entry) for v in data.values()), key=lambda e: e.opened))

    def open(self, entry: Entry) -> None:
        """Write an entry; returns once the API has acknowledged it."""
        self._merge({entry.id: msgspec.json.encode(entry).decode()})

    def close(self, entry_id: str) -> bool:
        """Remove an entry; removing one that is not there is fine. True once the API has acknowledged it."""
        self._merge({entry_id: None})
        return True

    def _merge(self, data: dict[str, str | None]) -> None:
        answer = self._api.request("PATCH", self._path, {"data": data}, content_type="application/merge-patch+json")
        if answer.status == HTTPStatus.NOT_FOUND:
            body = {"metadata": {"name": CONFIG_MAP}, "data": {k: v for k, v in data.items() if v is not None}}
            answer = self._api.request("POST", self._collection, body)
        if not answer.ok:
            raise refused(answer, "the undo journal")


def open_lines(files: Iterable[Path], target: str) -> tuple[Entry, ...]:
    """Entries that ``journal.jsonl`` files of this machine hold as opened and not undone, for one target.

    A last line cut short by a crash is skipped: the entry was written to the cluster before, or not injected at all.
    """
    found: dict[str, Entry] = {}
    for file in files:
        for raw in file.read_bytes().splitlines():
            try:
                line = decoded(raw, Line)
            except UNREADABLE:
                continue
            if line.event == "undone":
                found.pop(line.entry.id, None)
            elif line.entry.target == target:
                found[line.entry.id] = line.entry
    return tuple(found.values())


Recorder = Callable[[Line], None]
