"""Facts from short YAML: what a case leaves out is as it is on a healthy cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from policies.facts.access import AnonymousAccess, Defaults, Trials
from policies.facts.alerts import QuotaAlerts
from policies.facts.base import Fact
from policies.facts.control_plane import ControlPlaneOutage
from policies.facts.database_backups import BackupPlan, Backups, Recovery
from policies.facts.declared import Declared
from policies.facts.kubernetes import Snapshot
from policies.facts.network import PodNetwork
from policies.facts.nodes import Nodes
from policies.facts.pooler import PooledClients, Pooler, PoolerDoors, PoolerLoss
from policies.facts.postgres import DatabaseServices, Postgres, ReplicationLag
from policies.facts.postgres_failover import PostgresFailover
from policies.facts.redis import RedisCluster, RedisFailover, RedisReads

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

    Of an instance: node, address, role, ready, unseen (a cause) or ``asked: false``, or what its view has instead;
    ``gone`` leaves it out. ``slots`` are name to [kind, active, retained bytes, WAL status (reserved)], ``standbys``
    name to [state, sync_state].
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
    if not has.pop("asked", True):
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
            {"name": each, "kind": of[0], "active": of[1], "retained_bytes": of[2], "wal_status": of[3]}
            for each, of in ((each, [*of, "reserved"]) for each, of in slots.items())
            if of[0]
        ],
    }
    unknown = set(has) - set(view)
    if unknown:
        raise KeyError(f"an instance has no {unknown}")
    return about | {"view": view | has}


def replication_lag(short: Short) -> ReplicationLag:
    """Two replicas that showed 100 commits within 10 ms, but for what the case says; ``replicas`` by name.

    Of a replica: ``worst_s`` and ``worst_mib`` are those of one commit and one sample, ``never`` and ``streamed`` as
    they are, ``seconds`` and ``bytes`` all of them, ``unseen`` a cause. ``ramp`` are so many, of
    1 ms and 10 KiB more each.
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
    if "ramp" in has:
        steps = range(1, has.pop("ramp") + 1)
        seconds, samples = [step / 1000 for step in steps], [10240 * step for step in steps]
    return {"replica": name, "seconds": seconds, "bytes": samples, "streamed": len(samples)} | has


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

    ``failed``, ``retried`` and ``slowest`` are by second, of its first stretch; ``silent`` is no request meanwhile,
    ``spared`` is none through a but in the first stretch after it was killed.
    """
    short = dict(short)
    by_second = {key: short.pop(key, {}) for key in ("failed", "retried", "slowest")}
    said, silent, rate = short.pop("said", ""), short.pop("silent", False), short.get("rate", 160)
    spared = short.pop("spared", False)
    injected_at, back_at = 10.0, 22.0
    requests: list[Short] = []
    for number in range(150):
        at = round(number * 0.2, 3)
        if silent and injected_at <= at < back_at:
            continue
        first = {key: has.get(number // 5, 0) if not number % 5 else 0 for key, has in by_second.items()}
        both = at == injected_at if spared else at < injected_at
        through = {"10.244.1.5": 16, "10.244.2.5": 16} if both else {"10.244.2.5": 32}
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
        "ready_at": 14.0,
        "back_at": back_at,
        "requests": requests,
        "events": [],
    }
    for key in ("unseen", "cut_short"):
        if key in short:
            short[key] = _reasons(short[key], "the fault")
    return _convert(full | short, PoolerLoss)


# --- backups of the database


def _ago(**times: float) -> str:
    """A moment before the fact was seen."""
    return (SEEN_AT - timedelta(**times)).isoformat()


def _segment(number: int, timeline: int = 1) -> str:
    """The name of a WAL segment of 16 MiB, as PostgreSQL has it."""
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def backup_plan(short: Short) -> BackupPlan:
    """``schedules`` are [cron, suspended or not] by name, or the cause why they could not be listed; ``archives``."""
    has: Any = short.get("schedules", {})
    found: dict[str, Any] = {"resource": "scheduledbackups"}
    if isinstance(has, str):
        found["unseen"] = _unseen(has, "scheduledbackups")
    else:
        found["items"] = [
            {"name": name, "schedule": cron, "suspended": bool(off)} for name, (cron, *off) in has.items()
        ]
    return _convert(
        {"cluster": "production/finbot-db", "archives": short.get("archives", True), "schedules": found}, BackupPlan
    )


def _base_backup(id_: str, short: Short) -> Short:
    """Keys: hours (since it ended; null where it never did), status, wal, files (sizes by name), plain, expected."""
    hours = short.get("hours", 3)
    begin, end = short.get("wal", [4, 5])
    plain = short.get("plain", [])
    files = short.get("files", {"backup.info": 1300, "data.tar.gz": 5000000})
    return {
        "id": id_,
        "status": short.get("status", "DONE"),
        "began": None if hours is None else _ago(hours=hours, minutes=2),
        "ended": None if hours is None else _ago(hours=hours),
        "begin_wal": _segment(begin),
        "end_wal": _segment(end),
        "expected": short.get("expected", ["data"]),
        "files": [
            {"name": name, "size": size, "encryption": "" if name in plain else "AES256"}
            for name, size in files.items()
        ],
    }


def _archiver(short: Short) -> Short:
    """Seconds since the last success and failure, null where there was none: archived, failed; mode, last, since."""
    archived, failed = short.get("archived", 20), short.get("failed")
    last = short.get("last", 9)
    return {
        "mode": short.get("mode", "on"),
        "archived_count": 7,
        "last_archived": "" if last is None else last if isinstance(last, str) else _segment(last),
        "last_archived_at": None if archived is None else _ago(seconds=archived),
        "failed_count": 0 if failed is None else 3,
        "last_failed": "" if failed is None else _segment(10),
        "last_failed_at": None if failed is None else _ago(seconds=failed),
        "since": _ago(days=1) if short.get("since", True) else None,
        "position": "0/A000100",
        "asked_at": SEEN_AT,
    }


def backups(short: Short) -> Backups:
    """Base backups by id, archived segments as [first, last, timeline] by number, the newest with its age."""
    newest: Any = short.get("newest_wal", {})
    archiver: Any = short.get("archiver", {})
    scheduled: Any = short.get("scheduled_days", 2)
    full: dict[str, Any] = {
        "cluster": "production/finbot-db",
        "store": "s3://backups/finbot-db",
        "asked_at": SEEN_AT,
        "policy": short.get("policy", "30d"),
        "scheduled_since": None if scheduled is None else _ago(days=scheduled),
        "backups": [
            _base_backup(name, has or {}) for name, has in short.get("backups", {"20261124T085800": {}}).items()
        ],
        "declared": [{"name": name, "id": of} for name, of in short.get("declared", {}).items()],
        "runs": [
            {"first": _segment(first, *timeline), "last": _segment(last, *timeline)}
            for first, last, *timeline in short.get("runs", [[4, 9]])
        ],
        "newest_wal": None
        if newest is None
        else {
            "name": _segment(newest.get("number", 9)),
            "size": 16000,
            "encryption": newest.get("encryption", "AES256"),
            "modified": _ago(seconds=newest.get("s", 20)),
        },
        "archiver": None if archiver is None else _archiver(archiver),
        "expiries": [{"id": name, "days": days} for name, days in short.get("expiries", {}).items()],
        "bucket_encryption": short.get("bucket_encryption", "AES256"),
        "stirred": short.get("stirred", False),
    }
    if "raw" in short:
        raw = {"where": "object-storage/data", "files": 3, "bytes": 52428800, "found": [], "control": True}
        full["raw"] = None if short["raw"] is None else raw | short["raw"]
    for key, what in (
        ("unseen", "s3://backups/finbot-db"),
        ("archiver_unseen", "archiver"),
        ("raw_unseen", "volume claim"),
        ("expiries_unseen", "lifecycle"),
    ):
        if key in short:
            full[key] = _reasons(short[key], what)
    return _convert(full, Backups)


def recovery(short: Short) -> Recovery:
    """Tables as [rows, checksum] by ``database.schema.name``; rows and arrivals as seconds before the end of watching.

    ``rows`` are [number, seconds, position before, position after], positions in segments of 16 MiB; ``arrivals`` are
    [number of the segment, seconds].
    """

    def at(segments: float) -> str:
        return f"{int(segments * 2**24) >> 32:X}/{int(segments * 2**24) & 0xFFFFFFFF:X}"

    def tables(has: Short) -> list[Short]:
        found: list[Short] = []
        for name, (rows, checksum) in has.items():
            database, _, table = name.partition(".")
            found.append({"database": database, "name": table, "rows": rows, "checksum": str(checksum)})
        return found

    source = short.get("source", {})
    full: dict[str, Any] = {
        "cluster": "production/finbot-db",
        "scratch": "verify-scratch",
        "instant": _ago(seconds=100),
        "position": at(short.get("position", 5.5)),
        "backup": "20261124T085800",
        "source": tables(source),
        "restored": tables(short.get("restored", source)),
        "rows": [
            {"number": number, "at": _ago(seconds=s), "before": at(before), "after": at(after)}
            for number, s, before, after in short.get("rows", [])
        ],
        "found": short.get("found", []),
        "took_s": 75,
        "arrivals": [{"segment": _segment(number), "at": _ago(seconds=s)} for number, s in short.get("arrivals", [])],
        "forced": _segment(short.get("forced", 5)),
        "watched_until": SEEN_AT,
        "failed": short.get("failed", ""),
    }
    for key in ("recovery_unseen", "archive_unseen"):
        if key in short:
            full[key] = _reasons(short[key], "the archive")
    return _convert(full, Recovery)


def redis_cluster(short: Short) -> RedisCluster:
    """Masters redis-0 to redis-2 on w1 to w3, replica redis-3 of redis-0 on w2 and so on; an id is the pod's name.

    ``members`` are names to what differs: node, ready, role, master, slots, unseen, and what its view holds. ``sees``
    is what one member sees another way: names to names to role, slots or flags, or to null where it does not know it.
    """
    ranges = ([[0, 5460]], [[5461, 10922]], [[10923, 16383]])
    full: dict[str, dict[str, Any]] = {}
    for number, slots in enumerate(ranges):
        full[f"redis-{number}"] = {"node": f"w{number + 1}", "role": "master", "slots": slots, "master": ""}
        replica = {"node": f"w{(number + 1) % 3 + 1}", "role": "replica", "slots": [], "master": f"redis-{number}"}
        full[f"redis-{number + 3}"] = replica | {"link_up": True}
    for name, differs in short.get("members", {}).items():
        full[name] = full[name] | differs
    seen: Any = short.get("sees", {})
    members = []
    for name, has in full.items():
        peers = []
        for other, its in full.items():
            odd = seen.get(name, {}).get(other, {})
            if odd is not None:
                known = {key: its[key] for key in ("role", "slots", "master")}
                peers.append({"id": other, "name": other, **known, **odd})
        view = {"append_only": True, "append_status": "ok", "rewrite_status": "ok", "folder": "/data"}
        view |= {key: value for key, value in has.items() if key not in {"node", "ready", "slots", "master", "unseen"}}
        view.pop("volume", None)
        member: dict[str, Any] = {"name": name, "node": has["node"], "ready": has.get("ready", True)}
        member["volume"] = has.get("volume", f"data-{name}")
        if "unseen" in has:
            member["unseen"] = _reasons(has["unseen"], f"Redis in {name}")
        else:
            member["view"] = {"id": name, "peers": peers, "node_timeout_s": 5, **view}
        members.append(member)
    ordered = sorted(members, key=lambda member: member["name"])
    place = {"namespace": "production", "statefulset": "redis", "declared": 6}
    return _convert(place | {"members": ordered}, RedisCluster)


def redis_reads(short: Short) -> RedisReads:
    """900 of 1000 reads of the applications found their key in 5 s. Reads are [hits, misses]."""
    full: dict[str, Any] = {"watched_s": 5, "applications": [900, 100], "enough": 500, "load_s": 8}
    full |= {"objects": 1000, "object_bytes": 2048, **short}
    for key in ("applications", "own", "counted"):
        if key in full:
            full[key] = dict(zip(("hits", "misses"), full[key], strict=True))
    full["unseen"] = _reasons(full.get("unseen", []))
    return _convert(full, RedisReads)


def redis_failover(short: Short) -> RedisFailover:
    """redis-0 killed at 10 s, and redis-3 in its place; a session stored in each of three shards every second for 60 s.

    ``silent`` (``silent_others``) are [from, to) stretches of seconds without an acknowledgement in its shard (the
    others'); ``lost`` are [shard, second] of sessions that are not there afterwards.
    """
    short = dict(short)
    silent = {"redis-0": short.pop("silent", [])}
    silent |= dict.fromkeys(("redis-1", "redis-2"), short.pop("silent_others", []))
    writes: list[dict[str, Any]] = []
    for second in range(60):
        for shard, stretches in silent.items():
            ok = not any(a <= second < b for a, b in stretches)
            at = {"sent": float(second), "answered": float(second), "acknowledged": ok}
            writes.append({"number": len(writes), "shard": shard, **at})
    lost = [(shard, float(second)) for shard, second in short.pop("lost", [])]
    there = [w for w in writes if w["acknowledged"] and (w["shard"], w["answered"]) not in lost]
    slots = (5461, 5462, 5461)
    shards = [{"master": name, "slots": slots[n], "master_after": name} for n, name in enumerate(silent)]
    shards[0]["master_after"] = short.pop("master_after", "redis-3")
    full = {
        "member": "redis-0",
        "node": "w1",
        "fault": "pod-kept-down",
        "proof": "its pod is gone",
        "injected_at": 10.0,
        "undone_at": 40.0,
        "ended_at": 60.0,
        "interval_s": 1.0,
        "timers": {"cluster-node-timeout": 5},
        "shards": shards,
        "writes": writes,
        "read_back": [w["number"] for w in there],
        "held": [w["number"] for w in there if w["shard"] == "redis-0"],
        "back": True,
    }
    if "cut_short" in short:
        short["cut_short"] = _reasons(short["cut_short"], "the error budget")
    return _convert(full | short, RedisFailover)


def _convert(full: Mapping[str, Any], kind: type[F]) -> F:
    unknown = set(full) - {field.name for field in msgspec.structs.fields(kind)}
    if unknown:
        raise KeyError(f"{kind.__name__} has no {unknown}")
    return msgspec.convert({"seen_at": SEEN_AT} | dict(full), kind)


# --- the loss of the database's primary


def postgres_failover(short: Short) -> PostgresFailover:
    """A minute in which db-1 was killed at 10 s, and a row was acknowledged every second but in ``silent``.

    ``silent`` are [from, to) stretches of seconds without acknowledgement, ``lost`` the numbers that are not there
    afterwards, ``timers`` seconds by name.
    """
    short = dict(short)
    silent, lost = short.pop("silent", []), short.pop("lost", [])
    started, ended = short.pop("writer", [0, 60])
    acknowledged = [n for n in range(started, ended) if not any(a <= n < b for a, b in silent)]
    timers = short.pop("timers", {"failoverDelay": 0})
    full = {
        "cluster": "db",
        "service": "db-rw",
        "fault": "pod-killed",
        "proof": "pod production/db-1 is gone",
        "old_primary": "db-1",
        "node": "w1",
        "new_primary": "db-2",
        "timeline_before": 3,
        "timeline_after": 4,
        "injected_at": 10.0,
        "undone_at": 40.0,
        "ended_at": 60.0,
        "interval_s": 1.0,
        "clock_error_s": 0.1,
        "writes": [
            {"number": n, "sent": float(n), "answered": float(n), "acknowledged": n in acknowledged}
            for n in range(started, ended)
        ],
        "read_back": [n for n in acknowledged if n not in lost],
        "rejoined_at": 45.0,
        "rejoin_error_s": 1.0,
        "watched_for_s": 5.0,
        "rejoin_trouble": "",
        "wall_s": 75.0,
        "timers": [{"name": name, "seconds": seconds} for name, seconds in timers.items()],
        "events": [],
    }
    if "cut_short" in short:
        short["cut_short"] = _reasons(short["cut_short"], "the error budget")
    if "unseen" in short:
        short["unseen"] = _reasons(short["unseen"], "the fault")
    return _convert(full | short, PostgresFailover)


def postgres_node_loss(short: Short) -> PostgresFailover:
    """The same of db-1's node, w1, cut off."""
    proof = "port 10250 of w1 gives no answer"
    return postgres_failover({"fault": "node-cut", "proof": proof, **short})


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
    "backup_plan": backup_plan,
    "backups": backups,
    "recovery": recovery,
    "pooler": pooler,
    "pooled_clients": pooled_clients,
    "pooler_doors": pooler_doors,
    "pooler_loss": pooler_loss,
    "postgres": postgres,
    "replication_lag": replication_lag,
    "database_services": database_services,
    "postgres_failover": postgres_failover,
    "postgres_node_loss": postgres_node_loss,
    "redis_cluster": redis_cluster,
    "redis_reads": redis_reads,
    "redis_failover": redis_failover,
}
