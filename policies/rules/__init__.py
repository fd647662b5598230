"""What must hold, as pure functions ``(facts, limits) -> findings``: one module a system.

A rule yields a finding for each subject it examined, also where all is well, and one without a verdict for each part
that could not be seen. It reads no clock and calls nothing out.
"""

from policies.rules import access, alerts, control_plane, network, rbac, resources

__all__ = ["access", "alerts", "control_plane", "network", "rbac", "resources"]
