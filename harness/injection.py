"""How a fault is injected: only where allowed, never two at once, written down before, undone on every way out."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fixtures.faults import FAULTS, EndedEarly, Fault
from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet, WaitTimeout, wait_until
from harness.budget import Watch, signals
from harness.interrupts import Interrupts, UndoNow
from harness.journal import Journal, Recorder
from harness.lease import Lease
from harness.preconditions import Preconditions, look
from policies.facts.base import Cause, Unseen
from reports.faults import Entry, Event, Line
from targets.model import Target

UNDO_WITHIN_S = 120.0  # an undo that needs longer needs a person
PROOF_WITHIN_S = 15.0  # a fault that shows no effect by then did not happen
CLOSE_WITHIN_S = 60.0  # the API may still be electing when the journal is closed

Progress = Callable[[str], None]


class NotRestoredError(Exception):
    """The deployment was not brought back as it was found; the message says what is left and how to undo it."""


@dataclass
class Injected:
    """A fault in force. ``injected_at`` is time.monotonic() when injection began, ``undoing_at`` when its undo did."""

    fault: Fault
    parameters: dict[str, str]
    injected_at: float
    undoing_at: float = 0.0
    proof: str = ""


@dataclass
class Injector:
    """``with inject("control-plane-node-cut", {...}) as fault`` for the suites' fixtures."""

    run: str
    target: Target
    api: Api
    """The disruptor's."""
    journal: Journal
    lease: Lease
    record: Recorder
    progress: Progress
    restore: str
    """The command that undoes what this run could not."""
    may_disrupt: Callable[[], Unseen | None]
    """Why nothing may be broken now, or None."""
    interrupts: Interrupts
    not_restored: list[str] = field(default_factory=list)
    injected: int = 0
    _settled: set[str] = field(default_factory=set)
    """Entries of which nothing is left to do, or nothing can be done."""

    def __post_init__(self) -> None:
        self.lease.on_lost = self.interrupts.undo_now

    @contextlib.contextmanager
    def __call__(self, name: str, parameters: Mapping[str, str]) -> Iterator[Injected]:
        """Inject a fault of the registry and undo it when the block ends, however it ends.

        Raises Unobservable(UNSAFE) where it may not be injected, or shows no effect; EndedEarly where it was undone
        before its time, since the error budget was used up or the lease was lost; NotRestoredError where the undo
        failed.
        """
        fault = FAULTS[name]
        why_not = self.may_disrupt()
        if why_not is not None:
            raise Unobservable(why_not)
        self.lease.acquire()
        open_entries = self.journal.entries()
        if open_entries:
            raise Unobservable(still_broken(open_entries, self.restore))
        found = look(fault, self.target, self.api, parameters, datetime.now(UTC))
        if found.unmet:
            raise Unobservable(found.unmet[0])
        now = datetime.now(UTC)
        entry = Entry(secrets.token_hex(6), self.run, self.target.name, name, dict(parameters), now, found.radius)
        watch = Watch(signals(self.target, self.api), self.interrupts.undo_now)
        try:
            with self.interrupts.during_a_fault():
                injected = Injected(fault, entry.parameters, time.monotonic())
                try:
                    try:
                        # A write that we let go of could reach the journal after the one that takes it out again.
                        with self.interrupts.deferred():
                            self._open(entry)
                        self._announce(found, fault, entry)
                        watch.start()
                        injected.injected_at = time.monotonic()
                        self.injected += 1
                        fault.inject(self.target, self.api, entry.parameters)
                        self._note("injected", entry)
                        injected.proof = self._prove(fault, entry)
                        self._note("proved", entry, injected.proof)
                        yield injected
                    finally:
                        self._undo(injected, entry, watch)
                finally:
                    # A signal may have come just before the undo began; from here on they are held back.
                    try:
                        self._undo(injected, entry, watch)
                    finally:
                        watch.stop()
        except UndoNow as error:
            raise EndedEarly(error.why) from error

    def _announce(self, found: Preconditions, fault: Fault, entry: Entry) -> None:
        radius = f"; {found.radius.text()}" if found.radius is not None else ""
        self.progress(f"fault {fault.name}: {fault.touches.format(**entry.parameters)}{radius}")
        for each in found.all[1:]:
            self.progress(f"fault {fault.name}: {each.name}: {each.seen}")

    def _open(self, entry: Entry) -> None:
        """Write the entry to both journals. Raises Unobservable where the cluster does not take it."""
        self._note("open", entry)
        try:
            self.journal.open(entry)
        except Unobservable:
            self._settled.add(entry.id)  # not written down, so not injected
            self._note("undone", entry)
            with contextlib.suppress(Unobservable):  # it may have been written although no answer came
                self.journal.close(entry.id)
            raise

    def _prove(self, fault: Fault, entry: Entry) -> str:
        try:
            return wait_until(
                lambda: fault.proof(self.target, self.api, entry.parameters) or None,
                PROOF_WITHIN_S,
                f"proof of {fault.name}",
                interval_s=0.1,
                retry_on=(Unobservable,),
            )
        except WaitTimeout as error:
            remedy = "look at the fault's own commands on the node; nothing was judged"
            raise Unobservable(Unseen(Cause.UNSAFE, f"the effect of {fault.name}", str(error), remedy)) from error

    def _undo(self, injected: Injected, entry: Entry, watch: Watch) -> None:
        if entry.id in self._settled:
            return
        self.interrupts.hold()
        injected.undoing_at = time.monotonic()
        fault, why = injected.fault, self.interrupts.undo_because
        self.progress(f"fault {fault.name}: undoing it" + (f", since {why.detail}" if why is not None else ""))
        began = datetime.now(UTC)
        try:
            undo(fault, self.target, self.api, entry, restore=self.restore, progress=self.progress)
            close(self.journal, entry, self.restore, self.progress)
            if why is not None:
                self.record(Line(began, "ended early", entry, why.detail))
            self._note("undone", entry, watch.used())
        except NotRestoredError as error:
            self.not_restored.append(str(error))
            raise
        finally:
            self._settled.add(entry.id)
        self.progress(f"fault {fault.name}: undone; {watch.used()}")

    def _note(self, event: Event, entry: Entry, detail: str = "") -> None:
        self.record(Line(datetime.now(UTC), event, entry, detail))


def undo(fault: Fault, target: Target, api: Api, entry: Entry, *, restore: str, progress: Progress) -> None:
    """Undo until it has worked and the fault shows no more effect. Raises NotRestoredError with what was last seen.

    ``restore`` is the command that does it later.
    """

    def undone() -> bool:
        fault.undo(target, api, entry.parameters)
        still = fault.unmended(target, api, entry.parameters)
        if still:
            raise NotYet(f"it still has effect: {still}")
        return True

    try:
        wait_until(
            undone,
            UNDO_WITHIN_S,
            f"{fault.name} {entry.parameters} to be undone",
            progress=progress,
            retry_on=(Unobservable, OSError),
        )
    except WaitTimeout as error:
        raise NotRestoredError(f"{error}. It stays in the journal as {entry.id}: run `{restore}`") from error


def close(journal: Journal, entry: Entry, restore: str, progress: Progress) -> None:
    """Take an entry whose fault is undone out of the cluster's journal, as soon as the API is there for it."""
    try:
        wait_until(
            lambda: journal.close(entry.id),
            CLOSE_WITHIN_S,
            "the journal to take the undo",
            progress=progress,
            retry_on=(Unobservable,),
        )
    except WaitTimeout as error:
        raise NotRestoredError(f"{entry.fault} is undone, but {error}. Run `{restore}` to close the journal") from error


def still_broken(entries: tuple[Entry, ...], restore: str) -> Unseen:
    """Why nothing more may be broken: something still is."""
    what = "; ".join(
        f"{e.fault} {e.parameters} of run {e.run}, opened {e.opened:%Y-%m-%d %H:%M:%S} UTC" for e in entries
    )
    return Unseen(Cause.UNSAFE, "the undo journal", f"still open: {what}", f"run `{restore}`")
