"""Facts from short YAML: what a case leaves out is as it is on a healthy cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from policies.facts.access import AnonymousAccess, Defaults, Trials
from policies.facts.alerts import QuotaAlerts
from policies.facts.base import Fact
from policies.facts.control_plane import ControlPlaneOutage
from policies.facts.declared import Declared
from policies.facts.kubernetes import Snapshot
from policies.facts.network import PodNetwork
from policies.facts.nodes import Nodes
from policies.facts.pooler import PooledClients, Pooler, PoolerDoors, PoolerLoss
from policies.facts.postgres import DatabaseServices, Postgres, ReplicationLag

SEEN_AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
Short = Mapping[str, Any]
F = TypeVar("F", bound=Fact)


def build(kind: str, short: Short) -> Fact:
    """The fact of this kind (``snapshot``, ``nodes`` ...) that ``short`` describes. Raises on a misspelt key."""
    return BUILDERS[kind](short)


def _unseen(cause: str, what: str) -> Short:
    return {"cause": cause, "what": what, "detail": f"the answer was: {cause}", "remedy": "ask again"}


def _reasons(short: Any, what: str = "it") -> Any:
    """``forbidden`` stands for a whole reason, and a list of such for several."""
    if isinstance(short, str):
        return _unseen(short, what)
    return [_unseen(cause, f"part {number}") for number, cause in enumerate(short)]


# --- snapshot


def snapshot(short: Short) -> Snapshot:
    """Lists by their field names: a list of short objects, the cause why the list could not be read, or both."""
    expand: dict[str, Callable[[Any], Short]] = {
        "nodes": node,
        "pods": pod,
        "namespaces": lambda name: {"metadata": {"name": name}},
        "resource_quotas": lambda q: {"metadata": _meta(q), "spec": {"hard": q["hard"]}},
        "limit_ranges": lambda r: {"metadata": _meta(r), "spec": {"limits": r["limits"]}},
        "service_accounts": lambda a: {"metadata": _meta(a), "automountServiceAccountToken": a.get("automount")},
        "roles": role,
        "cluster_roles": role,
        "role_bindings": binding,
        "cluster_role_bindings": binding,
        "daemon_sets": lambda d: {"metadata": _meta(d)},
    }
    unknown = set(short) - set(expand) - {"version"}
    if unknown:
        raise KeyError(f"snapshot has no {unknown}")
    lists: dict[str, dict[str, Any]] = {}
    for name, short_to_full in expand.items():
        has: Any = short.get(name, [])
        if isinstance(has, list):
            has = {"items": has}
        elif isinstance(has, str):
            has = {"unseen": has}
        lists[name] = {"resource": name, "items": [short_to_full(item) for item in has.get("items", [])]}
        if "unseen" in has:
            lists[name] |= {"unseen": _unseen(has["unseen"], name)}
    full = {"seen_at": SEEN_AT, "server": "https://api", "version": short.get("version", "v1.36.3"), "requests": 11}
    return msgspec.convert(full | lists, Snapshot)


def _meta(short: Short) -> Short:
    """``name`` may hold the namespace: ``production/quota``."""
    namespace, _, name = str(short["name"]).rpartition("/")
    meta: dict[str, Any] = {"name": name, "namespace": namespace, "labels": short.get("labels")}
    if "owner" in short:
        kind, _, owner = short["owner"].partition("/")
        meta["ownerReferences"] = [{"kind": kind, "name": owner}]
    return meta


def node(short: Short) -> Short:
    """A node. Keys: name, control_plane, conditions, version, address, cidrs or cidr (one, as of old).

    All conditions are as they should be; one that is not has a status, or a status and a reason.
    """
    conditions: dict[str, Any] = {
        "Ready": "True",
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
    }
    conditions |= short.get("conditions", {})
    cidrs = short.get("cidrs", [short["cidr"]] if "cidr" in short else None)
    told = {kind: has if isinstance(has, list) else [has, "Because"] for kind, has in conditions.items()}
    return {
        "metadata": {
            "name": short["name"],
            "labels": {"node-role.kubernetes.io/control-plane": ""} if short.get("control_plane") else {},
        },
        "spec": {"podCIDR": cidrs[0], "podCIDRs": None if "cidr" in short else cidrs} if cidrs else {},
        "status": {
            "conditions": [
                {"type": kind, "status": status, "reason": reason} for kind, (status, reason) in told.items() if status
            ],
            "addresses": [{"type": "InternalIP", "address": short.get("address", "192.0.2.1")}],
            "nodeInfo": {"kubeletVersion": short.get("version", "v1.36.3")},
        },
    }


def pod(short: Short) -> Short:
    """A running, ready pod. Keys: name, node, labels, owner, ready, phase, account, automount, containers, init."""
    ready = "True" if short.get("ready", True) else "False"
    return {
        "metadata": _meta(short),
        "spec": {
            "nodeName": short.get("node", "w1"),
            "serviceAccountName": short.get("account", "default"),
            "automountServiceAccountToken": short.get("automount"),
            "containers": [container(name, has) for name, has in short.get("containers", {"main": {}}).items()],
            "initContainers": [container(name, has) for name, has in short.get("init", {}).items()],
        },
        "status": {
            "phase": short.get("phase", "Running"),
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}],
        },
    }


def container(name: str, resources: Short) -> Short:
    """``requests`` and ``limits``, each a mapping or ``both`` for something of cpu and memory."""
    amounts = {which: _amounts(resources[which]) for which in ("requests", "limits") if which in resources}
    return {"name": name, "resources": amounts}


def _amounts(short: Any) -> Short:
    return {"cpu": "100m", "memory": "64Mi"} if short == "both" else short


def role(short: Short) -> Short:
    """A Role or ClusterRole. ``rules`` are like ``get list on secrets,pods in core`` or ``get on url /metrics``."""
    full: dict[str, Any] = {"metadata": _meta(short), "rules": [policy_rule(text) for text in short.get("rules", [])]}
    if "aggregates" in short:
        full["aggregationRule"] = {"clusterRoleSelectors": short["aggregates"]}
    return full


def policy_rule(text: str) -> Short:
    """``VERBS on RESOURCES in GROUPS [named NAMES]``; ``core`` is the group without a name. Or ``VERBS`` alone."""
    verbs, _, rest = text.partition(" on ")
    rest, _, names = rest.partition(" named ")
    resources, _, groups = rest.partition(" in ")
    rule: dict[str, Any] = {"verbs": verbs.split()}
    if not rest:
        return rule
    if resources.startswith("url "):
        return rule | {"nonResourceURLs": resources.split()[1:]}
    rule |= {"resources": resources.split(","), "apiGroups": ["" if g == "core" else g for g in groups.split(",")]}
    return rule | ({"resourceNames": names.split(",")} if names else {})


def binding(short: Short) -> Short:
    """``role`` is ``ClusterRole/view``, ``subjects`` are ``Group/x``, ``User/x``, ``ServiceAccount/ns/name``."""
    kind, _, name = short["role"].partition("/")
    return {
        "metadata": _meta(short),
        "roleRef": {"kind": kind, "name": name},
        "subjects": [subject(text) for text in short["subjects"]],
    }


def subject(text: str) -> Short:
    """A subject of a binding."""
    kind, _, name = text.partition("/")
    if kind == "ServiceAccount":
        namespace, _, name = name.rpartition("/")
        return {"kind": kind, "namespace": namespace, "name": name}
    return {"kind": kind, "name": name}


# --- the other facts


def declared(short: Short) -> Declared:
    """The lab's declaration, with what the case says instead."""
    full = {
        "environments": ["production", "staging"],
        "cni_namespace": "kube-system",
        "cni_daemonset": "flannel",
        "overlay": "vxlan",
        "allowed": [],
        "service_cidr": "10.96.0.0/16",
    }
    return _convert(full | dict(short), Declared)


def nodes(short: Short) -> Nodes:
    """``nodes`` by name; ``unseen`` and the like are a cause alone."""
    if "unseen" in short:
        return _convert({"nodes": [], "unseen": _reasons(short["unseen"], "nodes")}, Nodes)
    return _convert({"nodes": [_node_view(name, has or {}) for name, has in short.items()]}, Nodes)


def _node_view(name: str, short: Short) -> Short:
    full = {"name": name, "address": "192.0.2.1", "control_plane": name.startswith("cp"), **short}
    for key in ("unseen", "certificates_unseen", "etcd_unseen", "kubelet_unseen"):
        if key in full:
            full[key] = _reasons(full[key], f"{name} over SSH")
    if "etcd" in full:
        full["etcd"] = _etcd(full["etcd"])
    if "certificates" in full:
        full["certificates"] = [
            {"path": path, "subject": "CN=x", "not_after": until} for path, until in full["certificates"].items()
        ]
    if "links" in full:
        keys = ("name", "kind", "mtu")
        full["links"] = [dict(zip(keys, link, strict=True)) for link in full["links"]]
    return full


def _etcd(short: Short) -> Short:
    """``members`` are ``etcd1``, or name to what differs from a healthy voter; ids are the names unless stated."""
    members = [
        {"id": name, "name": name, "learner": False, "healthy": True} | dict(has or {})
        for name, has in short["members"].items()
    ]
    return {"member_id": "etcd1", "leader_id": short.get("leader", "etcd1"), "members": members} | {
        "alarms": short.get("alarms", [])
    }


def outage(short: Short) -> ControlPlaneOutage:
    """A minute in which cp1 was cut off from 10 s to 40 s, and a write was acknowledged every second but in ``silent``.

    ``silent`` are [from, to) stretches of seconds without acknowledgement, ``lost`` the numbers that are not there
    afterwards, ``before`` and ``after`` pods as ``namespace/name`` to node, uid, ready, containers.
    """
    short = dict(short)
    silent, lost = short.pop("silent", []), short.pop("lost", [])
    started, ended = short.pop("writer", [0, 60])
    acknowledged = [n for n in range(started, ended) if not any(a <= n < b for a, b in silent)]
    full = {
        "node": "cp1",
        "fault": "control-plane-node-cut",
        "proof": "its API server answered no more",
        "injected_at": 10.0,
        "undone_at": 40.0,
        "ended_at": 60.0,
        "interval_s": 1.0,
        "writes": [
            {"number": n, "sent": float(n), "answered": float(n), "acknowledged": n in acknowledged}
            for n in range(started, ended)
        ],
        "read_back": [n for n in acknowledged if n not in lost],
        "pods_before": _identities(short.pop("before", {"production/web-0": {}})),
        "pods_after": _identities(short.pop("after", {"production/web-0": {}})),
        "events": [],
    }
    if "unseen" in short:
        short["unseen"] = _reasons(short["unseen"], "the fault")
    if "cut_short" in short:
        short["cut_short"] = _reasons(short["cut_short"], "the error budget")
    return _convert(full | short, ControlPlaneOutage)


def _identities(pods: Short) -> list[Short]:
    found: list[Short] = []
    for full_name, has in pods.items():
        namespace, _, name = full_name.partition("/")
        known = {"namespace": namespace, "name": name, "node": "w1", "uid": name, "ready": True}
        found.append(known | {"containers": {"main": "a1 restarts=0"}} | dict(has or {}))
    return found


def network(short: Short) -> PodNetwork:
    """Two nodes with all pairs at 20 of 20 and all four kinds of names answered, but for what the case says.

    ``pairs`` are ``a>b: [sent, received]`` (null leaves the pair out), ``names`` are ``node kind: {...}`` likewise.
    """
    names = {"service": "svc", "headless": "head", "external": "ext", "service-ip": "svc:443"}
    on = short.get("nodes", ["w1", "w2"])
    pairs = {f"{a}>{b}": [20, 20] for a in on for b in on if a != b} | short.get("pairs", {})
    asked: dict[str, Any] = {f"{n} {kind}": {} for n in on for kind in names if kind not in short.get("without", [])}
    asked |= short.get("names", {})
    resolutions = []
    for key, has in asked.items():
        node_name, _, kind = key.partition(" ")
        if has is not None:
            known = {"node": node_name, "name": names[kind], "kind": kind, "asked": 5, "answered": 5}
            known |= {"addresses": ["10.96.0.1"], "expected": ["10.96.0.1"], "times_ms": [1.0] * 5}
            resolutions.append(known | has)
    full = {
        "nodes": on,
        "pairs": [
            {"source": key.split(">")[0], "destination": key.split(">")[1], "sent": sent[0], "received": sent[1]}
            for key, sent in pairs.items()
            if sent is not None
        ],
        "resolutions": resolutions,
        "unseen": _reasons(short.get("unseen", [])),
    }
    return _convert(full, PodNetwork)


def attempt(text: str) -> Short:
    """``201`` or ``403 the API's message``."""
    status, _, message = str(text).partition(" ")
    return {"who": "someone", "action": "do it", "status": int(status), "message": message}


def trials(short: Short) -> Trials:
    """``trials`` are subject to [control, attempt]."""
    full = [
        {"subject": name, "control": attempt(control), "attempt": attempt(tried)}
        for name, (control, tried) in short.get("trials", {}).items()
    ]
    return _convert({"trials": full, "unseen": _reasons(short.get("unseen", []))}, Trials)


def anonymous(short: Short) -> AnonymousAccess:
    """``paths`` are path to [with credentials, without]; /healthz is open."""
    full = [
        {"path": path, "authenticated": attempt(known), "anonymous": attempt(unknown)}
        for path, (known, unknown) in short.get("paths", {}).items()
    ]
    unseen = _reasons(short.get("unseen", []))
    return _convert({"paths": full, "open_paths": ["/healthz"], "unseen": unseen}, AnonymousAccess)


def defaults(short: Short) -> Defaults:
    """``trials`` are namespace to {attempt, containers}."""
    full = [
        {
            "namespace": namespace,
            "attempt": attempt(has.get("attempt", 201)),
            "containers": [container(name, resources) for name, resources in has.get("containers", {}).items()],
        }
        for namespace, has in short.get("trials", {}).items()
    ]
    return _convert({"trials": full, "unseen": _reasons(short.get("unseen", []))}, Defaults)


def quota_alerts(short: Short) -> QuotaAlerts:
    """``beyond`` and ``below`` are lists of [used %, fired after s or null, waited s, ended after s (3) or null]."""
    full: dict[str, Any] = {
        side: [
            {
                "namespace": f"scratch-{side}",
                "used_percent": used,
                "fired_after_s": fired,
                "waited_s": waited,
                "ended_after_s": ended[0] if ended else 3,
            }
            for used, fired, waited, *ended in short.get(side, [])
        ]
        for side in ("beyond", "below")
    }
    if "unseen" in short:
        full["unseen"] = _reasons(short["unseen"], "Alertmanager")
    return _convert(full, QuotaAlerts)


def postgres(short: Short) -> Postgres:
    """Three instances, db-1 the primary, each on a node of its own; ``instances`` are what differs, by name.

    Of an instance: node, address, role, ready, unseen (a cause), or what its view has instead; null leaves it out.
    ``slots`` are name to [kind, active, retained bytes]; ``standbys`` are name to [state, sync_state].
    """
    known: dict[str, Any] = {"db-1": {}, "db-2": {}, "db-3": {}}
    known |= {name: has or {} if has != "gone" else None for name, has in short.get("instances", {}).items()}
    full = {
        "namespace": "production",
        "cluster": "db",
        "declared": 3,
        "phase": "Cluster in healthy state",
        "ready_instances": 3,
        "current_primary": "db-1",
        "instances": [_instance(name, has) for name, has in known.items() if has is not None],
        "slots_watched_s": 6.0,
    }
    return _convert(full | {key: value for key, value in short.items() if key != "instances"}, Postgres)


def _instance(name: str, short: Short) -> Short:
    number, has = name.rpartition("-")[2], dict(short)
    primary = name == "db-1"
    about = {"name": name, "node": f"w{number}", "address": f"10.0.0.{number}", "ready": True}
    about |= {"role": "primary" if primary else "replica"}
    about |= {key: has.pop(key) for key in list(has) if key in about}
    if "unseen" in has:
        about["unseen"] = _reasons(has.pop("unseen"), f"PostgreSQL in {name}")
        if not has:
            return about
    standbys = has.pop(
        "standbys", {"db-2": ["streaming", "quorum"], "db-3": ["streaming", "quorum"]} if primary else {}
    )
    others = [each for each in "123" if each != number]
    slots = has.pop("slots", {}) | {f"_cnpg_db_{each}": ["physical", primary, 4096] for each in others}
    receiver = {"status": "streaming", "sender_host": "db-rw", "slot": f"_cnpg_db_{number}", "timeline": 1}
    view: dict[str, Any] = {
        "in_recovery": not primary,
        "replay_paused": False,
        "standby_names": 'ANY 1 ("db-2","db-3")',
        "synchronous_commit": "on",
        "overrides": [],
        "standbys": [{"name": each, "state": s, "sync_state": sync} for each, (s, sync) in standbys.items()],
        "receiver": None if primary else receiver | has.pop("receives", {}),
        "slots": [
            {"name": each, "kind": kind, "active": active, "retained_bytes": kept, "wal_status": "reserved"}
            for each, (kind, active, kept) in slots.items()
            if kind
        ],
    }
    unknown = set(has) - set(view)
    if unknown:
        raise KeyError(f"an instance has no {unknown}")
    return about | {"view": view | has}


def replication_lag(short: Short) -> ReplicationLag:
    """Two replicas that showed 100 commits within 10 ms, but for what the case says; ``replicas`` by name.

    Of a replica: ``worst_s`` and ``worst_mib`` are those of one commit and one sample, ``never`` and ``streamed`` as
    they are, ``seconds`` and ``bytes`` all of them, ``unseen`` a cause.
    """
    full = {
        "namespace": "production",
        "cluster": "db",
        "service": "db-rw",
        "primary": "db-1",
        "beats": 100,
        "beat_every_s": 0.1,
        "rows_per_beat": 200,
        "row_bytes": 1024,
        "poll_s": 0.025,
        "committed": 100,
        "lasted_s": 10.0,
        "wal_bytes": 30 * 1024 * 1024,
        "slowest_commit_s": 0.02,
        "replicas": [
            _replica_lag(name, has or {}) for name, has in short.get("replicas", {"db-2": {}, "db-3": {}}).items()
        ],
    }
    own = {key: value for key, value in short.items() if key != "replicas"}
    if "unseen" in own:
        own["unseen"] = _reasons(own["unseen"], "a load through the read-write Service")
    return _convert(full | own, ReplicationLag)


def _replica_lag(name: str, short: Short) -> Short:
    has = dict(short)
    if "unseen" in has:
        has["unseen"] = _reasons(has["unseen"], f"PostgreSQL in {name}")
    seconds = [*[0.01] * 99, has.pop("worst_s", 0.01)]
    samples = [*[65536] * 99, int(has.pop("worst_mib", 0) * 1024 * 1024)]
    return {"replica": name, "seconds": seconds, "bytes": samples, "streamed": 100} | has


def database_services(short: Short) -> DatabaseServices:
    """Sixty connections through each; ``read_only`` and ``read_write`` are ends, by address or what they failed with.

    An address has the number of connections, with a minus where that instance takes no writes.
    """
    ends: dict[str, Any] = {"read_only": {"10.0.0.2": -29, "10.0.0.3": -31}, "read_write": {"10.0.0.1": 60}}
    full: dict[str, Any] = {}
    for key, service in (("read_only", "db-ro"), ("read_write", "db-rw")):
        found = short.get(key, ends[key])
        full[key] = {
            "service": service,
            "tried": 60,
            "routes": [
                {"address": address, "in_recovery": number < 0, "connections": abs(number)}
                for address, number in found.items()
                if address.startswith("10.")
            ],
            "failures": {what: number for what, number in found.items() if not what.startswith("10.")},
        }
    return _convert(full, DatabaseServices)


# --- the pooler

POOLER = "finbot-db-pooler.production.svc"


def pooler(short: Short) -> Pooler:
    """Two pods in two nodes; ``pods`` are name to what differs from a ready one behind the Service in w1."""
    pods = short.get("pods", {"a": {"node": "w1"}, "b": {"node": "w2"}})
    ready = {"node": "w1", "address": "10.244.1.5", "ready": True, "behind_service": True}
    full = {"namespace": "production", "name": "finbot-db-pooler", "declared": 2, **short}
    if "endpoints_unseen" in full:
        full["endpoints_unseen"] = _reasons(full["endpoints_unseen"], "endpoints")
    return _convert(full | {"pods": [{"name": name} | ready | has for name, has in pods.items()]}, Pooler)


def pooled_clients(short: Short) -> PooledClients:
    """500 clients on two pools of 15. ``pools`` are ``pod``, or ``pod user database``, to connections."""
    settings = {"mode": "transaction", "default_pool_size": 15, "reserve_pool_size": 0, "max_db_connections": 0}
    settings |= {"max_user_connections": 0, "max_client_conn": 1000, **short.get("settings", {})}
    pools = []
    for key, number in short.get("pools", {"a": 15, "b": 15}).items():
        pod_name, user, database = (*key.split(), "verify", "verify")[:3]
        pools.append({"pod": pod_name, "user": user, "database": database, "connections": number})
    full = {
        "service": POOLER,
        "asked": 500,
        "opened": 500,
        "answered": 500,
        "rounds": 2,
        "slowest_s": 1.2,
        "opened_in_s": 6.0,
        "detail": "",
        "samples": 40,
        "user": "verify",
        "database": "verify",
        **short,
    }
    return _convert(full | {"settings": settings, "pools": pools}, PooledClients)


def pooler_doors(short: Short) -> PoolerDoors:
    """The Service and pods a and b, each of which serves with TLS and refuses without, but for what ``b`` says."""
    where = {"Service production/finbot-db-pooler": "10.96.0.9", "pod production/a": "10.244.1.5"}
    where |= {"pod production/b": "10.244.2.5"}
    well = {"tls": "served", "verified": "verify-full", "plain": "refused", "plain_detail": "FATAL: SSL required"}
    doors: list[Short] = [{"where": name, "address": address, **well} for name, address in where.items()]
    doors[-1] = {**doors[-1], **short.get("b", {})}
    return _convert({"service": POOLER, "doors": [] if short.get("nobody") else doors}, PoolerDoors)


def pooler_loss(short: Short) -> PoolerLoss:
    """Half a minute of 160 requests a second through a and b; a was killed at 10 s and back at 22 s.

    ``failed``, ``retried`` and ``slowest`` are by second, of its first stretch; ``silent`` is no request meanwhile.
    """
    short = dict(short)
    by_second = {key: short.pop(key, {}) for key in ("failed", "retried", "slowest")}
    said, silent, rate = short.pop("said", ""), short.pop("silent", False), short.get("rate", 160)
    injected_at, back_at = 10.0, 22.0
    requests: list[Short] = []
    for number in range(150):
        at = round(number * 0.2, 3)
        if silent and injected_at <= at < back_at:
            continue
        first = {key: has.get(number // 5, 0) if not number % 5 else 0 for key, has in by_second.items()}
        through = {"10.244.1.5": 16, "10.244.2.5": 16} if at < injected_at else {"10.244.2.5": 32}
        counts = {"requests": int(rate / 5), "failed": first["failed"], "retried": first["retried"]}
        one = {"at": at, **counts, "slowest_s": first["slowest"] or 0.01, "through": through}
        requests.append(one | {"said": said if first["failed"] else ""})
    full = {
        "service": POOLER,
        "victim": "a",
        "node": "w1",
        "address": "10.244.1.5",
        "fault": "pod-killed",
        "proof": "it is gone",
        "clients": 16,
        "rate": rate,
        "within_s": 5.0,
        "stretch_s": 0.2,
        "injected_at": injected_at,
        "back_at": back_at,
        "requests": requests,
        "events": [],
    }
    for key in ("unseen", "cut_short"):
        if key in short:
            short[key] = _reasons(short[key], "the fault")
    return _convert(full | short, PoolerLoss)


def _convert(full: Mapping[str, Any], kind: type[F]) -> F:
    unknown = set(full) - {field.name for field in msgspec.structs.fields(kind)}
    if unknown:
        raise KeyError(f"{kind.__name__} has no {unknown}")
    return msgspec.convert({"seen_at": SEEN_AT} | dict(full), kind)


BUILDERS: Mapping[str, Callable[[Short], Fact]] = {
    "snapshot": snapshot,
    "declared": declared,
    "nodes": nodes,
    "outage": outage,
    "network": network,
    "trials": trials,
    "anonymous": anonymous,
    "defaults": defaults,
    "quota_alerts": quota_alerts,
    "pooler": pooler,
    "pooled_clients": pooled_clients,
    "pooler_doors": pooler_doors,
    "pooler_loss": pooler_loss,
    "postgres": postgres,
    "replication_lag": replication_lag,
    "database_services": database_services,
}
