"""Requirement 10.1: a quota that fills up makes an alert."""

from __future__ import annotations

from collections.abc import Iterator

from policies.facts.alerts import QuotaAlerts, QuotaAlertTrial
from policies.facts.base import Cause
from policies.finding import Finding
from policies.limits import Limit, Limits
from policies.rules.common import missing


def quota_alert(alerts: QuotaAlerts, limits: Limits) -> Iterator[Finding]:
    """quota-alert: an alert comes in time for a quota used beyond the limit and ends with the use; none comes below.

    The silent one is the control: an alert that always fires, or stays, says nothing about use.
    """
    use, within = limits["quota_use"], limits["alert_within"]
    if alerts.unseen is not None:
        yield Finding.unseen("quota alert", f"an alert {within.text()}", alerts.unseen)
        return
    for trial in alerts.beyond:
        yield _beyond(trial, use, within)
        if trial.fired_after_s is not None:
            yield _ended(trial, within)
    took = max((t.fired_after_s for t in alerts.beyond if t.fired_after_s is not None), default=0.0)
    for trial in alerts.below:
        yield _below(trial, use, took)
    if not alerts.beyond:
        yield missing("quota alert", f"an alert {within.text()}", "no quota was used beyond the limit", Cause.EMPTY)
    if not alerts.below:
        detail = "no quota used less was watched beside it, so the alert may be one that always fires"
        yield missing("quota alert", f"silence with use {use.text()}", detail, Cause.INVALID)


def _subject(trial: QuotaAlertTrial) -> str:
    return f"quota in {trial.namespace} used to {trial.used_percent:.4g} %"


def _beyond(trial: QuotaAlertTrial, use: Limit, within: Limit) -> Finding:
    expected = f"an alert {within.text()}"
    if use.allows(trial.used_percent):
        return missing(_subject(trial), expected, f"use was {use.text()}, so no alert was due", Cause.INVALID)
    if trial.fired_after_s is not None:
        observed = f"alert {trial.alert or 'without a name'} after {trial.fired_after_s:.1f} s"
        return Finding(_subject(trial), expected, observed, within.allows(trial.fired_after_s))
    observed = f"no alert in {trial.waited_s:.1f} s"
    if trial.waited_s < within.value:
        return missing(_subject(trial), expected, f"{observed}, and it was not waited for longer", Cause.INVALID)
    return Finding(_subject(trial), expected, observed, False)


def _ended(trial: QuotaAlertTrial, within: Limit) -> Finding:
    subject, expected = f"alert for {trial.namespace}", f"to end with the use, {within.text()}"
    if trial.ended_after_s is None:
        return Finding(subject, expected, "still active after the quota had been emptied", False)
    observed = f"ended {trial.ended_after_s:.1f} s after the quota had been emptied"
    return Finding(subject, expected, observed, within.allows(trial.ended_after_s))


def _below(trial: QuotaAlertTrial, use: Limit, took: float) -> Finding:
    expected = f"silence with use {use.text()}"
    if not use.allows(trial.used_percent):
        return missing(_subject(trial), expected, "its use was beyond the limit, so it is no control", Cause.INVALID)
    if trial.fired_after_s is not None:
        observed = f"alert {trial.alert or 'without a name'} after {trial.fired_after_s:.1f} s"
        return Finding(_subject(trial), expected, observed, False)
    if trial.waited_s < took:
        observed = f"silent for {trial.waited_s:.1f} s, watched for less time than the other's alert took"
        return missing(_subject(trial), expected, observed, Cause.INVALID)
    return Finding(_subject(trial), expected, f"silent for {trial.waited_s:.1f} s", True)
