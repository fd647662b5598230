"""The bootstrap on a deployment that stands: applied once more it changes nothing."""

from __future__ import annotations

import json
from typing import Any, Final

from bootstrap.lab import layers
from tests.violations.lab import Lab

CNPG: Final = "apis/postgresql.cnpg.io/v1"
RBAC: Final = "apis/rbac.authorization.k8s.io/v1"
KINDS: Final = (
    *(f"api/v1/{name}" for name in ("configmaps", "limitranges", "namespaces", "persistentvolumeclaims", "pods")),
    *(f"api/v1/{name}" for name in ("resourcequotas", "secrets", "serviceaccounts", "services")),
    *(f"apis/apps/v1/{name}" for name in ("daemonsets", "deployments", "statefulsets")),
    *(f"{RBAC}/{name}" for name in ("clusterroles", "clusterrolebindings", "roles", "rolebindings")),
    *(f"{CNPG}/{name}" for name in ("backups", "clusters", "databases", "poolers", "scheduledbackups")),
    "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "apis/batch/v1/jobs",
    "apis/storage.k8s.io/v1/storageclasses",
)
MOVING: Final = ("resourceVersion", "managedFields", "annotations")
"""Of an object's metadata, what controllers write as time goes by."""


def there(lab: Lab) -> dict[str, str]:
    """Every object by kind and name, with its identity and all that is declared in it."""
    found: dict[str, str] = {}
    for kind in KINDS:
        for item in lab.items(f"/{kind}"):
            meta: dict[str, Any] = item["metadata"]
            name = f"{kind} {meta.get('namespace', '')}/{meta['name']}"
            declared = {key: value for key, value in item.items() if key != "status"}
            declared["metadata"] = {key: value for key, value in meta.items() if key not in MOVING}
            found[name] = json.dumps(declared, sort_keys=True)
    return found


def test_a_second_time_changes_nothing(lab: Lab) -> None:
    before = there(lab)
    assert {name.split()[0] for name in before} == set(KINDS)
    layers.apply(lambda line: None)
    after = there(lab)
    assert sorted(set(before) ^ set(after)) == []
    assert [name for name, declared in before.items() if declared != after[name]] == []
