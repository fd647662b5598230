"""Requirement 1.4 violated: quotas, effective rights, what must be refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.violations.lab import Lab, Object
from tests.violations.violation import Clause, violates

RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
QUOTA: Final = "/api/v1/namespaces/{}/resourcequotas/namespace"
LIMIT_RANGE: Final = "/api/v1/namespaces/{}/limitranges/containers"
# Who holds everything holds each of the other powers as well.
EVERYTHING: Final[frozenset[Clause]] = frozenset({("1.4", "wildcards"), ("1.4", "secrets-read"), ("1.4", "escalation")})


def user(name: str) -> Object:
    """A user as a binding names one."""
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


def group(name: str) -> Object:
    """A group as a binding names one."""
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name}


def account(namespace: str, name: str) -> Object:
    """A service account as a binding names one."""
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


def may(verb: str, group: str, *resources: str) -> Object:
    """A role of one rule."""
    return {"rules": [{"apiGroups": [group], "resources": list(resources), "verbs": [verb]}]}


# --- quotas and limit ranges


@violates(
    "1.4",
    "quota-present",
    r"namespace monitoring: pods-only does not bound cpu and memory",
    implies=frozenset({("10.1", "namespace-quota")}),
)
def quota_without_cpu_and_memory(lab: Lab) -> Iterator[None]:
    """An environment's quota bounds the number of pods and nothing that they use."""
    path = QUOTA.format("monitoring")
    with lab.without(path), lab.made(path.rpartition("/")[0], quota("pods-only", {"pods": "50"})):
        yield


def quota(name: str, hard: dict[str, str], **spec: object) -> Object:
    """A ResourceQuota."""
    return {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}


@violates("1.4", "limit-range-present", r"namespace production: it has no LimitRange")
def limit_range_deleted(lab: Lab) -> Iterator[None]:
    """The container defaults of an environment were deleted."""
    with lab.without(LIMIT_RANGE.format("production")):
        yield


@violates("1.4", "limit-range-present", r"namespace staging: no default limit of memory")
def limit_range_without_memory(lab: Lab) -> Iterator[None]:
    """The container defaults of an environment give no limit of memory."""
    path = LIMIT_RANGE.format("staging")
    with lab.without(path) as found:
        item = found["spec"]["limits"][0]
        less = item | {"default": {"cpu": item["default"]["cpu"]}}
        lab.create(path.rpartition("/")[0], {"metadata": {"name": "containers"}, "spec": {"limits": [less]}})
        yield


@violates("1.4", "quota-enforced", r"namespace staging: create pod staging/\S+ .* was accepted \(201\)")
def quota_that_counts_nothing(lab: Lab) -> Iterator[None]:
    """An environment's quota has a scope that no pod of it is in."""
    path = QUOTA.format("staging")
    with lab.without(path) as found:
        scoped = quota("namespace", found["spec"]["hard"], scopes=["Terminating"])
        lab.create(path.rpartition("/")[0], scoped)
        lab.until(lambda: lab.get(path).get("status", {}).get("used"), "the quota to be counted")
        yield
    lab.until(lambda: lab.get(path).get("status", {}).get("used"), "the quota to be counted")


@violates("1.4", "defaults-applied", r"namespace production: create pod production/.* was refused: .*exceeded quota")
def defaults_beyond_the_quota(lab: Lab) -> Iterator[None]:
    """The container defaults of an environment are larger than its whole quota."""
    path = LIMIT_RANGE.format("production")
    with lab.without(path) as found:
        item = found["spec"]["limits"][0]
        more = item | {which: item[which] | {"cpu": "64"} for which in ("default", "defaultRequest")}
        lab.create(path.rpartition("/")[0], {"metadata": {"name": "containers"}, "spec": {"limits": [more]}})
        yield


@violates("1.4", "defaults-applied", r"namespace staging: create pod staging/\S+ .* was refused: .*must specify")
def no_defaults_under_a_quota(lab: Lab) -> Iterator[None]:
    """An environment has a quota and no container defaults: a pod that states nothing is refused."""
    with lab.without(LIMIT_RANGE.format("staging")):
        yield


# --- rights


@violates("1.4", "cluster-admin", r"User/mallory: holds cluster-admin", implies=EVERYTHING)
def cluster_admin_for_a_stranger(lab: Lab) -> Iterator[None]:
    """Somebody was bound to cluster-admin "for the weekend"."""
    with lab.bound({}, user("mallory"), of="cluster-admin"):
        yield


@violates(
    "1.4",
    "cluster-admin",
    r"ServiceAccount/production/finbot-api: holds all verbs on all resources.* in namespace production",
    implies=EVERYTHING,
)
def everything_under_another_name(lab: Lab) -> Iterator[None]:
    """The application may do everything in its namespace, by a role of an innocent name."""
    with lab.bound(may("*", "*", "*"), account("production", "finbot-api"), "production"):
        yield


@violates("1.4", "wildcards", r"Group/developers: holds \* on configmaps by RoleBinding production/seeded-violation")
def any_verb(lab: Lab) -> Iterator[None]:
    """Developers may do whatever there is to ConfigMaps, verbs to come included."""
    with lab.bound(may("*", "", "configmaps"), group("developers"), "production"):
        yield


@violates("1.4", "wildcards", r"ServiceAccount/monitoring/scaler: holds update on \*/scale")
def any_scale(lab: Lab) -> Iterator[None]:
    """A scaler may scale everything that has a scale, everywhere."""
    with lab.bound(may("update", "*", "*/scale"), account("monitoring", "scaler")):
        yield


@violates("1.4", "secrets-read", r"User/auditor: holds list on secrets by RoleBinding production/seeded-violation")
def secrets_by_aggregation(lab: Lab) -> Iterator[None]:
    """A role whose labels add it to `view` lists Secrets, so that whoever may look at all may look at those."""
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    role = {"metadata": {"name": "seeded-aggregated", "labels": labels}, **may("list", "", "secrets")}
    with lab.made(f"{RBAC}/clusterroles", role), lab.bound({}, user("auditor"), "production", of="view"):
        yield
    view = f"{RBAC}/clusterroles/view"
    lab.until(lambda: "secrets" not in str(lab.get(view)["rules"]), "the aggregated role to be itself again")


@violates("1.4", "secrets-read", r"ServiceAccount/monitoring/collector: holds watch on secrets")
def secrets_watched(lab: Lab) -> Iterator[None]:
    """A collector watches the Secrets of the whole cluster."""
    with lab.bound(may("watch", "", "secrets"), account("monitoring", "collector")):
        yield


@violates("1.4", "escalation", r"User/support: holds impersonate on users")
def impersonation(lab: Lab) -> Iterator[None]:
    """The support team may act as anybody."""
    with lab.bound(may("impersonate", "", "users"), user("support")):
        yield


@violates(
    "1.4",
    "escalation",
    r"Group/system:authenticated: holds bind on clusterroles",
    implies=frozenset({("1.4", "default-service-accounts")}),  # they are authenticated as well
)
def everybody_may_bind(lab: Lab) -> Iterator[None]:
    """Everybody who is anybody may bind roles."""
    with lab.bound(may("bind", "rbac.authorization.k8s.io", "clusterroles"), group("system:authenticated")):
        yield


@violates("1.4", "default-service-accounts", r"ServiceAccount/production/default: holds get on pods")
def rights_for_a_default_account(lab: Lab) -> Iterator[None]:
    """Rights were given to the account that every pod has which names none."""
    with lab.bound(may("get", "", "pods"), account("production", "default"), "production"):
        yield


@violates(
    "1.4", "default-service-accounts", r"ServiceAccount/staging/default: automountServiceAccountToken is not false"
)
def token_mounted_by_default(lab: Lab) -> Iterator[None]:
    """The default account of an environment mounts its token into every pod."""
    path = "/api/v1/namespaces/staging/serviceaccounts/default"
    with lab.patched(path, {"automountServiceAccountToken": True}, {"automountServiceAccountToken": False}):
        yield


# --- kubelets


@violates("1.4", "kubelet-anonymous", r"kubelet on w2: it serves callers without credentials")
def kubelet_serves_anybody(lab: Lab) -> Iterator[None]:
    """A kubelet was started with a flag that lets everybody in."""
    with lab.kubelet("w2", "--anonymous-auth=true"):
        yield


@violates(
    "1.4",
    "kubelet-anonymous",
    r"kubelet on w3: its authorization mode is AlwaysAllow; its read-only port 10255 is open",
)
def kubelet_asks_nobody(lab: Lab) -> Iterator[None]:
    """A kubelet's configuration allows whatever is asked, and opens the old port."""

    def open_up(config: Object) -> None:
        config["authorization"] = {"mode": "AlwaysAllow"}
        config["readOnlyPort"] = 10255

    with lab.kubelet("w3", config=open_up):
        yield


# --- who is refused what


@violates(
    "1.4",
    "cross-namespace",
    r"production/finbot-api in staging \(get\): get secret staging/.* let through",
)
def production_reads_staging(lab: Lab) -> Iterator[None]:
    """Production's application may read staging's Secret."""
    role = may("get", "", "secrets")
    with lab.bound(role, account("production", "finbot-api"), "staging"):
        yield


@violates("1.4", "anonymous", r"GET /api/v1/namespaces\?limit=1: .* as .*anonymous was let through \(200\)")
def anybody_lists_namespaces(lab: Lab) -> Iterator[None]:
    """Whoever can reach the API may list the namespaces."""
    with lab.bound(may("list", "", "namespaces"), group("system:unauthenticated")):
        yield
