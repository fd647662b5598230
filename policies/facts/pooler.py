"""PgBouncer in front of the database: its pods, what many clients get through it, and the loss of one of its pods."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from policies.facts.base import Fact, Unseen
from policies.facts.control_plane import Event


class PoolerPod(Struct, frozen=True):
    """One pod of the pooler's Deployment. ``behind_service``: the Service leads clients to it."""

    name: str
    node: str
    address: str
    ready: bool
    behind_service: bool


class Pooler(Fact, frozen=True):
    """The pods that make up the pooler ``namespace/name``, and how many of them are declared."""

    namespace: str
    name: str
    declared: int
    pods: tuple[PoolerPod, ...]
    endpoints_unseen: Unseen | None = None
    """Set where nobody can say whom the Service leads to; ``behind_service`` then means nothing."""


class PoolSettings(Struct, frozen=True):
    """What the Pooler declares, with PgBouncer's own defaults for what it leaves out; 0 of a ``max_*`` is no bound."""

    mode: str
    default_pool_size: int
    reserve_pool_size: int
    max_db_connections: int
    max_user_connections: int
    max_client_conn: int

    @property
    def most_server_connections(self) -> int:
        """As many as one pod may open for the clients of one user and database."""
        bounds = (self.max_db_connections, self.max_user_connections)
        return min([self.default_pool_size + self.reserve_pool_size, *(bound for bound in bounds if bound)])


class Pool(Struct, frozen=True):
    """The most connections that PostgreSQL saw at once from one pooler pod for one user and database."""

    pod: str
    user: str
    database: str
    connections: int


class PooledClients(Fact, frozen=True):
    """Clients with TLS that were all connected through the pooler's Service at once, and asked in turn."""

    service: str
    settings: PoolSettings
    asked: int
    """Connections tried."""
    opened: int
    answered: int
    """Connections that, all the others being held, had an answer to every one of ``rounds`` queries."""
    rounds: int
    slowest_s: float
    """The longest that an answer took."""
    opened_in_s: float
    detail: str
    """What the first connection that was not served was told; empty where all were."""
    samples: int
    """How often PostgreSQL was asked meanwhile for its connections from the pooler's pods."""
    pools: tuple[Pool, ...]
    user: str
    database: str


Outcome: TypeAlias = Literal["served", "refused", "untrusted", "without TLS", "no answer"]
"""What became of a connection: a query was answered; the server said no; its certificate does not hold; it offers no
TLS; or nothing was said at all."""


class Door(Struct, frozen=True):
    """One address of the pooler, knocked at by a client with TLS that checks the certificate, and by one without TLS.

    ``where`` is the Service's name or a pod's, ``verified`` what the client with TLS checked (libpq's sslmode).
    """

    where: str
    address: str
    tls: Outcome
    plain: Outcome
    verified: str = ""
    tls_detail: str = ""
    plain_detail: str = ""


class PoolerDoors(Fact, frozen=True):
    """Every address of the pooler, the Service's first."""

    service: str
    doors: tuple[Door, ...]


class Requests(Struct, frozen=True):
    """The requests that were due in one short stretch of the load, from ``at``, seconds since the load began.

    ``retried`` had no answer at first and one after a reconnect; ``failed`` had none after it either.
    ``through`` are pooler pods' addresses to the answers that came through them.
    """

    at: float
    requests: int
    failed: int
    retried: int
    slowest_s: float
    through: dict[str, int]
    said: str = ""
    """What the first that failed was told."""


class PoolerLoss(Fact, frozen=True):
    """One pooler pod killed while ``clients`` sent requests through the Service, ``rate`` a second altogether.

    Times are seconds since the load began; the fault's are seen with the error of ``stretch_s``.
    """

    service: str
    victim: str
    node: str
    address: str
    fault: str
    """Name of the fault, as the journal has it."""
    proof: str
    """How the fault was proved to have happened; empty where it was not proved."""
    clients: int
    rate: float
    within_s: float
    """A request without an answer by then, counted from when it was due, has failed."""
    stretch_s: float
    injected_at: float
    ready_at: float | None
    """When as many poolers were seen ready again as before."""
    back_at: float
    """Until when requests count: until then, and for ten seconds at least."""
    requests: tuple[Requests, ...]
    events: tuple[Event, ...]
    unseen: Unseen | None = None
    """Set where the fault was not injected or its effect could not be observed."""
    cut_short: Unseen | None = None
    """Set where the fault was undone before its time: what is seen can then be a violation, and never a pass."""

    @property
    def under_the_fault(self) -> tuple[Requests, ...]:
        """The stretches between the kill and the return."""
        return tuple(each for each in self.requests if self.injected_at <= each.at < self.back_at)
