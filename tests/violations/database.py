"""The lab's PostgreSQL in the hands of whoever breaks it: superuser's SQL in any instance, and its custom resource."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet
from policies.facts.base import Cause, Unseen
from tests.violations.lab import Lab, Object

NAMESPACE: Final = "/api/v1/namespaces/production"
CLUSTER: Final = "/apis/postgresql.cnpg.io/v1/namespaces/production/clusters/finbot-db"
INSTANCES: Final = "cnpg.io/cluster=finbot-db,cnpg.io/podRole=instance"
RECONCILIATION: Final = "cnpg.io/reconciliationLoop"
SLOT: Final = "select slot_name from pg_replication_slots where slot_name = '{}'"
DROP_SLOT: Final = f"select pg_drop_replication_slot(slot_name) from ({SLOT}) as found"  # noqa: S608 - of our own names
NAMES: Final = "select coalesce(string_agg(application_name, ','), '') from pg_stat_replication"
HEALTHY_WITHIN_S: Final = 400.0  # a new replica is copied first
CAUGHT_UP: Final = """
select count(*) from pg_stat_replication where state = 'streaming' and pg_current_wal_lsn() - replay_lsn < 65536
"""


def shell(api: Api, pod: str, script: str, timeout_s: float = 30.0) -> str:
    """What a script in an instance printed. Raises `Unobservable` where it failed."""
    done = api.exec("production", pod, "postgres", ["sh", "-ec", script], timeout_s)
    if done.exit_code:
        raise Unobservable(Unseen(Cause.INVALID, f"a script in {pod}", done.stderr or done.stdout))
    return done.stdout.strip()


def sql(lab: Lab, pod: str, statement: str, database: str = "postgres") -> str:
    """What the superuser gets in an instance, without decoration. Raises `Unobservable` where it failed."""
    argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]
    done = lab.api.exec("production", pod, "postgres", argv, 30.0)
    if done.exit_code:
        raise Unobservable(Unseen(Cause.INVALID, f"{statement} in {pod}", done.stderr))
    return done.stdout.strip()


def instances(lab: Lab) -> dict[str, Object]:
    """The instances' pods by name."""
    return {pod["metadata"]["name"]: pod for pod in lab.items(f"{NAMESPACE}/pods", INSTANCES)}


def primary(lab: Lab) -> str:
    """The name of the instance that takes writes."""
    name: str = lab.get(CLUSTER)["status"]["currentPrimary"]
    return name


def replicas(lab: Lab) -> list[str]:
    """The names of the others, in order."""
    first = primary(lab)
    return sorted(name for name in instances(lab) if name != first)


def machine_of(lab: Lab, pod: str) -> str:
    """The node on which an instance runs."""
    name: str = instances(lab)[pod]["spec"]["nodeName"]
    return name


def healed(lab: Lab, timeout_s: float = HEALTHY_WITHIN_S, *, of: int = 3) -> None:
    """Wait until that many instances are ready, and all but one of them stream with next to nothing to replay."""

    def whole() -> bool:
        streaming = sql(lab, primary(lab), CAUGHT_UP)
        status = lab.get(CLUSTER)["status"]
        if (streaming, status.get("readyInstances"), status["instances"]) != (str(of - 1), of, of):
            raise NotYet(f"{streaming} stream, {status.get('readyInstances')} ready: {status.get('phase')}")
        return True

    lab.until(whole, f"{of} instances to be ready, and replicas among them to stream", timeout_s)


@contextmanager
def declared(lab: Lab, change: object, back: object) -> Iterator[None]:
    """The cluster's custom resource, changed meanwhile."""
    with lab.patched(CLUSTER, change, back):
        yield


@contextmanager
def left_alone(lab: Lab) -> Iterator[None]:
    """The operator does not look after the cluster meanwhile, as its own annotation has it."""
    note = {"metadata": {"annotations": {RECONCILIATION: "disabled"}}}
    with lab.patched(CLUSTER, note, {"metadata": {"annotations": {RECONCILIATION: None}}}):
        yield


@contextmanager
def endpoint_by_hand(lab: Lab, service: str, pod: str) -> Iterator[None]:
    """One more EndpointSlice of a Service, of the kind that no controller looks after, to an instance."""
    address = instances(lab)[pod]["status"]["podIP"]
    slice_of = {
        "metadata": {
            "name": f"{service}-by-hand",
            "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "somebody",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "postgres", "port": 5432, "protocol": "TCP"}],
    }
    with lab.made("/apis/discovery.k8s.io/v1/namespaces/production/endpointslices", slice_of):
        yield


@contextmanager
def selecting(lab: Lab, service: str, selector: dict[str, str]) -> Iterator[None]:
    """A Service that selects other pods meanwhile, while the operator does not put it right."""
    path = f"{NAMESPACE}/services/{service}"
    was = lab.get(path)["spec"]["selector"]
    change = [{"op": "replace", "path": "/spec/selector", "value": selector}]
    back = [{"op": "replace", "path": "/spec/selector", "value": was}]
    with left_alone(lab), lab.patched(path, change, back, "application/json-patch+json"):
        yield


def ready(pod: Object) -> bool:
    """Whether its kubelet calls it so."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


@contextmanager
def fenced(lab: Lab, pod: str) -> Iterator[None]:
    """An instance whose PostgreSQL is kept stopped, as `kubectl cnpg fencing on` does."""
    note = "cnpg.io/fencedInstances"
    on = {"metadata": {"annotations": {note: json.dumps([pod])}}}
    try:
        with lab.patched(CLUSTER, on, {"metadata": {"annotations": {note: None}}}):
            stopped = "if pg_isready -q; then exit 1; fi"
            lab.until(lambda: shell(lab.api, pod, stopped) == "", f"PostgreSQL in {pod} to have stopped")
            # Its kubelet is told later; until then Services lead there, or do not any more.
            lab.until(lambda: not ready(instances(lab)[pod]), f"{pod} to be seen as not ready")
            yield
    finally:
        healed(lab)


@contextmanager
def behind_a_firewall(lab: Lab) -> Iterator[None]:
    """A replica that gets nothing from the primary any more, and is else as well as before."""
    replica = replicas(lab)[-1]
    machine, address = lab.machine(machine_of(lab, replica)), instances(lab)[replica]["status"]["podIP"]
    # Before addresses of Services are translated, and before the rules of the pod network, which put themselves first.
    rule = f"PREROUTING -s {address} -p tcp --dport 5432 -j DROP"
    try:
        machine.sh(f"iptables -t mangle -I {rule}")
        lab.until(lambda: replica not in sql(lab, primary(lab), NAMES), f"{replica} to be gone from the primary's view")
        yield
    finally:
        machine.sh(f"while iptables -t mangle -D {rule} 2>/dev/null; do :; done")
        healed(lab)


@contextmanager
def slot(lab: Lab, statement: str, name: str) -> Iterator[None]:
    """A replication slot on the primary, made by this statement, that is gone everywhere afterwards."""
    first = primary(lab)
    drop = DROP_SLOT.format(name)
    sql(lab, first, drop)
    sql(lab, first, statement, "verify")
    try:
        yield
    finally:
        sql(lab, first, drop)
        # Copies on replicas go when CloudNativePG next compares them with the primary's.
        left = SLOT.format(name)
        lab.until(lambda: {sql(lab, each, left) for each in instances(lab)} == {""}, f"slot {name} to be gone")
