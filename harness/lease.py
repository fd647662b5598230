"""One run at a time may break things: a Kubernetes Lease that is held, renewed and given back.

Source: coordination.k8s.io/v1 Lease, the object that Kubernetes' own leader election uses.
"""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from harness.journal import refused
from policies.facts.base import Cause, Unseen

NAME = "verify-disrupt"
DURATION_S = 60  # a holder that is silent for longer is taken to be dead
RENEW_EVERY_S = 10  # five chances to renew while a control-plane node is cut off


def process_start(pid: int) -> str:
    """The start time of a process in clock ticks since boot (proc(5) stat, field 22), "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


@dataclass(frozen=True)
class Holder:
    """Who holds the lease. On the same machine a dead process is recognised at once, not after ``DURATION_S``."""

    run: str
    host: str
    pid: int
    started: str

    @classmethod
    def me(cls, run: str) -> Holder:
        """This process."""
        return cls(run, socket.gethostname(), os.getpid(), process_start(os.getpid()))

    @classmethod
    def parse(cls, identity: str) -> Holder:
        """From the lease's holderIdentity; whatever is not ours is a holder on another machine."""
        match identity.split("|"):
            case [run, host, pid, started] if pid.isdigit():
                return cls(run, host, int(pid), started)
        return cls(identity, "", 0, "")

    @property
    def identity(self) -> str:
        """The lease's holderIdentity."""
        return f"{self.run}|{self.host}|{self.pid}|{self.started}"

    @property
    def dead(self) -> bool:
        """True where it ran on this machine and does not any more."""
        return self.host == socket.gethostname() and process_start(self.pid) != self.started

    def __str__(self) -> str:
        return f"run {self.run} on {self.host or 'another machine'} (pid {self.pid})"


class Lease:
    """The lease of one deployment. ``acquire`` raises Unobservable(UNSAFE) while somebody else holds it."""

    def __init__(self, api: Api, namespace: str, run: str) -> None:
        self._api = api
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._me = Holder.me(run)
        self._stop = threading.Event()
        self._renewer: threading.Thread | None = None

    def holder(self) -> Holder | None:
        """Who holds it now, None where nobody does."""
        lease = self._get()
        return None if lease is None else _live_holder(lease)

    def acquire(self) -> None:
        """Take the lease and keep it renewed until ``release``."""
        if self._renewer is not None:
            return
        lease = self._get()
        holder = None if lease is None else _live_holder(lease)
        if holder is not None and holder != self._me:
            raise Unobservable(held(holder))
        self._put(lease, self._me.identity)
        self._stop.clear()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._renewer.start()

    def release(self) -> None:
        """Give it back. Where the API is away it runs out by itself."""
        if self._renewer is None:
            return
        self._stop.set()
        self._renewer.join()
        self._renewer = None
        try:
            self._put(self._get(), "")
        except Unobservable:
            return

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_EVERY_S):
            try:
                self._put(self._get(), self._me.identity)
            except Unobservable:
                continue  # the fault itself may stop this write; the next one comes well before the lease runs out

    def _get(self) -> dict[str, Any] | None:
        answer = self._api.request("GET", f"{self._collection}/{NAME}")
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if not answer.ok:
            raise refused(answer, "the disruption lease")
        lease: dict[str, Any] = msgspec.json.decode(answer.body)
        return lease

    def _put(self, lease: dict[str, Any] | None, identity: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": identity, "leaseDurationSeconds": DURATION_S, "renewTime": now, "acquireTime": now}
        meta: dict[str, Any] = {"name": NAME}
        if lease is None:
            answer = self._api.request("POST", self._collection, {"metadata": meta, "spec": spec})
        else:
            # The resource version makes the API refuse whoever comes second.
            meta["resourceVersion"] = lease["metadata"]["resourceVersion"]
            answer = self._api.request("PUT", f"{self._collection}/{NAME}", {"metadata": meta, "spec": spec})
        if answer.status == HTTPStatus.CONFLICT:
            raise Unobservable(held(self.holder() or Holder("unknown", "", 0, "")))
        if not answer.ok:
            raise refused(answer, "the disruption lease")


def _live_holder(lease: dict[str, Any]) -> Holder | None:
    spec = lease.get("spec") or {}
    if not spec.get("holderIdentity"):
        return None
    holder = Holder.parse(spec["holderIdentity"])
    renewed = datetime.fromisoformat(spec["renewTime"])
    if holder.dead or datetime.now(UTC) - renewed > timedelta(seconds=spec.get("leaseDurationSeconds") or DURATION_S):
        return None
    return holder


def held(holder: Holder) -> Unseen:
    """Why nothing may be broken now: somebody else does."""
    return Unseen(
        Cause.UNSAFE,
        "the disruption lease",
        f"{holder} is breaking things in this deployment now",
        f"wait until it has ended; a holder that died frees the lease after {DURATION_S} s",
    )
