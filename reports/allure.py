"""Allure's labels: epics are groups, features requirements, stories clauses."""

from __future__ import annotations

from typing import Any, Final

import allure

from policies.catalogue import Catalogue, Severity

_LABEL: Final[Any] = allure.dynamic  # untyped
_SEVERITIES: Final[dict[Severity, allure.severity_level]] = {
    "critical": allure.severity_level.BLOCKER,
    "high": allure.severity_level.CRITICAL,
    "medium": allure.severity_level.NORMAL,
    "low": allure.severity_level.MINOR,
}


def allure_labels(catalogue: Catalogue, requirement_id: str, slug: str) -> None:
    """Label the test that is running. Does nothing where Allure is not writing results."""
    requirement, clause = catalogue.requirement(requirement_id), catalogue.clause(requirement_id, slug)
    group = next(group for group in catalogue.groups if group.group == requirement.group)
    _LABEL.epic(f"{group.group} {group.title}")
    _LABEL.feature(f"{requirement.id} {requirement.title}")
    _LABEL.story(clause.slug)
    _LABEL.title(f"{requirement.id} {clause.slug}: {clause.statement}")
    _LABEL.severity(_SEVERITIES[requirement.severity])
    _LABEL.tag(clause.kind)
