"""Requirement 5.1 violated: PostgreSQL without enough instances, without replicas, or without their word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final

from tests.violations import database
from tests.violations.database import sql
from tests.violations.lab import Lab, Object
from tests.violations.violation import violates
from tests.violations.violations_1_1 import MANIFESTS, during_the_fault

CONTROLLER_MANAGER: Final = f"{MANIFESTS}/kube-controller-manager.yaml"
LAG: Final = frozenset({("5.3", "lag-time"), ("5.3", "lag-bytes")})

# --- instances


@violates("5.1", "instances", r"finbot-db: 2 instances up on 2 nodes .*; the custom resource says 2 of 2 ready")
def scaled_to_two(lab: Lab) -> Iterator[None]:
    """Somebody saved a replica: all that is declared is there and well, and it is too little."""
    try:
        with database.declared(lab, {"spec": {"instances": 2}}, {"spec": {"instances": 3}}):
            lab.until(lambda: len(database.instances(lab)) == 2, "two instances to be left")
            database.healed(lab, of=2)
            yield
    finally:
        database.healed(lab)


@violates(
    "5.1",
    "instances",
    r"not up: finbot-db-\d \(its pod is not ready\)",
    implies=frozenset({("5.1", "streaming")}),
    blinds=LAG | {("5.3", "slots")},
)
def fenced_and_forgotten(lab: Lab) -> Iterator[None]:
    """A replica was fenced to look at its files, and never let go: its pod runs, and PostgreSQL in it does not."""
    with database.fenced(lab, database.replicas(lab)[-1]):
        yield


# --- streaming


@violates("5.1", "streaming", r"finbot-db-\d: it has no WAL receiver; finbot-db-\d has no such standby", implies=LAG)
def replica_behind_a_firewall(lab: Lab) -> Iterator[None]:
    """A firewall rule lets no replication through to one replica any more; it is ready, and its cluster healthy."""
    with database.behind_a_firewall(lab):
        yield


@violates("5.1", "streaming", r'commits on finbot-db-\d: synchronous_standby_names is "", and no standby can confirm')
def synchronous_replication_given_up(lab: Lab) -> Iterator[None]:
    """Writes were slow one day, so that somebody took synchronous replication out of the cluster's declaration."""
    synchronous = lab.get(database.CLUSTER)["spec"]["postgresql"]["synchronous"]
    off, on = ({"spec": {"postgresql": {"synchronous": each}}} for each in (None, synchronous))
    names = "show synchronous_standby_names"
    try:
        with database.declared(lab, off, on):
            lab.until(lambda: sql(lab, database.primary(lab), names) == "", "no standby to be named")
            yield
    finally:
        lab.until(lambda: sql(lab, database.primary(lab), names) != "", "standbys to be named again")
        database.healed(lab)


@violates("5.1", "streaming", r"commits of role finbot: synchronous_commit is off for role finbot")
def commits_of_the_application_do_not_wait(lab: Lab) -> Iterator[None]:
    """The application's own role acknowledges its commits at once, whatever the cluster declares."""
    first = database.primary(lab)
    sql(lab, first, "alter role finbot set synchronous_commit = off")
    try:
        yield
    finally:
        sql(lab, first, "alter role finbot reset synchronous_commit")


# --- while the primary is lost


NODE_LOSS: Final = frozenset({("5.1", "node-loss-write-gap")})
BOTH: Final = NODE_LOSS | {("5.1", "acknowledged-writes")}


@violates(
    "5.1",
    "write-gap",
    r"finbot-db-rw: writes stopped for (at least )?([4-9]\d|\d{3})\.\d+ s.*failoverDelay 60 s",
    implies=NODE_LOSS,
)
def failover_told_to_wait(lab: Lab) -> Iterator[None]:
    """After a failover that nobody wanted, the operator was told to wait a minute before the next one."""
    with database.declared(lab, {"spec": {"failoverDelay": 60}}, {"spec": {"failoverDelay": 0}}):
        yield


@violates(
    "5.1",
    "node-loss-write-gap",
    r"finbot-db-rw: writes stopped for (at least )?1[2-9]\d\.\d+ s.*node-monitor-grace-period 200 s",
    # The cut ends before the cluster acts: the old primary goes on, or another one was told to just then.
    may_blind=frozenset({("5.1", "old-primary-rejoins")}),
)
def nodes_are_given_more_time(lab: Lab) -> Iterator[None]:
    """Nodes that were NotReady for a moment made noise, so that the controller managers wait for minutes now."""
    machines = [lab.machine(name) for name in ("cp1", "cp2", "cp3")]
    with ExitStack() as back:
        back.callback(lab.settle)
        back.callback(_started_anew, lab, patient=False)
        for machine in machines:
            back.enter_context(machine.changed(CONTROLLER_MANAGER))
            flag = "    - --node-monitor-grace-period=200s"
            edit = f"sed 's/^    - --leader-elect=true$/&\\n{flag}/' {CONTROLLER_MANAGER}"
            machine.sh(f"{edit} > /root/new && mv /root/new {CONTROLLER_MANAGER}")
        _started_anew(lab, patient=True)
        yield


def _started_anew(lab: Lab, *, patient: bool) -> None:
    """Wait until all controller managers run with the flag, or all without it, and one of them leads.

    While none does, no Service follows its pods, and a failover lasts longer for that reason too.
    """

    def so() -> bool:
        pods = lab.items("/api/v1/namespaces/kube-system/pods", "component=kube-controller-manager")
        flags = [" ".join(pod["spec"]["containers"][0]["command"]) for pod in pods if _ready(pod)]
        return [("node-monitor-grace-period=200s" in each) is patient for each in flags] == [True] * 3

    lab.until(so, "the controller managers to be started anew", 180)
    since = datetime.now(UTC)
    lab.until(lambda: _led(lab) > since, "one of them to lead", 60)


def _led(lab: Lab) -> datetime:
    """When the controller manager that leads last said so."""
    lease = lab.get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager")
    return datetime.fromisoformat(lease["spec"]["renewTime"])


def _ready(pod: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


@violates(
    "5.1",
    "acknowledged-writes",
    r"finbot-db after pod-killed: 3 of \d+ acknowledged rows lost \(numbers 5, 6, 7\)",
)
def rows_vanish(lab: Lab) -> Iterator[None]:
    """Rows that were acknowledged vanish with the primary, as with a disk that lies about having stored them."""
    table = "select tablename from pg_tables where tablename like 'verify\\_writes\\_%'"

    def vanish() -> None:
        def gone() -> bool:
            first = database.primary(lab)
            rows = f"{sql(lab, first, table, 'verify')} where number in (5, 6, 7)"
            # Asked apart: an answer may be lost on its way with the primary.
            sql(lab, first, f"delete from {rows}", "verify")  # noqa: S608 - the name is the writer's
            return sql(lab, first, f"select count(*) from {rows}", "verify") == "0"  # noqa: S608

        lab.until(gone, "rows to be deleted", 110)

    with during_the_fault(lab, vanish):
        yield


@violates(
    "5.1",
    "old-primary-rejoins",
    r"finbot-db-\d after pod-killed: not within \d+ s: ",
    blinds=BOTH,
)
def primary_behind_a_firewall(lab: Lab) -> Iterator[None]:
    """On the primary's node a firewall rule drops what asks for PostgreSQL elsewhere: nobody misses that, yet."""
    node = database.machine_of(lab, database.primary(lab))
    machine, cidr = lab.machine(node), lab.get(f"/api/v1/nodes/{node}")["spec"]["podCIDR"]
    rule = f"FORWARD -s {cidr} ! -d {cidr} -p tcp --dport 5432 -j DROP"
    try:
        # Not in the table of filters, where the network policies' own rules come first again and again.
        machine.sh(f"iptables -t mangle -I {rule}")
        yield
    finally:
        machine.sh(f"while iptables -t mangle -D {rule} 2>/dev/null; do :; done")
        database.healed(lab)
