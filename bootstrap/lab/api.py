"""The few questions the lab asks its own API server, over one TLS connection a question."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

from bootstrap.lab.errors import LabError
from bootstrap.lab.layout import API_PORT, BRIDGE, BRIDGE_ADDRESS, HOST, STATE

OPERATOR = STATE / "operator.pem"
"""The operator's certificate and key, the same as in the kubeconfig."""
TIMEOUT_S = 4.0


class UnansweredError(LabError):
    """The API server did not answer, or not with what was asked for."""


@cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(HOST / "ca.crt"))
    context.load_cert_chain(OPERATOR)
    return context


def forget_credentials() -> None:
    """The lab's certificates were made anew."""
    _context.cache_clear()


def request(method: str, path: str, body: object = None, host: str = BRIDGE_ADDRESS) -> Any:
    """Ask `host` (the endpoint, or one API server) and decode the JSON it answers. Raises UnansweredError."""
    kind = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Content-Type": kind, "Accept": "application/json"}
    if not Path("/sys/class/net", BRIDGE).exists():
        # Without the bridge the machine would ask its own router for these addresses.
        raise UnansweredError(f"The bridge {BRIDGE} is gone, so the API server cannot be asked.")
    try:
        connection = HTTPSConnection(host, API_PORT, timeout=TIMEOUT_S, context=_context())
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
    except (OSError, HTTPException) as error:
        raise UnansweredError(f"https://{host}:{API_PORT}{path}: {error}") from error
    if answer.status >= 400:
        said = text.decode(errors="replace")[:300]
        raise UnansweredError(f"https://{host}:{API_PORT}{path}: HTTP {answer.status}: {said}")
    return text.decode() if path.startswith(("/readyz", "/livez")) else json.loads(text)


def get(path: str) -> Any:
    return request("GET", path)


def is_ready(host: str = BRIDGE_ADDRESS) -> tuple[bool | None, str]:
    """A condition for `wait_until`: /readyz answers ok."""
    try:
        request("GET", "/readyz", host=host)
    except UnansweredError as error:
        return None, str(error)
    return True, ""


def nodes_not_ready(expected: set[str]) -> list[str]:
    """Expected nodes that are absent or not Ready, each with why."""
    found = {item["metadata"]["name"]: item for item in get("/api/v1/nodes")["items"]}
    late = []
    for name in sorted(expected):
        conditions = {c["type"]: c for c in found.get(name, {}).get("status", {}).get("conditions", [])}
        ready = conditions.get("Ready", {"status": "absent", "message": "not registered"})
        if ready["status"] != "True":
            late.append(f"{name} ({str(ready.get('message', ''))[:120]})")
    return late


def heartbeats() -> dict[str, datetime]:
    """When each node's kubelet was last heard of (UTC), by node."""
    leases = get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")["items"]
    return {item["metadata"]["name"]: datetime.fromisoformat(item["spec"]["renewTime"]) for item in leases}


LAID_DOWN = ("kube-system", "monitoring", "production", "object-storage", "cnpg-system", "local-path-storage")
"""Namespaces of what the lab and its layers bring; what users run elsewhere is theirs."""
DATABASES = "/apis/postgresql.cnpg.io/v1/namespaces/production/clusters"
DATABASE_CONDITIONS = ("Ready", "ContinuousArchiving", "LastBackupSucceeded")
OURS = "app.kubernetes.io/managed-by"
"""The label of what verification itself makes for a while."""


def workloads_not_ready(started_since: Mapping[str, datetime] | None = None) -> list[str]:
    """Workloads, pods and databases that the lab laid down and that are not there in full, each with how far.

    `started_since`: by node, when it was started; what is said of containers from before that time is out of date.
    """
    late = []
    for namespace in LAID_DOWN:
        for item in get(f"/apis/apps/v1/namespaces/{namespace}/daemonsets")["items"]:
            seen_it = item["status"].get("observedGeneration", 0) >= item["metadata"]["generation"]
            ready, wanted = item["status"].get("numberReady", 0), item["status"].get("desiredNumberScheduled", 0)
            if not seen_it or ready < wanted or not wanted:
                late.append(f"{_name(item)} {ready}/{wanted}")
        for kind in ("deployments", "statefulsets"):
            for item in get(f"/apis/apps/v1/namespaces/{namespace}/{kind}")["items"]:
                ready, wanted = item["status"].get("readyReplicas", 0), item["spec"].get("replicas", 1)
                if ready < wanted:
                    late.append(f"{_name(item)} {ready}/{wanted}")
        for item in get(f"/api/v1/namespaces/{namespace}/pods")["items"]:
            if item["status"].get("phase") not in {"Succeeded", "Failed"} and not _is_up(item, started_since or {}):
                late.append(_name(item))
    return late + _databases_not_ready()


def _databases_not_ready() -> list[str]:
    """Those whose instances are not all there, or of which there is no backup yet."""
    late = []
    for item in get(DATABASES)["items"]:
        status = item.get("status", {})
        met = {c["type"] for c in status.get("conditions", []) if c["status"] == "True"}
        missing = [name for name in DATABASE_CONDITIONS if name not in met]
        if missing and OURS not in item["metadata"].get("labels", {}):
            late.append(f"database {_name(item)} ({status.get('phase', 'not begun')}; not yet: {', '.join(missing)})")
    return late


def _is_up(pod: Any, started_since: Mapping[str, datetime]) -> bool:
    """Whether a pod is Ready and runs containers from after its node's last start."""
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    since = started_since.get(pod["spec"].get("nodeName", ""))
    running = [c["state"]["running"] for c in pod["status"].get("containerStatuses", []) if "running" in c["state"]]
    return ready and (since is None or all(datetime.fromisoformat(each["startedAt"]) >= since for each in running))


def _name(item: Any) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
