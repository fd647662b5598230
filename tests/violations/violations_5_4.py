"""Requirement 5.4 violated: poolers that are too few, too small, without TLS, or not what their Pooler declares."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from fixtures.pooler import REQUEST_WITHIN_S
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause, Unseen
from tests.violations.database import NAMESPACE, ready
from tests.violations.lab import Lab, Object
from tests.violations.violation import violates
from tests.violations.violations_1_1 import during_the_fault

NAME: Final = "finbot-db-pooler"
LOST: Final = r": [1-9]\d*(\.\d+)? % failed, \d+ of \d+ "
GIVEN_UP_S: Final = 3 * REQUEST_WITHIN_S
POOLER: Final = f"/apis/postgresql.cnpg.io/v1/namespaces/production/poolers/{NAME}"
DEPLOYMENT: Final = f"/apis/apps/v1/namespaces/production/deployments/{NAME}"
PODS: Final = f"cnpg.io/poolerName={NAME}"
JSON_PATCH: Final = "application/json-patch+json"
INI: Final = "/controller/configs/pgbouncer.ini"
# PgBouncer is a child of CloudNativePG's manager; a SIGHUP is its RELOAD.
RELOAD: Final = 'for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = pgbouncer ] && kill -HUP "${p#/proc/}"; done; true'

# --- what there is


def pods(lab: Lab) -> list[Object]:
    """The pooler's pods that are not about to go, by name."""
    found = lab.items(f"{NAMESPACE}/pods", PODS)
    return sorted(
        (pod for pod in found if "deletionTimestamp" not in pod["metadata"]),
        key=lambda pod: str(pod["metadata"]["name"]),
    )


def rolled_out(lab: Lab, replicas: int = 2) -> bool:
    """Whether the Deployment has come to rest, with so many pods."""
    found = lab.get(DEPLOYMENT)
    status = found["status"]
    counted = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
    seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    return seen and counted == {replicas} and [ready(pod) for pod in pods(lab)] == [True] * replicas


def healed(lab: Lab) -> None:
    """Wait until both poolers are there."""
    lab.until(lambda: rolled_out(lab), "both poolers to be ready")


def shell(lab: Lab, pod: str, script: str) -> str:
    """What a script in a pooler pod printed. Raises `Unobservable` where it failed."""
    done = lab.api.exec("production", pod, "pgbouncer", ["sh", "-ec", script], 15.0)
    if done.exit_code:
        raise Unobservable(Unseen(Cause.INVALID, f"a script in {pod}", done.stderr or done.stdout))
    return done.stdout.strip()


def setting(lab: Lab, pod: str, name: str) -> str:
    """What a pooler's own configuration has, empty where it has nothing."""
    found = re.search(rf"^{name}\s*=\s*(\S+)$", shell(lab, pod, f"cat {INI}"), re.MULTILINE)
    return found[1] if found else ""


@contextmanager
def declared(lab: Lab, parameters: Mapping[str, str], pool_mode: str = "transaction") -> Iterator[None]:
    """Other parameters in the Pooler meanwhile, once every pod has them, and as before afterwards."""
    before = lab.get(POOLER)["spec"]["pgbouncer"]
    back = {name: before["parameters"].get(name) for name in parameters}

    def taken(wanted: Mapping[str, str | None], mode: str) -> bool:
        here = [pod["metadata"]["name"] for pod in pods(lab)]
        want = {"pool_mode": mode, **{name: value for name, value in wanted.items() if value is not None}}
        return all(setting(lab, pod, name) == value for pod in here for name, value in want.items())

    change = {"spec": {"pgbouncer": {"poolMode": pool_mode, "parameters": dict(parameters)}}}
    undo = {"spec": {"pgbouncer": {"poolMode": before["poolMode"], "parameters": back}}}
    try:
        with lab.patched(POOLER, change, undo):
            lab.until(lambda: taken(parameters, pool_mode), "the poolers to take their settings")
            yield
    finally:
        lab.until(lambda: taken(back, before["poolMode"]), "the poolers to be as before")
        healed(lab)


@contextmanager
def by_hand(lab: Lab, name: str, value: str) -> Iterator[None]:
    """Another setting in one pooler alone, which its Pooler knows nothing of."""
    pod = pods(lab)[0]["metadata"]["name"]
    was = setting(lab, pod, name)

    def write(new: str) -> None:
        shell(
            lab,
            pod,
            f"sed 's/^{name} *=.*/{name} = {new}/' {INI} > {INI}.new; cat {INI}.new > {INI}; rm {INI}.new; {RELOAD}",
        )

    write(value)
    try:
        yield
    finally:
        write(was)


def replace(path: str, value: object) -> Object:
    """A JSON patch that does."""
    return {"op": "replace", "path": path, "value": value}


@contextmanager
def deployed(lab: Lab, change: list[Object], back: list[Object], replicas: int = 2) -> Iterator[None]:
    """The Deployment changed by hand meanwhile; the operator looks at the Pooler alone."""
    try:
        with lab.patched(DEPLOYMENT, change, back, JSON_PATCH):
            lab.until(lambda: rolled_out(lab, replicas), "the Deployment to be rolled out")
            yield
    finally:
        healed(lab)


# --- replicas


@violates("5.4", "replicas", r"1 of 2 declared ready behind the Service in 1 node \(w\d\)")
def scaled_down_by_hand(lab: Lab) -> Iterator[None]:
    """Somebody scaled the Deployment to one to look at something; the Pooler still declares two."""
    path = "/spec/replicas"
    with deployed(lab, [replace(path, 1)], [replace(path, 2)], replicas=1):
        yield


@violates("5.4", "replicas", r"2 of 2 declared ready behind the Service in 1 node \(w2\); w2 has 2 of them")
def all_in_one_node(lab: Lab) -> Iterator[None]:
    """The anti-affinity gave way to a node selector, and both poolers run in one node."""
    path = "/spec/template/spec"
    affinity = lab.get(DEPLOYMENT)["spec"]["template"]["spec"]["affinity"]
    one_node = {"kubernetes.io/hostname": "w2"}
    change: list[Object] = [
        {"op": "remove", "path": f"{path}/affinity"},
        {"op": "add", "path": f"{path}/nodeSelector", "value": one_node},
    ]
    back: list[Object] = [
        {"op": "add", "path": f"{path}/affinity", "value": affinity},
        {"op": "remove", "path": f"{path}/nodeSelector"},
    ]
    with deployed(lab, change, back):
        yield


@violates("5.4", "replicas", r"finbot-db-pooler-\S+ is in no node")
def no_room_for_the_second(lab: Lab) -> Iterator[None]:
    """All other nodes were cordoned for maintenance, and the pooler that was drained from one finds no place."""
    stays, goes = pods(lab)
    nodes = [name for name in lab.machines if name != stays["spec"]["nodeName"]]
    try:
        for name in nodes:
            lab.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
        lab.delete(f"{NAMESPACE}/pods/{goes['metadata']['name']}")
        lab.until(lambda: any(not pod["spec"].get("nodeName") for pod in pods(lab)), "a pooler without a node")
        yield
    finally:
        for name in nodes:
            lab.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})
        healed(lab)


# --- multiplexing


@violates("5.4", "multiplexing", r"(1[5-9]\d|200) of 500 connections answered .*no more connections allowed")
def few_clients_allowed(lab: Lab) -> Iterator[None]:
    """A pooler takes a hundred clients, as PgBouncer does unless it is told otherwise."""
    with declared(lab, {"max_client_conn": "100"}):
        yield


@violates("5.4", "multiplexing", r"30 of 500 connections answered 2 times .*no answer within 20 s")
def pooled_by_session(lab: Lab) -> Iterator[None]:
    """Each client keeps a server connection for as long as it stays: as many are served as there are of those."""
    with declared(lab, {}, pool_mode="session"):
        yield


@violates("5.4", "multiplexing", r"pool verify@verify of finbot-db-pooler-\S+: at most (1[6-9]|[2-4]\d) at once")
def more_server_connections_than_declared(lab: Lab) -> Iterator[None]:
    """In a bad night somebody gave one pooler a larger pool by hand; its Pooler declares what it always did."""
    with by_hand(lab, "default_pool_size", "40"):
        yield


# --- TLS


@violates(
    "5.4", "client-tls", r"Service production/finbot-db-pooler \(\S+\): a client without TLS is served; one with TLS is"
)
def tls_optional(lab: Lab) -> Iterator[None]:
    """TLS was made optional for one old client; so everybody may leave it out."""
    with declared(lab, {"client_tls_sslmode": "allow"}):
        yield


@violates(
    "5.4",
    "client-tls",
    r"pod production/finbot-db-pooler-\S+ \(\S+\): a client without TLS is served; one with TLS is told that there is",
    implies=frozenset({("5.4", "multiplexing")}),  # where clients do not give up TLS, none is served any more
)
def tls_switched_off(lab: Lab) -> Iterator[None]:
    """TLS was switched off at the poolers, to see whether it is what makes connecting slow."""
    with declared(lab, {"client_tls_sslmode": "disable"}):
        yield


@violates(
    "5.4",
    "client-tls",
    r"pod production/finbot-db-pooler-\S+ \(\S+\): a client without TLS is served; one with TLS is served",
)
def one_pooler_without_tls(lab: Lab) -> Iterator[None]:
    """One pooler alone was told by hand to take clients without TLS."""
    with by_hand(lab, "client_tls_sslmode", "allow"):
        yield


# --- losing one


@contextmanager
def not_replaced(lab: Lab) -> Iterator[None]:
    """The namespace has no room for a pod that runs on and on, until clients of a lost pooler have given up."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "seeded-violation"},
        "spec": {"hard": {"pods": "0"}, "scopes": ["NotTerminating"]},
    }
    collection = f"{NAMESPACE}/resourcequotas"

    def counted() -> bool:
        return "used" in lab.get(f"{collection}/seeded-violation").get("status", {})

    def make_room() -> None:
        begun = time.monotonic()
        lab.until(lambda: time.monotonic() - begun > GIVEN_UP_S, "clients to have given up", 2 * GIVEN_UP_S)
        lab.delete(f"{collection}/seeded-violation")

    with lab.made(collection, quota):
        lab.until(counted, "the quota to be in force")
        with during_the_fault(lab, make_room):
            yield
    healed(lab)


@violates("5.4", "pooler-loss", LOST)
def no_room_for_the_others_clients(lab: Lab) -> Iterator[None]:
    """Each pooler takes its own share of the clients and no more: those of the lost one find no place."""
    with declared(lab, {"max_client_conn": "15"}), not_replaced(lab):
        yield


@violates("5.4", "pooler-loss", LOST)
def one_server_connection_a_client(lab: Lab) -> Iterator[None]:
    """Clients keep their server connections, and one pooler alone has fewer of them than there are clients."""
    with declared(lab, {"default_pool_size": "14"}, pool_mode="session"), not_replaced(lab):
        yield


@violates("5.4", "pooler-loss", LOST)
def both_go_at_once(lab: Lab) -> Iterator[None]:
    """While one pooler is away the other is deleted as well, as a drain does where no disruption budget stands."""
    names = {pod["metadata"]["name"] for pod in pods(lab)}

    def delete() -> None:
        for name in names:
            lab.delete(f"{NAMESPACE}/pods/{name}")

    with not_replaced(lab), during_the_fault(lab, delete):
        yield
