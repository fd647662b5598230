"""One run at a time may break things: a Kubernetes Lease that is held, renewed and given back.

Source: coordination.k8s.io/v1 Lease, the object that Kubernetes' own leader election uses.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec

from fixtures.kubernetes import Access, Api
from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet, WaitTimeout, wait_until
from harness.journal import refused
from policies.facts.base import Cause, Unseen

NAME = "verify-disrupt"
READ_ACCESS: Final = (Access("get", "coordination.k8s.io", "leases", "<identities.namespace>", name=NAME),)
WRITE_ACCESS: Final = (
    *READ_ACCESS,
    Access("update", "coordination.k8s.io", "leases", "<identities.namespace>", name=NAME),
    Access("create", "coordination.k8s.io", "leases", "<identities.namespace>"),
)
DURATION_S = 60  # a holder that is silent for longer is taken to be dead
RENEW_EVERY_S = 10  # five chances to renew while a control-plane node is cut off
GIVE_UP_AFTER_S = 55  # without renewal: then nothing of ours may be broken any more, for others take us for dead soon


def process_start(pid: int) -> str:
    """The start time of a process in clock ticks since boot (proc(5) stat, field 22), "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def this_machine() -> str:
    """What tells this machine's processes from those of another with the same name: its boot and its pid space."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}.{Path('/proc/self/ns/pid').readlink()}"


@dataclass(frozen=True)
class Holder:
    """Who holds the lease. On the same machine a dead process is recognised at once, not after ``DURATION_S``."""

    run: str
    host: str
    pid: int
    started: str
    machine: str

    @classmethod
    def me(cls, run: str) -> Holder:
        """This process."""
        return cls(run, socket.gethostname(), os.getpid(), process_start(os.getpid()), this_machine())

    @classmethod
    def parse(cls, identity: str) -> Holder:
        """From the lease's holderIdentity; whatever is not ours is a holder on another machine."""
        match identity.split("|"):
            case [run, host, pid, started, machine] if pid.isdigit():
                return cls(run, host, int(pid), started, machine)
        return cls(identity, "", 0, "", "")

    @property
    def identity(self) -> str:
        """The lease's holderIdentity."""
        return f"{self.run}|{self.host}|{self.pid}|{self.started}|{self.machine}"

    @property
    def alive(self) -> bool | None:
        """Whether its process still is; None where it ran on another machine, where we cannot look."""
        return process_start(self.pid) == self.started if self.machine == this_machine() else None

    def __str__(self) -> str:
        return f"run {self.run} on {self.host or 'another machine'} (pid {self.pid})"


class Lease:
    """The lease of one deployment. ``acquire`` raises Unobservable(UNSAFE) while somebody else holds it.

    A holder on another machine is dead when it has not renewed the lease for as long as it said it would, by **our**
    clock since we first looked: two machines' clocks are never compared.
    """

    def __init__(self, api: Api, namespace: str, run: str, progress: Callable[[str], None] | None = None) -> None:
        self._api = api
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._me = Holder.me(run)
        self._progress = progress
        self._stop = threading.Event()
        self._renewer: threading.Thread | None = None
        self.on_lost: Callable[[Unseen], None] = lambda _: None
        """Called from another thread, again and again, while the lease is not ours any more although we need it."""

    def holder(self) -> Holder | None:
        """Who holds it now, None where nobody does. A holder on another machine is watched for a sign of life."""
        return self._watched()[1]

    def acquire(self) -> None:
        """Take the lease and keep it renewed until ``release``."""
        if self._renewer is not None:
            return
        lease, holder = self._watched()
        if holder is not None and holder != self._me:
            raise Unobservable(held(holder))
        self._put(lease, self._me.identity)
        self._stop.clear()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._renewer.start()

    def release(self) -> None:
        """Give it back. Where the API is away it runs out by itself; where another has taken it, it stays theirs."""
        if self._renewer is None:
            return
        self._stop.set()
        self._renewer.join()
        self._renewer = None
        with contextlib.suppress(Unobservable):
            lease = self._get()
            if _named(lease) == self._me:
                self._put(lease, "")

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._stop.wait(RENEW_EVERY_S):
            try:
                lease = self._get()
                holder = _named(lease)
                if holder != self._me:
                    self.on_lost(taken(f"{holder} took it" if holder else "somebody took it away from us"))
                    continue
                self._put(lease, self._me.identity)
                renewed = time.monotonic()
            except Unobservable as error:
                # The fault itself may stop a few; but before others take us for dead, nothing of ours may be broken.
                silent_s = time.monotonic() - renewed
                if silent_s > GIVE_UP_AFTER_S:
                    self.on_lost(taken(f"it could not be renewed for {silent_s:.0f} s: {error.unseen.detail}"))

    def _watched(self) -> tuple[dict[str, Any] | None, Holder | None]:
        """The lease, and its holder if that lives."""
        first = self._get()
        holder = _named(first)
        if first is None or holder is None or holder.alive is False:
            return first, None
        if holder.alive:
            return first, holder
        lasts_s = float(first["spec"].get("leaseDurationSeconds") or DURATION_S)
        latest: dict[str, Any] | None = first

        def changed() -> bool:
            nonlocal latest
            latest = self._get()
            if _named(latest) is None or _sign_of_life(latest) != _sign_of_life(first):
                return True
            raise NotYet(f"{holder} has not renewed it")

        try:
            wait_until(changed, lasts_s, f"a sign of life from {holder}", interval_s=1.0, progress=self._progress)
        except WaitTimeout:
            return latest, None
        return latest, _named(latest)

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
            raise Unobservable(held(_named(self._get()) or Holder("unknown", "", 0, "", "")))
        if not answer.ok:
            raise refused(answer, "the disruption lease")


def _named(lease: dict[str, Any] | None) -> Holder | None:
    """Who the lease says holds it, dead or alive."""
    identity = ((lease or {}).get("spec") or {}).get("holderIdentity")
    return Holder.parse(identity) if identity else None


def _sign_of_life(lease: dict[str, Any] | None) -> tuple[str, ...]:
    spec = (lease or {}).get("spec") or {}
    version = ((lease or {}).get("metadata") or {}).get("resourceVersion", "")
    return spec.get("holderIdentity") or "", spec.get("renewTime") or "", version


def taken(detail: str) -> Unseen:
    """Why a fault of ours may not stand any longer: the lease is not ours any more."""
    remedy = "see which other run or person was at work here, then run again"
    return Unseen(Cause.UNSAFE, "the disruption lease", f"{detail}. The fault was ended before its time", remedy)


def held(holder: Holder) -> Unseen:
    """Why nothing may be broken now: somebody else does."""
    return Unseen(
        Cause.UNSAFE,
        "the disruption lease",
        f"{holder} is breaking things in this deployment now",
        f"wait until it has ended; a holder that died frees the lease after {DURATION_S} s",
    )
