"""The lab's Redis in the hands of whoever breaks it: any command in any member, and what the cluster says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from fixtures.in_pod.redis_slots import ranges
from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet
from policies.facts.base import Cause, Unseen
from policies.rules.redis import SLOTS
from tests.violations.lab import Lab

PODS: Final = "/api/v1/namespaces/production/pods"
MEMBERS: Final = tuple(f"redis-{number}" for number in range(6))
CLI: Final = "redis-cli -e --tls --cacert /tls/ca.crt"
HEALTHY_WITHIN_S: Final = 150.0  # the members' keepers wait a while before they act


@dataclass(frozen=True)
class Known:
    """A member as the cluster has it."""

    name: str
    id: str
    address: str
    role: str
    master: str
    """Id of a replica's master."""
    slots: tuple[str, ...]
    node: str


def shell(lab: Lab, member: str, script: str) -> str:
    """What a script in a member's container printed. Raises `Unobservable` where it failed."""
    done = lab.api.exec("production", member, "redis", ["sh", "-ec", script], 30.0)
    if done.exit_code:
        raise Unobservable(Unseen(Cause.INVALID, f"a script in {member}", done.stderr or done.stdout))
    return done.stdout.strip()


def cli(lab: Lab, member: str, command: str) -> str:
    """What a member answered to a command. Raises `Unobservable` where it is an error."""
    return shell(lab, member, f"{CLI} {command}")


def everywhere(lab: Lab, command: str) -> None:
    """The same command in every member."""
    for member in MEMBERS:
        cli(lab, member, command)


def known(lab: Lab, by: str = MEMBERS[0]) -> dict[str, Known]:
    """All members by name, as one of them sees them."""
    pods = {pod["status"]["podIP"]: pod for pod in lab.items(PODS, "app.kubernetes.io/name=redis")}
    found = {}
    for line in cli(lab, by, "cluster nodes").splitlines():
        id_, address, flags, master, _ping, _pong, _epoch, link, *slots = line.split()
        ip = address.partition(":")[0]
        if "fail" in flags or "handshake" in flags or ip not in pods or link != "connected":
            raise NotYet(f"{address} is {flags}, {link}")
        name, role = pods[ip]["metadata"]["name"], "master" if "master" in flags else "replica"
        node = pods[ip]["spec"]["nodeName"]
        found[name] = Known(name, id_, ip, role, "" if master == "-" else master, tuple(slots), node)
    return found


def masters(lab: Lab) -> list[Known]:
    """Those with slots, by name."""
    return sorted((each for each in known(lab).values() if each.slots), key=lambda each: each.name)


def replica_of(lab: Lab, master: Known) -> Known:
    """The replica of a master."""
    return next(each for each in known(lab).values() if each.master == master.id)


def follows(lab: Lab, member: str) -> bool:
    """Whether a replica's connection to its master stands."""
    return "master_link_status:up" in cli(lab, member, "info replication")


def whole(lab: Lab) -> bool:
    """Whether everyone knows everyone, and each master on a node of its own has a replica that has its data."""
    seen = [known(lab, by) for by in MEMBERS]
    if any(set(each) != set(MEMBERS) for each in seen):
        raise NotYet("not everyone is known to everyone")
    for by, view in zip(MEMBERS, seen, strict=True):
        covered = sum(last - first + 1 for peer in view.values() for first, last in ranges(peer.slots))
        if covered != SLOTS:
            raise NotYet(f"{covered} slots covered as seen by {by}")
    leading = [each for each in seen[0].values() if each.slots]
    if len(leading) != 3 or len({each.node for each in leading}) != 3:
        raise NotYet(f"masters: {', '.join(f'{each.name} on {each.node}' for each in leading)}")
    for each in seen[0].values():
        if each.role == "replica" and not follows(lab, each.name):
            raise NotYet(f"{each.name} has no connection to its master")
    if {each.master for each in seen[0].values() if each.master} != {each.id for each in leading}:
        raise NotYet("a master has no replica")
    return True


def healed(lab: Lab) -> None:
    """Wait until the cluster is whole."""
    lab.until(lambda: whole(lab), "the Redis cluster to be whole", HEALTHY_WITHIN_S)


@contextmanager
def keepers_stopped(lab: Lab) -> Iterator[None]:
    """What keeps masters apart hangs meanwhile."""
    nodes = sorted({pod["spec"]["nodeName"] for pod in lab.items(PODS, "app.kubernetes.io/name=redis")})
    try:
        for node in nodes:
            lab.machine(node).sh("pkill -STOP -f /config/keeper.sh")
        yield
    finally:
        for node in nodes:
            lab.machine(node).sh("pkill -CONT -f /config/keeper.sh || true")
