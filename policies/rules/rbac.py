"""Requirement 1.4: who effectively holds which power, over bindings, aggregated roles and groups, not by name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from policies.facts.declared import AllowedSubject, Declared
from policies.facts.kubernetes import (
    ClusterRole,
    LabelSelector,
    LabelSelectorRequirement,
    Pod,
    PolicyRule,
    RoleBinding,
    ServiceAccount,
    Snapshot,
    Subject,
)
from policies.finding import Finding
from policies.limits import Limits
from policies.rules.common import blind, count, some
from policies.rules.resources import FINISHED

RBAC_GROUP: Final = "rbac.authorization.k8s.io"
AUTHENTICATION_GROUP: Final = "authentication.k8s.io"
WAYS: Final = 3  # in which a subject holds a power that are spelled out; more are counted
SERVICE_ACCOUNT_USER: Final = "system:serviceaccount:"
# What the API server's bootstrap policy gives every authenticated subject or service account: questions about oneself,
# the paths of discovery and health, and public certificates.
FOR_EVERYONE: Final = frozenset(
    {
        "system:basic-user",
        "system:discovery",
        "system:public-info-viewer",
        "system:service-account-issuer-discovery",
        "system:cluster-trust-bundle-discovery",
    }
)


# --- who is granted what


@dataclass(frozen=True, slots=True)
class Grant:
    """One binding's effect on one of its subjects.

    ``subject`` is ``Group/name``, ``User/name`` or ``ServiceAccount/namespace/name``; ``namespace`` is "" where it
    holds everywhere; ``rules`` are those of the role, with what it aggregates.
    """

    subject: str
    namespace: str
    binding: str
    role: str
    role_kind: str
    rules: tuple[PolicyRule, ...]

    @property
    def where(self) -> str:
        """``by RoleBinding production/ci (ClusterRole edit) in namespace production``."""
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"by {self.binding} ({self.role_kind} {self.role}){place}"


def grants(snapshot: Snapshot) -> Iterator[Grant]:
    """All grants of all bindings that were seen. A binding to a role that does not exist grants nothing."""
    cluster_roles = _cluster_rules(snapshot.cluster_roles.items)
    roles = {(r.metadata.namespace, r.metadata.name): tuple(r.rules or ()) for r in snapshot.roles.items}
    for binding in (*snapshot.cluster_role_bindings.items, *snapshot.role_bindings.items):
        namespace, ref = binding.metadata.namespace, binding.role_ref
        by_cluster_role = ref.kind == "ClusterRole"
        rules = cluster_roles.get(ref.name, ()) if by_cluster_role else roles.get((namespace, ref.name), ())
        for subject in binding.subjects or ():
            yield Grant(_holder(subject, namespace), namespace, _title(binding), ref.name, ref.kind, rules)


def _title(binding: RoleBinding) -> str:
    namespace, name = binding.metadata.namespace, binding.metadata.name
    return f"RoleBinding {namespace}/{name}" if namespace else f"ClusterRoleBinding {name}"


def _holder(subject: Subject, namespace: str) -> str:
    """The subject's one name: a service account may be bound as such or as the user that it appears as."""
    if subject.kind == "User" and subject.name.startswith(SERVICE_ACCOUNT_USER):
        account = subject.name.removeprefix(SERVICE_ACCOUNT_USER).split(":")
        if len(account) == 2:
            return f"ServiceAccount/{account[0]}/{account[1]}"
    if subject.kind == "ServiceAccount":
        return f"ServiceAccount/{subject.namespace or namespace}/{subject.name}"
    return f"{subject.kind}/{subject.name}"


def _cluster_rules(roles: Sequence[ClusterRole]) -> dict[str, tuple[PolicyRule, ...]]:
    """Rules of each ClusterRole: those it states and those of all roles it aggregates, directly or through others.

    The controller copies the latter into the former; until it has, they are on their way in all the same.
    """
    named = {role.metadata.name: role for role in roles}
    selected = {
        role.metadata.name: [
            other.metadata.name
            for other in roles
            if any(_selects(s, other.metadata.labels or {}) for s in role.aggregation_rule.cluster_role_selectors or ())
        ]
        for role in roles
        if role.aggregation_rule is not None
    }
    rules: dict[str, tuple[PolicyRule, ...]] = {}
    for name in named:
        reached = {name}
        waiting = [name]
        while waiting:
            fresh = [other for other in selected.get(waiting.pop(), ()) if other not in reached]
            reached.update(fresh)
            waiting += fresh
        rules[name] = tuple(rule for other in named if other in reached for rule in named[other].rules or ())
    return rules


def _selects(selector: LabelSelector, labels: dict[str, str]) -> bool:
    """Source: k8s.io/apimachinery, LabelSelectorAsSelector; an empty selector selects everything."""
    return all(labels.get(key) == value for key, value in (selector.match_labels or {}).items()) and all(
        _meets(requirement, labels) for requirement in selector.match_expressions or ()
    )


def _meets(requirement: LabelSelectorRequirement, labels: dict[str, str]) -> bool:
    value, values = labels.get(requirement.key), requirement.values or ()
    match requirement.operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False


# --- the powers


def is_cluster_admin(grant: Grant) -> str:
    """What makes a grant cluster-admin: the role of that name, or one that allows everything; "" for none."""
    if grant.role_kind == "ClusterRole" and grant.role == "cluster-admin":
        return "cluster-admin"
    for rule in grant.rules:
        if "*" in rule.verbs and "*" in (rule.resources or ()) and "*" in (rule.api_groups or ()):
            return "all verbs on all resources, as cluster-admin"
    return ""


def is_wildcard(grant: Grant) -> str:
    """The first wildcard verb or resource (``*`` or ``*/scale``) of a grant, "" for none."""
    for rule in grant.rules:
        resources = rule.resources or ()
        if "*" in rule.verbs or any(resource == "*" or resource.startswith("*/") for resource in resources):
            return _text(rule)
    return ""


def is_secrets_read(grant: Grant) -> str:
    """What lets a grant list or watch Secrets, "" for nothing.

    A rule with resourceNames does not: it reaches the Secrets that it names and no other, as `get` would.
    """
    for rule in grant.rules:
        reads = _any(rule.verbs, ("list", "watch", "*"))
        secrets = _any(rule.resources or (), ("secrets", "*")) and _any(rule.api_groups or (), ("", "*"))
        if reads and secrets and not rule.resource_names:
            return _text(rule)
    return ""


def is_escalation(grant: Grant) -> str:
    """What lets a grant escalate or bind roles, or impersonate, "" for nothing."""
    for rule in grant.rules:
        if _hands_out_roles(rule) or _impersonates(rule):
            return _text(rule)
    return ""


def _hands_out_roles(rule: PolicyRule) -> bool:
    return (
        _any(rule.verbs, ("escalate", "bind", "*"))
        and _any(rule.resources or (), ("roles", "clusterroles", "*"))
        and _any(rule.api_groups or (), (RBAC_GROUP, "*"))
    )


def _impersonates(rule: PolicyRule) -> bool:
    """Source: Kubernetes, "User impersonation"; its constrained form has verbs such as impersonate:user-info."""
    if not any(verb in {"impersonate", "*"} or verb.startswith("impersonate:") for verb in rule.verbs):
        return False
    groups, resources = rule.api_groups or (), rule.resources or ()
    # All groups, *, hold authentication's, where the same resources stand: told at the end.
    if "" in groups and _any(resources, ("users", "groups", "serviceaccounts", "*")):
        return True
    extras = any(resource.startswith(("userextras", "*/")) for resource in resources)
    named = _any(resources, ("users", "groups", "serviceaccounts", "uids", "nodes", "*"))
    return _any(groups, (AUTHENTICATION_GROUP, "*")) and (extras or named)


def _any(values: Iterable[str], wanted: Iterable[str]) -> bool:
    return not frozenset(wanted).isdisjoint(values)


def _text(rule: PolicyRule) -> str:
    """``get, list on secrets`` and, outside the core group, ``bind on roles.rbac.authorization.k8s.io``."""
    groups = rule.api_groups or ()
    suffix = f".{groups[0]}" if len(groups) == 1 and groups[0] not in {"", "*"} else ""
    things = [f"{resource}{suffix}" for resource in rule.resources or ()] + list(rule.non_resource_urls or ())
    named = f" named {some(rule.resource_names)}" if rule.resource_names else ""
    return f"{some(rule.verbs)} on {some(things) or 'nothing'}{named}"


def cluster_admin(snapshot: Snapshot, declared: Declared, _limits: Limits) -> Iterator[Finding]:
    """cluster-admin: no subject outside the allow-list holds it, in the cluster or in one namespace."""
    yield from _holders("cluster-admin", is_cluster_admin, snapshot, declared)


def wildcards(snapshot: Snapshot, declared: Declared, _limits: Limits) -> Iterator[Finding]:
    """wildcards: no subject outside the allow-list holds a wildcard verb or resource."""
    yield from _holders("wildcards", is_wildcard, snapshot, declared)


def secrets_read(snapshot: Snapshot, declared: Declared, _limits: Limits) -> Iterator[Finding]:
    """secrets-read: no subject outside the allow-list may list or watch Secrets."""
    yield from _holders("secrets-read", is_secrets_read, snapshot, declared)


def escalation(snapshot: Snapshot, declared: Declared, _limits: Limits) -> Iterator[Finding]:
    """escalation: no subject outside the allow-list may escalate, bind or impersonate."""
    yield from _holders("escalation", is_escalation, snapshot, declared)


def _holders(power: str, holds: Callable[[Grant], str], snapshot: Snapshot, declared: Declared) -> Iterator[Finding]:
    """One finding for each subject that holds the power, and one for all subjects that were examined."""
    expected = f"only what the allow-list lets hold ({power})"
    yield from blind(
        expected, snapshot.cluster_role_bindings, snapshot.role_bindings, snapshot.cluster_roles, snapshot.roles
    )
    allowed = [(_pattern(entry), entry) for entry in declared.allowed if power in entry.powers]
    subjects: set[str] = set()
    bindings: set[str] = set()
    ways: defaultdict[str, list[str]] = defaultdict(list)
    for grant in grants(snapshot):
        subjects.add(grant.subject)
        bindings.add(grant.binding)
        what = holds(grant)
        if what:
            ways[grant.subject].append(f"{what} {grant.where}")
    for subject, how in ways.items():
        entry = next((entry for pattern, entry in allowed if pattern.fullmatch(subject)), None)
        observed = f"holds {'; '.join(how[:WAYS])}" + _more(len(how) - WAYS)
        if entry is not None:
            observed += f"; allowed: {entry.reason}"
        yield Finding(subject, expected, observed, entry is not None)
    if bindings:
        examined = f"{count(len(subjects), 'subject')} of {count(len(bindings), 'binding')}"
        observed = f"{examined}, of which {len(ways)} hold it"
        yield Finding("all subjects", "to be examined", observed, True)


def _more(ways: int) -> str:
    return f"; and in {count(ways, 'more way')}" if ways > 0 else ""


def _pattern(entry: AllowedSubject) -> re.Pattern[str]:
    """``*`` stands for any text and nothing else is special: names may hold brackets."""
    return re.compile(".*".join(re.escape(part) for part in entry.subject.split("*")))


# --- default service accounts


def default_service_accounts(snapshot: Snapshot, _limits: Limits) -> Iterator[Finding]:
    """default-service-accounts: each holds nothing but what everyone holds, and its token is mounted nowhere."""
    expected = "no right of its own and no token mounted"
    lists = (snapshot.namespaces, snapshot.service_accounts, snapshot.pods)
    bound = (snapshot.cluster_role_bindings, snapshot.role_bindings, snapshot.cluster_roles, snapshot.roles)
    yield from blind(expected, *lists, *bound)
    rights: defaultdict[str, list[str]] = defaultdict(list)
    for grant in grants(snapshot):
        own = [rule for rule in grant.rules if not _for_everyone(grant, rule)]
        if own:
            rights[grant.subject].append(f"holds {_text(own[0])} {grant.where}")
    pods: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in snapshot.pods.items:
        if pod.spec.service_account_name == "default" and pod.status.phase not in FINISHED:
            pods[pod.metadata.namespace].append(pod)
    accounts = {a.metadata.namespace: a for a in snapshot.service_accounts.items if a.metadata.name == "default"}
    names = [namespace.metadata.name for namespace in snapshot.namespaces.items]
    for name in dict.fromkeys([*names, *accounts]):
        groups = ("system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{name}")
        holders = (f"ServiceAccount/{name}/default", *(f"Group/{group}" for group in groups))
        problems = [_through(holder, right) for holder in holders for right in rights.get(holder, ())]
        account = accounts.get(name)
        if account is not None:
            problems += _tokens(account, pods[name])
        elif snapshot.service_accounts.unseen and not problems:
            continue  # said above, once
        there = "nothing held, nothing mounted" if account is not None else "there is no such account"
        yield Finding(f"ServiceAccount/{name}/default", expected, "; ".join(problems) or there, not problems)


def _through(holder: str, right: str) -> str:
    return f"{right}, as one of {holder.removeprefix('Group/')}" if holder.startswith("Group/") else right


def _for_everyone(grant: Grant, rule: PolicyRule) -> bool:
    """Whether this is Kubernetes' own grant to everyone, and still as harmless as it was made."""
    if grant.role_kind != "ClusterRole" or grant.role not in FOR_EVERYONE:
        return False
    if rule.resources:
        about_oneself = all(resource.startswith("selfsubject") for resource in rule.resources)
        public = set(rule.resources) == {"clustertrustbundles"} and set(rule.verbs) <= {"get", "list", "watch"}
        return public or (about_oneself and set(rule.verbs) == {"create"})
    return set(rule.verbs) <= {"get", "head"} and "*" not in (rule.non_resource_urls or ())


def _tokens(account: ServiceAccount, pods: Sequence[Pod]) -> list[str]:
    automount = account.automount_service_account_token
    problems = [] if automount is False else ["automountServiceAccountToken is not false"]
    by_default = automount is not False
    mounting = []
    for pod in pods:
        stated = pod.spec.automount_service_account_token
        if by_default if stated is None else stated:
            mounting.append(pod.metadata.name)
    if mounting:
        problems.append(f"its token is mounted in {count(len(mounting), 'pod')} ({some(mounting)})")
    return problems
