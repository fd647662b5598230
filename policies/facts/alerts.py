"""Whether a quota that fills up makes an alert, tried in scratch namespaces."""

from __future__ import annotations

from msgspec import Struct

from policies.facts.base import Fact, Unseen


class QuotaAlertTrial(Struct, frozen=True):
    """One scratch namespace whose quota was filled to ``used_percent``.

    ``fired_after_s`` is when Alertmanager first held an active alert for it, None where it never did within
    ``waited_s``. The trial with ``used_percent`` below the limit is the control: it must stay silent.
    """

    namespace: str
    used_percent: float
    fired_after_s: float | None
    waited_s: float
    alert: str = ""
    """Name of the alert that fired."""
    ended_after_s: float | None = None
    """When the alert was gone after the quota had been emptied again, None where it was not within ``alert_within``."""


class QuotaAlerts(Fact, frozen=True):
    """The trial beyond the limit, the control below it, and quotas of the deployment that are already beyond it."""

    beyond: tuple[QuotaAlertTrial, ...]
    below: tuple[QuotaAlertTrial, ...]
    unseen: Unseen | None = None
