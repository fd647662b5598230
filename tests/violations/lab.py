"""The live lab in the hands of whoever breaks it: the operator's API, a root shell on every node, and waiting."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fixtures import ssh
from fixtures.kubernetes import Api, operator, take_snapshot
from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet, wait_until
from policies.facts.base import Cause, Unseen
from policies.facts.kubernetes import Snapshot
from targets.model import Target, load_target

MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
CHANGES_WITHIN_S: Final = 90.0  # a kubelet or a controller on a busy machine
SETTLED_WITHIN_S: Final = 180.0

Object = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """A node of the lab, with a root shell."""

    target: Target
    name: str
    address: str

    def sh(self, script: str, timeout_s: float = 60.0) -> str:
        """What a script printed; it stops at the first command that fails. Raises `Unobservable`."""
        return ssh.run(self.target, self.name, self.address, f"set -eu\n{script}", timeout_s).strip()

    def copy(self, path: str, content: bytes) -> None:
        """Put content into a file there."""
        self.sh(f"echo {base64.b64encode(content).decode()} | base64 -d > {shlex.quote(path)}")

    @contextmanager
    def changed(self, path: str, *, then: str = "true") -> Iterator[None]:
        """Put a file back as it was, and run ``then``, when the block ends."""
        kept = shlex.quote(f"/root/{path.replace('/', '_')}.kept")
        place = shlex.quote(path)
        self.sh(f"if [ -e {place} ]; then cp -a {place} {kept}; else rm -f {kept}; fi")
        try:
            yield
        finally:
            self.sh(f"if [ -e {kept} ]; then mv {kept} {place}; else rm -f {place}; fi\n{then}")


class Lab:
    """The running lab. Paths are the API's; objects are plain data."""

    def __init__(self) -> None:
        self.target = load_target("lab")
        self.api: Api = operator(self.target)
        nodes = self.snapshot().nodes.items
        self.machines = {n.metadata.name: Machine(self.target, n.metadata.name, n.internal_ip) for n in nodes}

    def machine(self, name: str) -> Machine:
        """A node by its name."""
        return self.machines[name]

    def snapshot(self) -> Snapshot:
        """All lists, fresh."""
        return take_snapshot(self.api)

    # --- objects

    def get(self, path: str) -> Object:
        """An object as the API has it. Raises `Unobservable`, also where it is not there."""
        found: Object = self.api.get_json(path, path)
        return found

    def items(self, path: str, selector: str = "") -> list[Object]:
        """The objects of a list, by label."""
        found: list[Object] = self.api.get_json(path, path, params={"labelSelector": selector})["items"]
        return found

    def create(self, path: str, body: Object) -> None:
        """Create an object in a collection."""
        self._ask("POST", path, body)

    def delete(self, path: str) -> None:
        """Delete an object now; that it is not there is fine."""
        self._ask(
            "DELETE", path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}, fine=HTTPStatus.NOT_FOUND
        )

    def patch(self, path: str, body: object, kind: str = MERGE) -> None:
        """Change an object."""
        self._ask("PATCH", path, body, kind)

    def _ask(self, method: str, path: str, body: object, kind: str = "application/json", fine: int = 0) -> None:
        answer = self.api.request(method, path, body, content_type=kind)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # Its etcd has no leader for a moment, as in the middle of a fault: asked again it may be done already.
            said = f"HTTP {answer.status}: {answer.message}"
            raise Unobservable(Unseen(Cause.UNREACHABLE, f"{method} {path}", said))
        if not answer.ok and answer.status != fine:
            raise AssertionError(f"{method} {path}: HTTP {answer.status}: {answer.message}")

    @contextmanager
    def made(self, collection: str, body: Object) -> Iterator[None]:
        """An object that is there while the block lasts, and gone afterwards."""
        path = f"{collection}/{body['metadata']['name']}"
        self.delete(path)
        self.until(lambda: self.gone(path), f"{path} to be gone")
        self.create(collection, body)
        try:
            yield
        finally:
            self.delete(path)
            self.until(lambda: self.gone(path), f"{path} to be gone")

    @contextmanager
    def without(self, path: str) -> Iterator[Object]:
        """An object of no state of its own that is away while the block lasts, and is made again as it was."""
        found = self.get(path)
        self.delete(path)
        try:
            yield found
        finally:
            self.delete(path)  # what may have been put in its place
            self.create(path.rpartition("/")[0], bare(found))

    @contextmanager
    def patched(self, path: str, change: object, back: object, kind: str = MERGE) -> Iterator[None]:
        """An object that is changed while the block lasts."""
        self.patch(path, change, kind)
        try:
            yield
        finally:
            self.patch(path, back, kind)

    @contextmanager
    def bound(self, role: Object, subject: Object, namespace: str = "", *, of: str = "") -> Iterator[None]:
        """A subject that is given the rules of a new role (or with ``of`` an existing ClusterRole) meanwhile."""
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        place = f"{rbac}/namespaces/{namespace}/" if namespace else f"{rbac}/cluster"
        kind = "Role" if namespace and not of else "ClusterRole"
        meta = {"name": "seeded-violation"}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": of or meta["name"]}
        binding = {"metadata": meta, "roleRef": ref, "subjects": [subject]}
        bindings = f"{place}rolebindings"
        if of:
            with self.made(bindings, binding):
                yield
        else:
            with self.made(f"{place}roles", {"metadata": meta, **role}), self.made(bindings, binding):
                yield

    @contextmanager
    def namespace(self, name: str, hard: Mapping[str, str] | None) -> Iterator[str]:
        """A namespace that is in order apart from what the block does in it; without a quota if ``hard`` is None."""
        path = f"/api/v1/namespaces/{name}"
        with self.made("/api/v1/namespaces", {"metadata": {"name": name}}):
            account = f"{path}/serviceaccounts/default"
            self.until(lambda: not self.gone(account), f"{account} to be there")
            self.patch(account, {"automountServiceAccountToken": False})
            if hard is not None:
                quota = {"metadata": {"name": "namespace"}, "spec": {"hard": dict(hard)}}
                self.create(f"{path}/resourcequotas", quota)
                counted = f"{path}/resourcequotas/namespace"
                self.until(lambda: bool(self.get(counted).get("status", {}).get("used")), f"{counted} to be counted")
            yield name

    # --- waiting

    def gone(self, path: str) -> bool:
        """Whether an object is not there."""
        return self.api.request("GET", path).status == HTTPStatus.NOT_FOUND

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = CHANGES_WITHIN_S) -> None:
        """Wait for something to be seen; answers that do not come count as "not yet"."""
        wait_until(lambda: condition() or None, timeout_s, what, retry_on=(Unobservable,))

    def node_is(self, name: str, kind: str, status: str) -> None:
        """Wait until a node reports a condition."""

        def reported() -> bool:
            conditions = self.get(f"/api/v1/nodes/{name}")["status"]["conditions"]
            seen = next((c["status"] for c in conditions if c["type"] == kind), "none")
            if seen != status:
                raise NotYet(f"{kind} is {seen}")
            return True

        self.until(reported, f"{kind} of {name} to be {status}")

    def settle(self) -> None:
        """Wait until every node is Ready and every pod that should be is."""

        def settled() -> bool:
            seen = self.snapshot()
            down = [node.metadata.name for node in seen.nodes.items if not node.ready]
            finished = {"Succeeded", "Failed"}
            down += [pod.metadata.name for pod in seen.pods.items if not pod.ready and pod.status.phase not in finished]
            if down:
                raise NotYet(f"not ready: {', '.join(down[:5])}")
            return True

        self.until(settled, "the lab to be as it was", SETTLED_WITHIN_S)

    # --- parts of it

    @contextmanager
    def kubelet(self, node: str, flags: str = "", config: Callable[[Object], None] | None = None) -> Iterator[None]:
        """A kubelet that runs with other flags, or another configuration, meanwhile."""
        machine = self.machine(node)
        restart = "node-service restart kubelet"
        with (
            machine.changed("/var/lib/kubelet/config.yaml", then=restart),
            machine.changed("/etc/default/kubelet"),
        ):
            if flags:
                machine.sh(f"echo 'KUBELET_EXTRA_ARGS=\"{flags}\"' > /etc/default/kubelet")
            if config is not None:
                import yaml

                settings = yaml.safe_load(machine.sh("cat /var/lib/kubelet/config.yaml"))
                config(settings)
                machine.copy("/var/lib/kubelet/config.yaml", json.dumps(settings).encode())
            machine.sh(restart)
            self.until(lambda: machine.sh("node-service pid kubelet"), f"the kubelet of {node} to run")
            yield
        self.settle()

    def etcd(self, path: str, body: object, node: str = "cp1") -> Object:
        """Ask etcd's JSON gateway on a node, with the node's own certificates."""
        pki = "/etc/kubernetes/pki/etcd"
        keys = f"--cacert {pki}/ca.crt --cert {pki}/server.crt --key {pki}/server.key"
        data = shlex.quote(json.dumps(body))
        said = self.machine(node).sh(f"curl -sS -m 20 {keys} -d {data} https://127.0.0.1:2379{path}")
        answer: Object = json.loads(said)
        assert "error" not in answer, f"{path}: {said}"
        return answer


def bare(found: Object) -> Object:
    """An object without what the API itself wrote into it, to be created again."""
    meta = {k: v for k, v in found["metadata"].items() if k in {"name", "namespace", "labels", "annotations"}}
    return {k: v for k, v in found.items() if k not in {"metadata", "status"}} | {"metadata": meta}
