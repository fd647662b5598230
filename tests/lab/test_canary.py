"""No secret of the deployment, of its nodes or of the verifier stands in anything that a run writes or prints."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bootstrap.lab.layout import CONTROL_PLANE
from fixtures.scratch import MANAGED_BY, OURS, SMALL, pod_spec
from reports.model import Verdict
from tests.lab.canaries import Canary, found
from tests.lab.product import ROOT, VERIFY, Ended, verify
from tests.violations.lab import Lab, Object

NAMESPACE: Final = "seeded-canary"
HARD: Final = {"requests.cpu": "1", "requests.memory": "1Gi"}  # requests only, so that a pod without limits is let in
POLICIES: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS: Final = f"{POLICIES.removesuffix('policies')}policybindings"

# Everything that pytest has to show more.
TALKATIVE: Final = "-vv --showlocals --tb=long --full-trace -rA -o junit_logging=all -o log_cli=true --log-level=DEBUG"
BREAKS_A_HOOK: Final = """
import json
import pathlib
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report):
    held = {}
    for file in json.loads(pathlib.Path(__file__).with_suffix(".json").read_text()):
        held[file] = pathlib.Path(file).read_text()
    raise RuntimeError("provoked: " + " ".join(held.values()))
"""


# --- the search itself finds what is there

WAYS: Final[dict[str, Callable[[str], bytes]]] = {
    "raw": lambda text: text.encode(),
    "json": lambda text: json.dumps({"said": f"it is {text}"}).encode(),
    "json in json": lambda text: json.dumps(json.dumps(text)).encode(),
    "url": lambda text: quote(f"key={text}").encode(),
    "percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()).encode(),
    "hex": lambda text: text.encode().hex().encode(),
    "HEX": lambda text: text.encode().hex().upper().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64, a byte on": lambda text: base64.b64encode(b"x" + text.encode()),
    "base64, two bytes on": lambda text: base64.b64encode(b"xy" + text.encode()),
    "base64 in base64": lambda text: base64.b64encode(b"xy" + base64.b64encode(text.encode())),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()),
    "base64, wrapped": lambda text: base64.encodebytes(b"some words before it, then: " + text.encode()),
    "utf-16": lambda text: text.encode("utf-16"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip, base64 in it": lambda text: gzip.compress(base64.b64encode(text.encode())),
}


def zipped(file: Path, text: str) -> None:
    """A trace as a browser leaves it: a zip file with JSON in it, packed once more."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("trace.json.gz", gzip.compress(json.dumps([text]).encode()))


def assert_search_finds(canaries: list[Canary], folder: Path) -> None:
    """Each canary, in each encoding, put into a copy of what a run left."""
    for way, encode in WAYS.items():
        for number, canary in enumerate(canaries):
            inside = encode(canary.text) if "gzip" in way else b"words before " + encode(canary.text) + b" words after"
            (folder / f"control-{number}").write_bytes(inside)
        assert {c.place for c in canaries} == places(found(canaries, folder)), way
    for number, canary in enumerate(canaries):
        (folder / f"control-{number}").unlink()
        zipped(folder / f"control-{number}.zip", canary.text)
    assert {c.place for c in canaries} == places(found(canaries, folder))
    for number, _ in enumerate(canaries):
        (folder / f"control-{number}.zip").unlink()


def assert_search_finds_keys(canaries: list[Canary], files: list[Path], folder: Path) -> None:
    """Each private key, as it lies in its file: in PEM, as OpenSSH writes it, and in the base64 of a kubeconfig."""
    keys = {canary.place for canary in canaries if any(canary.place.endswith(str(file)) for file in files)}
    assert len(keys) == len(files)
    assert not keys & places(found(canaries, folder))
    for number, file in enumerate(files):
        (folder / f"key-{number}.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert keys <= places(found(canaries, folder))


def places(told: list[str]) -> set[str]:
    """The places of the canaries that were found."""
    return {line.partition(" in ")[0] for line in told}


def test_the_search_finds_a_canary_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("nothing of interest")
    canary = Canary.new("control")
    assert found([canary], tmp_path) == []
    assert_search_finds([canary], tmp_path)
    (tmp_path / canary.stretches[0].decode()).write_text("in its name")
    assert found([canary], tmp_path) == ["control in its name, raw"]


# --- what lives in the lab


def in_pem(text: str) -> list[str]:
    """The private keys in PEM, and those in a kubeconfig's client-key-data."""
    packed = re.findall(r"client-key-data\"?:\s*\"?([A-Za-z0-9+/=]+)", text)
    text += "".join(base64.b64decode(data).decode() for data in packed)
    return re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", text, re.DOTALL)


def of_nodes(lab: Lab) -> Iterator[Canary]:
    """Every private key on every node, those in kubeconfigs too, and what Secrets are encrypted with in etcd."""
    everything = "/etc/kubernetes /var/lib/kubelet/pki"
    script = (
        f'grep -rlsE \'PRIVATE KEY|client-key-data\' {everything} | while read -r f; do echo "@@ $f"; cat "$f"; done'
    )
    for name, machine in lab.machines.items():
        for part in machine.sh(script).split("@@ ")[1:]:
            path, _, content = part.partition("\n")
            for number, key in enumerate(in_pem(content)):
                yield Canary.of_key(f"private key {number} of {name}:{path}", key)
    encryption = lab.machine("cp1").sh("cat /etc/kubernetes/encryption/config.yaml")
    (key,) = re.findall(r"secret: \"?([A-Za-z0-9+/=]{40,})", encryption)
    yield Canary.of_bytes("encryption key of etcd", base64.b64decode(key))


def of_verifier(lab: Lab, signing_key: Path) -> Iterator[Canary]:
    """The operator's key, the SSH key, the key that signs, and every token that this cluster issues."""
    for file in held(lab, signing_key):
        for key in in_pem(file.read_text()):
            yield Canary.of_key(f"private key of {file}", key)
    namespace, scanner = lab.target.identities.namespace, lab.target.identities.scanner
    # All tokens of a cluster begin alike: who looks for that finds also those that only the run has seen.
    header = lab.api.token_request(namespace, scanner, 600).partition(".")[0]
    yield Canary("token of a service account", (header.encode(),))


@contextmanager
def planted(lab: Lab) -> Iterator[list[Canary]]:
    """Canaries wherever a secret is kept in a cluster, and where people put one that should not."""
    canaries: dict[str, Canary] = {}

    def canary(place: str) -> str:
        canaries[place] = Canary.new(place)
        return canaries[place].text

    with ExitStack() as stack:
        for namespace, application in lab.target.namespaces.applications.items():
            path = f"/api/v1/namespaces/{namespace}/secrets/{application.secret}"
            change: Object = {"stringData": {"canary": canary(f"Secret of {namespace}")}}
            stack.enter_context(lab.patched(path, change, {"data": {"canary": None}}))
        for path in ("/api/v1/nodes/w1", "/api/v1/namespaces/production", "/api/v1/namespaces/verify-system"):
            change = {"metadata": {"annotations": {"canary": canary(f"annotation of {path}")}}}
            stack.enter_context(lab.patched(path, change, {"metadata": {"annotations": {"canary": None}}}))
        kubelet, config = lab.machine("w1"), "/var/lib/kubelet/config.yaml"
        stack.enter_context(kubelet.changed(config))
        comment = shlex.quote(f"# password: {canary('file that is read on a node')}")
        kubelet.sh(f"printf '\\n%s\\n' {comment} >> {config}")
        stack.enter_context(lab.namespace(NAMESPACE, HARD))
        base = f"/api/v1/namespaces/{NAMESPACE}"
        for kind, key in (("secrets", "stringData"), ("configmaps", "data")):
            body: Object = {
                "metadata": {"name": "canary", "annotations": {"canary": canary(f"annotation of one of the {kind}")}},
                key: {"DB_PASSWORD": canary(f"one of the {kind}")},
            }
            stack.enter_context(lab.made(f"{base}/{kind}", body))
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
        role = {
            "metadata": {"name": "canary", "annotations": {"canary": canary("annotation of a Role")}},
            "rules": rules,
        }
        stack.enter_context(lab.made(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles", role))
        stack.enter_context(lab.made(f"{base}/pods", pod(lab, canary)))
        ready = f"{base}/pods/canary"
        lab.until(lambda: lab.get(ready)["status"]["phase"] == "Running", f"{ready} to run")
        yield list(canaries.values())


def pod(lab: Lab, canary: Callable[[str], str]) -> Object:
    """A pod that runs, and has a secret in every place that a pod has for one."""
    numbers = {"requests": SMALL, "limits": SMALL}
    spec = pod_spec(lab.target.probe_image, numbers, gated=False)
    spec["volumes"] = [{"name": "secret", "secret": {"secretName": "canary"}}]
    from_secret = {"secretKeyRef": {"name": "canary", "key": "DB_PASSWORD"}}
    [container] = spec["containers"]
    spec["containers"] = [
        {
            **container,
            "args": [f"--password={canary('argument of a container')}"],
            "env": [
                {"name": "DB_PASSWORD", "value": canary("environment of a container")},
                {"name": "FROM_SECRET", "valueFrom": from_secret},
            ],
            "envFrom": [{"configMapRef": {"name": "canary"}}],
            "volumeMounts": [{"name": "secret", "mountPath": "/secret", "readOnly": True}],
        }
    ]
    return {"metadata": {"name": "canary", "annotations": {"canary": canary("annotation of a pod")}}, "spec": spec}


# --- what brings them near a message


@contextmanager
def careless(lab: Lab) -> Iterator[Canary]:
    """A pod that fails 10.1, with a password on its command line and in its environment."""
    canary = Canary.new("argument of a pod that fails")
    spec = pod_spec(lab.target.probe_image, {"requests": SMALL}, gated=True)
    [container] = spec["containers"]
    flags = {"args": [f"--password={canary.text}"], "env": [{"name": "DB_PASSWORD", "value": canary.text}]}
    body = {"metadata": {"name": "careless"}, "spec": {**spec, "containers": [{**container, **flags}]}}
    with lab.made(f"/api/v1/namespaces/{NAMESPACE}/pods", body):
        yield canary


@contextmanager
def quoting_admission(lab: Lab) -> Iterator[Canary]:
    """Admission in staging refuses what the verifier makes there, and quotes a password in its refusal."""
    canary = Canary.new("what admission quotes")
    name = "seeded-canary"
    mine = f"object.metadata.?labels['{MANAGED_BY}'].orValue('') == '{OURS}'"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    quoted = canary.text.replace('"', '\\"')
    policy = {
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [
                {
                    "expression": f"!({mine})",
                    "message": f'container has --password="{quoted}" on it',
                    "reason": "Forbidden",
                }
            ],
        },
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "staging"}}
    binding = {
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selector},
        },
    }
    tried: Mapping[str, Any] = {
        "metadata": {"name": "verify-canary", "labels": {MANAGED_BY: OURS}},
        "spec": pod_spec(lab.target.probe_image, {"requests": SMALL, "limits": SMALL}, gated=True),
    }
    servers = [lab.api.at(f"https://{node.address}:6443") for node in CONTROL_PLANE]

    def everywhere(refused: bool) -> None:
        def known() -> bool:
            path = "/api/v1/namespaces/staging/pods"
            asked = [server.request("POST", path, tried, params={"dryRun": "All"}) for server in servers]
            return all(("container has" in answer.message) is refused for answer in asked)

        lab.until(known, f"every API server to {'refuse' if refused else 'admit'} the pod")

    with lab.made(POLICIES, policy), lab.made(BINDINGS, binding):
        everywhere(True)
        yield canary
    everywhere(False)


def run(out: Path, secret: Mapping[str, str], *arguments: str, options: str = "", plugins: Path | None = None) -> Ended:
    """``verify run`` on the lab, with all that it writes, wherever, under ``out``."""
    out.mkdir()
    (out / "tmp").mkdir()
    environment = {**secret, "TMPDIR": str(out / "tmp"), "PYTEST_ADDOPTS": options}
    if plugins is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(plugins), str(ROOT)])
    return verify("run", "--target", "lab", *arguments, out=out, environment=environment)


def written_to_the_cluster(lab: Lab, out: Path) -> None:
    """What the runs left in the cluster: the journal, the lease, and whatever else is in our namespace."""
    kinds = ("api/v1/{}/configmaps", "apis/coordination.k8s.io/v1/{}/leases", "api/v1/{}/events", "api/v1/{}/pods")
    (out / "cluster").mkdir()
    for number, kind in enumerate(kinds):
        namespace = f"namespaces/{lab.target.identities.namespace}"
        answer = lab.api.request("GET", f"/{kind.format(namespace)}")
        (out / f"cluster/{number}.json").write_bytes(answer.body)


def test_no_secret_stands_in_anything_that_a_run_wrote(lab: Lab, tmp_path: Path) -> None:
    signing_key = tmp_path / "sign.pem"
    subprocess.run([VERIFY, "keygen", "--out", signing_key], check=True, cwd=ROOT, capture_output=True)
    redaction = Canary.new("key of the redaction")
    (tmp_path / "redaction").write_text(redaction.text)
    ours = Canary.new("environment of the verifier")
    secret = {"VERIFY_REDACTION_KEY": str(tmp_path / "redaction"), "DB_PASSWORD": ours.text}

    out = tmp_path / "out"
    out.mkdir()
    with planted(lab) as canaries:
        canaries += [redaction, ours, *of_nodes(lab), *of_verifier(lab, signing_key)]
        healthy = run(out / "healthy", secret, "--key", str(signing_key))
        assert healthy.exit_code == 0, healthy.output
        restored = verify("restore", "--target", "lab", out=out / "healthy", environment=secret)
        assert restored.exit_code == 0, restored.output

        with careless(lab) as on_its_command_line, quoting_admission(lab) as quoted:
            options = f"{TALKATIVE} --debug={out / 'debug.log'}"
            failing = run(out / "failing", secret, "--kind", "inspect,probe", options=options)
            broken = hook_that_breaks(lab, out, tmp_path, secret, signing_key)
            canaries += [on_its_command_line, quoted]
        written_to_the_cluster(lab, out)

    # The secrets were near: the failing pod is named, and what admission said is kept but for the password.
    assert failing.exit_code == 1, failing.output
    assert f"{NAMESPACE}/Pod/careless" in failing.results["10.1", "limits"].message
    refusal = failing.results["1.4", "defaults-applied"]
    assert refusal.verdict is Verdict.failed
    assert 'container has --password="[redacted hmac-sha256:' in refusal.message
    assert "INTERNALERROR" in broken.output
    assert "provoked: " in broken.output
    assert found(canaries, out) == []

    copy = tmp_path / "copy"
    shutil.copytree(healthy.out / healthy.record.run, copy)
    assert_search_finds([canary for canary in canaries if canary.text], copy)
    assert_search_finds_keys(canaries, held(lab, signing_key), copy)


def held(lab: Lab, signing_key: Path) -> list[Path]:
    """The files with the verifier's own private keys."""
    assert lab.target.ssh is not None
    return [lab.target.cluster.kubeconfig_path, lab.target.ssh.key_path, signing_key]


def hook_that_breaks(lab: Lab, out: Path, folder: Path, secret: Mapping[str, str], signing_key: Path) -> Ended:
    """A run in which a hook of pytest breaks, with the verifier's own keys in its hands and in its words."""
    (folder / "breaks_a_hook.py").write_text(BREAKS_A_HOOK)
    (folder / "breaks_a_hook.json").write_text(json.dumps([str(file) for file in held(lab, signing_key)]))
    options = f"{TALKATIVE} -p breaks_a_hook"
    return run(out / "broken", secret, "--kind", "inspect", options=options, plugins=folder)
