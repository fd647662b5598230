"""Effective rights over any bindings: more can never look like less."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.limits import Limits
from policies.rules import rbac
from tests.rules.facts import declared, snapshot

RULES = (rbac.cluster_admin, rbac.wildcards, rbac.secrets_read, rbac.escalation)
DECLARED = declared({"allowed": [{"subject": "Group/a", "powers": ["wildcards"], "reason": "allowed"}]})
NAMES = ("a", "b", "c")
VERBS = ("get", "list", "watch", "bind", "escalate", "impersonate", "*")
RESOURCES = ("pods", "secrets", "roles", "users", "*")
GROUPS = ("core", "apps", "rbac.authorization.k8s.io", "*")

rules_text = st.builds("{} on {} in {}".format, *(st.sampled_from(part) for part in (VERBS, RESOURCES, GROUPS)))
labels = st.fixed_dictionaries({}, optional={"to": st.sampled_from(NAMES)})
cluster_roles = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(NAMES), "rules": st.lists(rules_text, max_size=3), "labels": labels},
        optional={"aggregates": st.lists(st.fixed_dictionaries({"matchLabels": labels}), max_size=2)},
    ),
    max_size=4,
    unique_by=lambda role: str(role["name"]),
)
subjects = st.sampled_from(["Group/a", "User/b", "ServiceAccount/ns/c", "User/system:serviceaccount:ns:c"])
bindings = st.lists(
    st.builds(
        lambda name, role, who: {"name": name, "role": f"ClusterRole/{role}", "subjects": who},
        st.sampled_from(["x", "y"]),
        st.sampled_from([*NAMES, "cluster-admin", "gone"]),
        st.lists(subjects, max_size=3),
    ),
    max_size=4,
)


def holders(roles: list[Any], bound: list[Any], rule: Any) -> dict[str, bool | None]:
    """Subject to verdict, without the line that sums up."""
    facts = snapshot({"cluster_roles": roles, "cluster_role_bindings": bound})
    return {f.subject: f.ok for f in rule(facts, DECLARED, Limits()) if f.subject != "all subjects"}


@settings(max_examples=150)
@given(cluster_roles, bindings, bindings, st.sampled_from(RULES))
def test_adding_a_binding_never_removes_a_holder(
    roles: list[Any], bound: list[Any], more: list[Any], rule: Any
) -> None:
    """Nor does it change what is said of one."""
    assert holders(roles, bound, rule).items() <= holders(roles, bound + more, rule).items()


@settings(max_examples=150)
@given(cluster_roles, rules_text, bindings, st.sampled_from(RULES))
def test_adding_a_rule_never_removes_a_holder(roles: list[Any], rule_text: str, bound: list[Any], rule: Any) -> None:
    """A role that may do more gives no less."""
    grown = [role | {"rules": [*role["rules"], rule_text]} for role in roles]
    assert holders(roles, bound, rule).items() <= holders(grown, bound, rule).items()


@settings(max_examples=150)
@given(cluster_roles, bindings)
def test_cluster_admin_holds_every_power(roles: list[Any], bound: list[Any]) -> None:
    """Whoever may do everything is found by each of the other rules too."""
    everything = [{"name": "cluster-admin", "rules": ["* on * in *"]}, *roles]
    for rule in RULES[1:]:
        assert set(holders(everything, bound, rbac.cluster_admin)) <= set(holders(everything, bound, rule))
