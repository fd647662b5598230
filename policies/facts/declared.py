"""What the target says of the deployment, as far as a rule needs it to judge. Built from the target file."""

from __future__ import annotations

from msgspec import Struct

from policies.facts.base import Fact


class AllowedSubject(Struct, frozen=True):
    """Subjects that may hold a dangerous power, and why.

    ``subject`` is a glob over ``Kind/name`` (``Group/system:masters``) or ``ServiceAccount/namespace/name``;
    ``powers`` are clause slugs of 1.4: cluster-admin, wildcards, secrets-read, escalation.
    """

    subject: str
    powers: tuple[str, ...]
    reason: str


class Declared(Fact, frozen=True):
    """The deployment as declared. Namespaces are names, ``overlay`` is "vxlan" or "none"."""

    environments: tuple[str, ...]
    cni_namespace: str
    cni_daemonset: str
    overlay: str
    allowed: tuple[AllowedSubject, ...]
    service_cidr: str = ""
    """The range of Service addresses, e.g. ``10.96.0.0/16``; empty where the target does not say."""
