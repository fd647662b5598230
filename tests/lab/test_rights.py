"""What the two identities may do in the lab: nothing that changes it, for the scanner; what is declared, for both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from bootstrap.lab.layout import CONTROL_PLANE, STATE
from fixtures.kubernetes import Access, Api
from harness.checks import source
from harness.coverage import least
from harness.identity import as_identity
from harness.needs import Identity, Need
from harness.selection import choose
from policies.catalogue import load_catalogue
from policies.facts.base import Cause
from targets.model import Target, load_target
from tests.lab.conftest import HealthyRun
from tests.lab.product import ROOT, Clause, verify
from tests.violations.lab import Lab, Object

CATALOGUE = load_catalogue()
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS: Final = "selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"
"""What everybody may create: questions about oneself, which change nothing."""

CHANGING: Final = ("create", "update", "patch", "delete", "deletecollection")
SPECIAL: Final = (
    *(Access(verb, "", "secrets") for verb in ("get", "list", "watch")),
    *(Access(verb, "", "nodes", subresource="proxy") for verb in ("get", "create")),
    *(
        Access(verb, "", "pods", subresource=sub)
        for sub in ("exec", "attach", "portforward", "proxy")
        for verb in ("get", "create")
    ),
    Access("get", "", "services", subresource="proxy"),
    Access("create", "", "serviceaccounts", subresource="token"),
    *(Access("impersonate", "", kind) for kind in ("users", "groups", "serviceaccounts")),
    *(
        Access(verb, "rbac.authorization.k8s.io", kind)
        for kind in ("roles", "clusterroles")
        for verb in ("escalate", "bind")
    ),
    *(Access(verb, "certificates.k8s.io", "signers") for verb in ("approve", "sign", "attest")),
)
"""What changes things, or reads what nobody should, by another verb or through another server."""


# --- the scanner changes nothing


def served(api: Api) -> Iterator[tuple[str, str, str]]:
    """Group, resource and subresource of everything that the API serves, by its own discovery."""
    groups = [("", "/api/v1")]
    for group in api.get_json("/apis", "the API's groups")["groups"]:
        groups += [(group["name"], f"/apis/{version['groupVersion']}") for version in group["versions"]]
    for name, path in groups:
        for resource in api.get_json(path, f"what {path} serves")["resources"]:
            kind, _, sub = resource["name"].partition("/")
            yield name, kind, sub


def may(api: Api, accesses: Iterable[Access]) -> set[Access]:
    """Those that the API would allow."""
    asked = tuple(dict.fromkeys(accesses))
    with ThreadPoolExecutor(8) as pool:
        return {a for a, allowed in zip(asked, pool.map(api.self_access_review, asked), strict=True) if allowed}


def changes(api: Api, namespaces: Iterable[str]) -> list[Access]:
    """Everything that would change something or show a Secret, everywhere and in each of the namespaces."""
    kinds = sorted(set(served(api)))
    everywhere = [Access(verb, group, kind, "", sub) for (group, kind, sub), verb in product(kinds, CHANGING)]
    everywhere = [a for a in everywhere if a.resource not in REVIEWS]
    return [a._replace(namespace=ns) for ns in ("", *namespaces) for a in (*everywhere, *SPECIAL)]


def rules_in(api: Api, namespace: str) -> Iterator[str]:
    """What the API's own summary of an identity's rights holds that changes something or reads Secrets."""
    body = {"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"namespace": namespace}}
    answer = api.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body)
    status = json.loads(answer.body)["status"]
    assert not status["incomplete"], status
    assert status["resourceRules"], "a summary that holds nothing says nothing"
    for rule in status["resourceRules"]:
        if set(rule["resources"]) <= set(REVIEWS):
            continue
        for resource in rule["resources"]:
            wrong = set(rule["verbs"]) - {"get", "list", "watch"}
            if wrong or resource.partition("/")[0] in {"secrets", "*"} or "/" in resource:
                yield f"{', '.join(sorted(rule['verbs']))} {resource} in {namespace}"
    for urls in status["nonResourceRules"]:
        if wrong := set(urls["verbs"]) - {"get", "head", "options"}:
            yield f"{', '.join(sorted(wrong))} {urls['nonResourceURLs']}"


@contextmanager
def granted(lab: Lab, account: str, access: Access) -> Iterator[None]:
    """One more permission of an account, known to every API server."""
    resource = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
    role = {"rules": [{"apiGroups": [access.group], "resources": [resource], "verbs": [access.verb]}]}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": lab.target.identities.namespace}
    with lab.bound(role, subject, access.namespace):
        known(lab, account, access, allowed=True)
        yield
    known(lab, account, access, allowed=False)


def known(lab: Lab, account: str, access: Access, *, allowed: bool) -> None:
    """Wait until every API server knows whether an account may do something."""
    identity = as_identity(lab.target, lab.api, account)
    servers = [identity.at(f"https://{node.address}:6443") for node in CONTROL_PLANE]
    what = f"every API server to know whether {account} may {access}"
    lab.until(lambda: all(server.self_access_review(access) is allowed for server in servers), what)


def scanner(lab: Lab) -> Api:
    return as_identity(lab.target, lab.api, lab.target.identities.scanner)


def namespaces(lab: Lab) -> list[str]:
    return [each["metadata"]["name"] for each in lab.items("/api/v1/namespaces")]


def test_the_scanner_can_change_nothing_and_read_no_secret(lab: Lab) -> None:
    asked = changes(lab.api, ("production", lab.target.identities.namespace))
    assert len({(a.group, a.resource) for a in asked}) > 50, "the API serves more than this"
    assert may(scanner(lab), asked) == set()
    assert [said for namespace in namespaces(lab) for said in rules_in(scanner(lab), namespace)] == []


def test_the_operator_can_do_all_that_the_scanner_is_asked(lab: Lab) -> None:
    """The control: a question that nobody could answer with yes would prove nothing."""
    asked = [access for access in changes(lab.api, ()) if not access.namespace]
    assert may(lab.api, asked) == set(asked)


@pytest.mark.parametrize(
    "access",
    [
        Access("get", "", "secrets", "production"),
        Access("create", "", "pods", subresource="exec"),
        Access("update", "apps", "deployments", subresource="scale"),
        Access("delete", "", "pods", "staging"),
    ],
    ids=str,
)
def test_a_grant_too_many_is_found(access: Access, lab: Lab) -> None:
    with granted(lab, lab.target.identities.scanner, access):
        found = [said for namespace in namespaces(lab) for said in rules_in(scanner(lab), namespace)]
        assert found
        assert all(access.verb in said and access.resource in said for said in found)
        if access.namespace in {"", "production"}:
            assert access in may(scanner(lab), changes(lab.api, ("production",)))


# --- what is declared is what is called

# Rights that a healthy run does not come to use, each with its reason.
UNUSED: Final[dict[Access, str]] = {
    Access("create", "", "configmaps", "verify-system"): "the journal is made by the first fault of a deployment",
    Access("create", "", "pods", subresource="exec"): "asked beside get from Kubernetes 1.35 on, and audited as get",
    Access("get", "", "pods", subresource="log"): "asked of a client pod that ended, for its last words",
}
NOT_AUDITED: Final = frozenset({"leases"})
"""Heartbeats are left out of the lab's audit log, and the disruption lease with them."""


def audited(target: Target, account: str, since: datetime) -> Iterator[Access]:
    """What the API servers saw an account ask for, by their audit logs; also what they refused."""
    username = f"system:serviceaccount:{target.identities.namespace}:{account}"
    for node in CONTROL_PLANE:
        for file in (STATE / "nodes" / node.name / "root/var/log/kubernetes/audit").glob("audit*.log"):
            for line in file.read_text("utf-8", "replace").splitlines():
                if username not in line:
                    continue
                event: dict[str, Any] = json.loads(line)
                reference = event.get("objectRef") or {}
                asked = datetime.fromisoformat(event["requestReceivedTimestamp"])
                if event["user"]["username"] != username or asked < since or "resource" not in reference:
                    continue
                yield Access(
                    verb=event["verb"],
                    group=reference.get("apiGroup", ""),
                    resource=reference["resource"],
                    namespace=reference.get("namespace", ""),
                    subresource=reference.get("subresource", ""),
                    name=reference.get("name", ""),
                )


def covers(declared: Access, seen: Access) -> bool:
    """Whether a declaration is of a call."""
    of_kind = (declared.verb, *declared[1:3], declared.subresource) == (seen.verb, *seen[1:3], seen.subresource)
    return of_kind and declared.namespace in {"", seen.namespace} and declared.name in {"", seen.name}


def of(needs: Iterable[Need], identity: Identity) -> set[Access]:
    return {need.access for need in needs if need.identity == identity}


def test_whatever_a_run_calls_is_declared_and_whatever_is_declared_is_called(lab: Lab, healthy_run: HealthyRun) -> None:
    began, ran = healthy_run.began, healthy_run.ended
    assert ran.exit_code == 0, ran.output
    wanted = least(source(), CATALOGUE, choose(CATALOGUE, [], []), lab.target)
    accounts: dict[Identity, str] = {
        "scanner": lab.target.identities.scanner,
        "disruptor": lab.target.identities.disruptor,
    }
    for identity, account in accounts.items():
        declared = of(wanted, identity)
        seen = {access for access in audited(lab.target, account, began) if access.resource not in REVIEWS}
        assert len(seen) > 5, f"the audit logs hold nothing of {account}"
        undeclared = {str(access) for access in seen if not any(covers(each, access) for each in declared)}
        assert undeclared == set(), identity
        unused = {
            d for d in declared if d.resource not in NOT_AUDITED and not any(covers(d, access) for access in seen)
        }
        assert {str(a) for a in unused if not {a, a._replace(namespace="")} & UNUSED.keys()} == set(), identity


# --- what is granted is enough, and less is not


@pytest.fixture
def narrow(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """The lab's target with accounts of its own, the operator's too, which may do what 1.4 needs and nothing else."""
    document = yaml.safe_load((ROOT / "targets/lab.yaml").read_text())
    document["identities"] = {"scanner": "narrow-scanner", "disruptor": "narrow-disruptor"}
    kubeconfig = yaml.safe_load(Path(document["cluster"]["kubeconfig"]).read_text())
    document["cluster"]["kubeconfig"] = str(tmp_path / "kubeconfig")
    file = tmp_path / "narrow.yaml"
    file.write_text(yaml.safe_dump(document))
    wrote = verify("rbac", "--target", str(file), *ONLY, "--output", str(tmp_path / "identities.yaml"), out=tmp_path)
    assert wrote.exit_code == 0, wrote.output
    objects = list(yaml.safe_load_all((tmp_path / "identities.yaml").read_text()))
    target = load_target(str(file))
    wanted = least(source(), CATALOGUE, choose(CATALOGUE, ["1.4"], ["inspect", "probe"]), target)
    objects += operator_of(target, sorted(of(wanted, "operator")))
    try:
        for each in objects:
            lab.delete(f"{collection(each)}/{each['metadata']['name']}")
            lab.create(collection(each), each)
        for need in wanted:
            known(lab, f"narrow-{need.identity}", need.access, allowed=True)
        token = lab.api.token_request(target.identities.namespace, "narrow-operator", 3600)
        (tmp_path / "kubeconfig").touch(mode=0o600)
        (tmp_path / "kubeconfig").write_text(
            yaml.safe_dump(kubeconfig | {"users": [{**kubeconfig["users"][0], "user": {"token": token}}]})
        )
        yield file
    finally:
        for each in objects:
            lab.delete(f"{collection(each)}/{each['metadata']['name']}")


ONLY: Final = ("--requirement", "1.4", "--kind", "inspect,probe")


def operator_of(target: Target, accesses: Iterable[Access]) -> Iterator[Object]:
    """An account that may issue these tokens, and nothing else."""
    name, home = "narrow-operator", target.identities.namespace
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": home}}
    api = "rbac.authorization.k8s.io/v1"
    for number, access in enumerate(accesses):
        assert access.subresource == "token"
        meta = {"name": f"{name}-{number}", "namespace": access.namespace}
        rule = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}
        yield {"apiVersion": api, "kind": "Role", "metadata": meta, "rules": [rule | {"resourceNames": [access.name]}]}
        yield {
            "apiVersion": api,
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": meta["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": home}],
        }


def collection(each: Object) -> str:
    """Where an object of a kind is made."""
    plural = {"ServiceAccount": "serviceaccounts"}.get(each["kind"], f"{each['kind'].lower()}s")
    api = "/api/v1" if each["apiVersion"] == "v1" else f"/apis/{each['apiVersion']}"
    namespace = each["metadata"].get("namespace")
    return f"{api}/namespaces/{namespace}/{plural}" if namespace else f"{api}/{plural}"


@contextmanager
def without(lab: Lab, role: str, account: str, access: Access) -> Iterator[None]:
    """A role that no longer grants one thing, known to every API server."""
    rules = []
    for rule in lab.get(role)["rules"]:
        others = {**rule, "resources": [r for r in rule["resources"] if r != access.resource]}
        rules += [others] if others["resources"] else []
        if len(others["resources"]) < len(rule["resources"]):
            verbs = [verb for verb in rule["verbs"] if verb != access.verb]
            rules += [{**rule, "resources": [access.resource], "verbs": verbs}] if verbs else []
    with lab.patched(role, {"rules": rules}, {"rules": lab.get(role)["rules"]}):
        known(lab, account, access, allowed=False)
        yield
    known(lab, account, access, allowed=True)


def test_what_is_granted_is_enough_and_one_verb_less_is_said(lab: Lab, narrow: Path, tmp_path: Path) -> None:
    before = verify("preflight", "--target", str(narrow), *ONLY, out=tmp_path)
    assert before.exit_code == 0, before.output
    whole = verify("run", "--target", str(narrow), *ONLY, out=tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    assert len(whole.passed) == 12

    ranges = Access("list", "", "limitranges")
    with without(lab, f"{RBAC}/clusterroles/finbot-verify:narrow-scanner", "narrow-scanner", ranges):
        assert_forbidden(narrow, tmp_path / "scanner", {("1.4", "limit-range-present")}, "list limitranges")

    quotas = Access("list", "", "resourcequotas", "production")
    role = f"{RBAC}/namespaces/production/roles/finbot-verify:narrow-disruptor"
    with without(lab, role, "narrow-disruptor", quotas):
        assert_forbidden(narrow, tmp_path / "disruptor", {("1.4", "quota-enforced")}, "resourcequotas")


def assert_forbidden(target: Path, out: Path, clauses: set[Clause], words: str) -> None:
    """Preflight says beforehand what the run then finds, and everything else is evaluated as before."""
    said = verify("preflight", "--target", str(target), *ONLY, "--json", out=out)
    assert said.exit_code == 10, said.output
    foretold = json.loads(said.output[said.output.index("{") :])["clauses"]
    stopped = {(c["requirement"], c["clause"]): c for c in foretold if c["outlook"] == "cannot be evaluated"}
    assert stopped.keys() == clauses
    ran = verify("run", "--target", str(target), *ONLY, out=out)
    assert ran.exit_code == 10, ran.output
    assert ran.causes == dict.fromkeys(clauses, Cause.FORBIDDEN)
    assert len(ran.passed) == 12 - len(clauses)
    for clause in clauses:
        assert words in stopped[clause]["why"]
        assert words in ran.results[clause].message
