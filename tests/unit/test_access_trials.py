"""How a pod is made that must exceed a quota, whatever the quota bounds and a LimitRange allows."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from fixtures.access import MOST_CONTAINERS, _beyond, _Bound, _container_max, _tightest
from fixtures.scratch import name_for, pod_spec
from policies.facts.quantity import parse_quantity


def quota(**hard: str) -> dict[str, Any]:
    return {"spec": {"hard": {name.replace("_", "."): value for name, value in hard.items()}}}


def asked(spec: dict[str, Any], resource: str) -> Fraction:
    return sum((parse_quantity(c["resources"]["requests"][resource]) for c in spec["containers"]), Fraction(0))


@pytest.mark.parametrize(
    ("quotas", "bound"),
    [
        ([quota(requests_cpu="2", limits_memory="4Gi")], _Bound("requests.cpu", Fraction(2))),
        ([quota(requests_cpu="2"), quota(requests_cpu="500m")], _Bound("requests.cpu", Fraction(1, 2))),
        ([quota(limits_memory="1Gi", pods="3")], _Bound("limits.memory", Fraction(2**30))),
        ([quota(pods="3")], None),
        ([{"spec": {}}, {}], None),
        ([], None),
    ],
)
def test_the_tightest_bound_is_found(quotas: list[dict[str, Any]], bound: _Bound | None) -> None:
    assert _tightest(quotas) == bound


@pytest.mark.parametrize("resource", ["requests.cpu", "limits.cpu", "requests.memory", "memory"])
@pytest.mark.parametrize("hard", ["250m", "2", "20", "64Gi"])
def test_the_pod_asks_for_more_than_the_whole_quota(resource: str, hard: str) -> None:
    bound = _Bound(resource, parse_quantity(hard))
    kind = "cpu" if "cpu" in resource else "memory"
    asking = _beyond("image", bound, None)
    assert len(asking.spec["containers"]) == 1
    assert asked(asking.spec, kind) > bound.hard


def test_no_container_exceeds_what_a_limit_range_allows_it() -> None:
    ranges = [
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "800m"}}, {"type": "Pod", "max": {"cpu": "1"}}]}}
    ]
    most = _container_max(ranges, "cpu")
    assert most == Fraction(4, 5)
    asking = _beyond("image", _Bound("requests.cpu", Fraction(2)), most)
    shares = [parse_quantity(c["resources"]["limits"]["cpu"]) for c in asking.spec["containers"]]
    assert asked(asking.spec, "cpu") > 2
    assert max(shares) <= most
    assert len({c["name"] for c in asking.spec["containers"]}) == len(shares)


def test_a_limit_range_that_allows_next_to_nothing_does_not_make_a_monster() -> None:
    asking = _beyond("image", _Bound("requests.cpu", Fraction(64)), Fraction(1, 100))
    assert len(asking.spec["containers"]) == MOST_CONTAINERS


def test_a_gated_pod_never_runs_and_holds_no_token() -> None:
    spec = pod_spec("image", {}, gated=True)
    assert spec["schedulingGates"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert "schedulingGates" not in pod_spec("image", {}, gated=False)


def test_names_of_objects_are_dns_labels() -> None:
    assert name_for("20261124T110000Z_ab12", "over quota") == "verify-20261124t110000z-ab12-over-quota"
    assert len(name_for("x" * 80, "purpose")) <= 63
