"""Requirement 10.1 violated: requests, limits, quotas and their alert."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from fixtures.scratch import SMALL, pod_spec
from fixtures.unobservable import Unobservable
from tests.violations.lab import Lab, Object
from tests.violations.violation import violates

# A quota that counts requests only, so that a pod without limits is let in.
ON_REQUESTS: Final = {"requests.cpu": "1", "requests.memory": "1Gi"}
ALERTMANAGER: Final = "/api/v1/namespaces/monitoring/services/alertmanager:9093/proxy/api/v2"


def pod(lab: Lab, resources: dict[str, dict[str, str]]) -> Object:
    """A pod that is never run; it is listed as any other."""
    return {"metadata": {"name": "careless"}, "spec": pod_spec(lab.target.probe_image, resources, gated=True)}


@violates("10.1", "requests", r"seeded-requests/Pod/careless container probe: no requests of cpu and memory")
def requests_of_nothing(lab: Lab) -> Iterator[None]:
    """A container requests nothing of what it may use, so that it is placed anywhere and starved first."""
    nothing = {"cpu": "0", "memory": "0"}
    careless = pod(lab, {"requests": nothing, "limits": SMALL})
    with lab.namespace("seeded-requests", ON_REQUESTS) as name, lab.made(f"/api/v1/namespaces/{name}/pods", careless):
        yield


@violates("10.1", "limits", r"seeded-limits/Pod/careless container probe: no limits of cpu and memory")
def no_limits(lab: Lab) -> Iterator[None]:
    """A container without limits can take a whole node."""
    careless = pod(lab, {"requests": SMALL})
    with lab.namespace("seeded-limits", ON_REQUESTS) as name, lab.made(f"/api/v1/namespaces/{name}/pods", careless):
        yield


@violates("10.1", "namespace-quota", r"namespace seeded-unbounded: it has no ResourceQuota")
def namespace_without_quota(lab: Lab) -> Iterator[None]:
    """A namespace was made by hand and never bounded."""
    with lab.namespace("seeded-unbounded", None):
        yield


@violates("10.1", "quota-alert", r"quota in \S+-quota-full used to \d+ %: no alert in \d+\.\d s")
def silence_forgotten(lab: Lab) -> Iterator[None]:
    """A silence that was set during an incident, for a year, still holds back every alert about quotas."""
    now = datetime.now(UTC)
    silence = {
        "matchers": [{"name": "alertname", "value": "Quota.*", "isRegex": True, "isEqual": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(days=365)).isoformat(),
        "createdBy": "seeded violation",
        "comment": "noisy",
    }
    lab.create(f"{ALERTMANAGER}/silences", silence)
    try:
        yield
    finally:
        for found in lab.api.get_json(f"{ALERTMANAGER}/silences", "silences"):
            if found["createdBy"] == "seeded violation" and found["status"]["state"] != "expired":
                lab.delete(f"{ALERTMANAGER}/silence/{found['id']}")


@violates("10.1", "quota-alert", r"quota in \S+-quota-calm used to \d+ %: alert CriesWolf after \d+\.\d s")
def alert_that_always_fires(lab: Lab) -> Iterator[None]:
    """An alert fires for quotas that are hardly used, so that nobody will believe the next one."""
    stop = threading.Event()

    def cry() -> None:
        while not stop.wait(0.5):
            with suppress(Unobservable):
                for namespace in lab.items("/api/v1/namespaces", "app.kubernetes.io/managed-by=finbot-verify"):
                    name = namespace["metadata"]["name"]
                    if name.endswith("-quota-calm"):
                        alert = {"labels": {"alertname": "CriesWolf", "namespace": name}}
                        lab.api.request("POST", f"{ALERTMANAGER}/alerts", [alert])

    thread = threading.Thread(target=cry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
