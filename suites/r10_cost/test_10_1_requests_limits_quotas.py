"""10.1 Requests, limits, quotas."""

import pytest

from policies import rules
from policies.facts.alerts import QuotaAlerts
from policies.facts.kubernetes import Snapshot


@pytest.mark.requirement("10.1", "requests")
def test_every_container_states_requests(snapshot: Snapshot, judge: rules.Judge) -> None:
    """Every container, init containers included, states requests of CPU and memory."""
    judge(rules.resources.requests, snapshot)


@pytest.mark.requirement("10.1", "limits")
def test_every_container_states_limits(snapshot: Snapshot, judge: rules.Judge) -> None:
    """Every container, init containers included, states limits of CPU and memory."""
    judge(rules.resources.limits, snapshot)


@pytest.mark.requirement("10.1", "namespace-quota")
def test_every_namespace_is_under_quota(snapshot: Snapshot, judge: rules.Judge) -> None:
    """Every namespace, the system's own included, is under a quota."""
    judge(rules.resources.namespace_quota, snapshot)


@pytest.mark.requirement("10.1", "quota-alert")
def test_a_quota_that_fills_up_alerts(quota_alerts: QuotaAlerts, judge: rules.Judge) -> None:
    """A quota used beyond the limit raises an alert in time, one used less stays silent."""
    judge(rules.alerts.quota_alert, quota_alerts)
