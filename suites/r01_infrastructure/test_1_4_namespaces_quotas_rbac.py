"""1.4 Namespaces, quotas and RBAC."""

import pytest

from policies import rules
from policies.facts.access import AnonymousAccess, Defaults, Trials
from policies.facts.declared import Declared
from policies.facts.kubernetes import Snapshot
from policies.facts.nodes import Nodes


@pytest.mark.requirement("1.4", "quota-present")
def test_every_environment_has_a_quota(snapshot: Snapshot, declared: Declared, judge: rules.Judge) -> None:
    """Each environment has a ResourceQuota that bounds CPU and memory."""
    judge(rules.resources.quota_present, snapshot, declared)


@pytest.mark.requirement("1.4", "limit-range-present")
def test_every_environment_has_a_limit_range(snapshot: Snapshot, declared: Declared, judge: rules.Judge) -> None:
    """Each environment has a LimitRange with default requests and limits."""
    judge(rules.resources.limit_range_present, snapshot, declared)


@pytest.mark.requirement("1.4", "quota-enforced")
def test_a_pod_beyond_the_quota_is_refused(quota_trials: Trials, judge: rules.Judge) -> None:
    """A pod that exceeds the quota is refused for that reason, where one within it is accepted."""
    judge(rules.access.quota_enforced, quota_trials)


@pytest.mark.requirement("1.4", "defaults-applied")
def test_a_pod_without_requests_gets_defaults(defaults: Defaults, judge: rules.Judge) -> None:
    """A pod that states no requests and limits gets the namespace's own."""
    judge(rules.access.defaults_applied, defaults)


@pytest.mark.requirement("1.4", "cluster-admin")
def test_nobody_else_holds_cluster_admin(snapshot: Snapshot, declared: Declared, judge: rules.Judge) -> None:
    """Nobody outside the allow-list holds cluster-admin."""
    judge(rules.rbac.cluster_admin, snapshot, declared)


@pytest.mark.requirement("1.4", "wildcards")
def test_nobody_else_holds_a_wildcard(snapshot: Snapshot, declared: Declared, judge: rules.Judge) -> None:
    """Nobody outside the allow-list holds a wildcard verb or resource."""
    judge(rules.rbac.wildcards, snapshot, declared)


@pytest.mark.requirement("1.4", "secrets-read")
def test_nobody_else_may_list_secrets(snapshot: Snapshot, declared: Declared, judge: rules.Judge) -> None:
    """Nobody outside the allow-list may list or watch Secrets."""
    judge(rules.rbac.secrets_read, snapshot, declared)


@pytest.mark.requirement("1.4", "escalation")
def test_nobody_else_may_escalate(snapshot: Snapshot, declared: Declared, judge: rules.Judge) -> None:
    """Nobody outside the allow-list may escalate, bind or impersonate."""
    judge(rules.rbac.escalation, snapshot, declared)


@pytest.mark.requirement("1.4", "cross-namespace")
def test_an_environment_cannot_read_the_other(foreign_secrets: Trials, judge: rules.Judge) -> None:
    """A service account of production cannot read staging's secret, nor the other way round."""
    judge(rules.access.cross_namespace, foreign_secrets)


@pytest.mark.requirement("1.4", "anonymous")
def test_anonymous_callers_are_refused(anonymous_access: AnonymousAccess, judge: rules.Judge) -> None:
    """Without credentials nothing is served beyond the health and version paths."""
    judge(rules.access.anonymous, anonymous_access)


@pytest.mark.requirement("1.4", "kubelet-anonymous")
def test_kubelets_refuse_anonymous_callers(nodes: Nodes, judge: rules.Judge) -> None:
    """No kubelet serves a caller without credentials."""
    judge(rules.access.kubelet_anonymous, nodes)


@pytest.mark.requirement("1.4", "default-service-accounts")
def test_default_service_accounts_hold_nothing(snapshot: Snapshot, judge: rules.Judge) -> None:
    """No default service account holds a right of its own or mounts a token."""
    judge(rules.rbac.default_service_accounts, snapshot)
