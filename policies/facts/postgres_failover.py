"""The loss of PostgreSQL's primary, or of its node, as a client of the read-write Service saw it."""

from __future__ import annotations

from msgspec import Struct

from policies.facts.base import Fact, Unseen
from policies.facts.control_plane import Event, Write, longest_silence


class Timer(Struct, frozen=True):
    """A time of the system's own that its recovery depends on."""

    name: str
    seconds: float


class PostgresFailover(Fact, frozen=True):
    """The primary taken away by one fault while a writer committed numbered rows through the Service.

    Times are seconds on the writer's monotonic clock since its first row; ``seen_at`` is the end, UTC.
    """

    cluster: str
    service: str
    fault: str
    """Name of the fault, as the journal has it."""
    proof: str
    """How the fault was proved to have happened; empty where it was not proved."""
    old_primary: str
    node: str
    """Where it ran."""
    new_primary: str
    """Who took writes at the end; the old one where nobody took over, empty where that was not seen."""
    timeline_before: int
    timeline_after: int
    """Of the last row that was there; 0 where none was."""
    injected_at: float
    undone_at: float
    """When the undo began: until then the fault stood for certain."""
    ended_at: float
    """When the writer stopped."""
    interval_s: float
    """A row was sent this often, whatever had become of those before."""
    clock_error_s: float
    """How far ``injected_at`` and ``undone_at``, which are by another clock, may be off."""
    writes: tuple[Write, ...]
    read_back: tuple[int, ...]
    """Numbers of the acknowledged rows that were there afterwards."""
    rejoined_at: float | None
    """When the old primary was first seen as a replica that streams; None where it was not."""
    rejoin_error_s: float
    """How long before that it was last looked for."""
    watched_for_s: float
    """How long it was waited for, from the undo on."""
    rejoin_trouble: str
    """What was seen of it instead, last."""
    wall_s: float
    """How long all of the observation took, by the verifying machine's clock."""
    timers: tuple[Timer, ...]
    events: tuple[Event, ...]
    unseen: Unseen | None = None
    """Set where the fault was not injected or what became of the database was not seen; the rest then means nothing."""
    cut_short: Unseen | None = None
    """Set where the fault was undone before its time: what is seen can then be a violation, and never a pass."""

    @property
    def longest_silence(self) -> tuple[float, float] | None:
        """See `longest_silence`."""
        return longest_silence(self.writes, self.injected_at, self.ended_at)
