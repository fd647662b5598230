"""What cannot be seen is never a pass: refused lists, an API that fails, hangs or dies, and a cluster with nothing."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import structs

from bootstrap.lab.layout import CONTROL_PLANE
from fixtures.kubernetes import SNAPSHOT_ACCESS, Access
from fixtures.scratch import leftovers
from harness.identity import as_identity
from policies.catalogue import load_catalogue
from policies.facts.base import Cause, Listing
from policies.facts.declared import Declared
from policies.facts.kubernetes import Snapshot
from policies.facts.nodes import Nodes
from policies.profiles import load_profile
from reports.store import RunStore
from tests.lab.product import Clause, Ended, start, verify
from tests.lab.stand_in import BROKEN, NOTHING_BEHIND, haproxy, target_at
from tests.violations.lab import Lab

SCANNER_ROLE: Final = "/apis/rbac.authorization.k8s.io/v1/clusterroles/finbot-verify:scanner"
# A hanging API is asked twice in preflight at most, and each request ends within 15 s.
BOUNDED_S: Final = 60.0

RIGHTS: Final = frozenset(
    {
        ("1.4", "cluster-admin"),
        ("1.4", "wildcards"),
        ("1.4", "secrets-read"),
        ("1.4", "escalation"),
        ("1.4", "default-service-accounts"),
    }
)
READ_BY: Final[dict[str, frozenset[Clause]]] = {
    "nodes": frozenset(
        {
            ("1.1", "control-plane-nodes"),
            ("1.1", "node-pressure"),
            ("1.1", "version-skew"),
            ("1.3", "cni-ready"),
            ("1.3", "pod-cidrs"),
            # Which machines there are to visit is known from the nodes.
            ("1.1", "etcd-members"),
            ("1.1", "etcd-health"),
            ("1.1", "etcd-alarms"),
            ("1.1", "certificates"),
            ("1.3", "mtu"),
            ("1.4", "kubelet-anonymous"),
        }
    ),
    "pods": frozenset(
        {
            ("1.1", "control-plane-components"),
            ("1.3", "cni-ready"),
            ("1.4", "default-service-accounts"),
            ("5.4", "replicas"),
            ("10.1", "requests"),
            ("10.1", "limits"),
        }
    ),
    "namespaces": frozenset({("1.1", "namespaces"), ("1.4", "default-service-accounts"), ("10.1", "namespace-quota")}),
    "resourcequotas": frozenset({("1.4", "quota-present"), ("10.1", "namespace-quota")}),
    "limitranges": frozenset({("1.4", "limit-range-present")}),
    "serviceaccounts": frozenset({("1.4", "default-service-accounts")}),
    "roles": RIGHTS,
    "clusterroles": RIGHTS,
    "rolebindings": RIGHTS,
    "clusterrolebindings": RIGHTS,
    "daemonsets": frozenset({("1.3", "cni-ready")}),
}


def inspected() -> set[Clause]:
    """All clauses that are inspected."""
    catalogue = load_catalogue()
    checked = load_profile("nightly", catalogue).must_pass
    return {(r, c.slug) for r in checked for c in catalogue.requirement(r).clauses if c.kind == "inspect"}


def test_every_list_has_a_reader() -> None:
    assert set(READ_BY) == {access.resource for access in SNAPSHOT_ACCESS}


@contextmanager
def refused(lab: Lab, access: Access) -> Iterator[None]:
    """The scanner may get, and no longer list, one kind of object; every API server knows it."""
    before = lab.get(SCANNER_ROLE)["rules"]
    rules = []
    for rule in before:
        if access.group in rule["apiGroups"] and access.resource in rule["resources"]:
            others = [resource for resource in rule["resources"] if resource != access.resource]
            rules += [{**rule, "resources": others}] if others else []
            rules.append({**rule, "resources": [access.resource], "verbs": ["get"]})
        else:
            rules.append(rule)
    scanner = as_identity(lab.target, lab.api, lab.target.identities.scanner)
    servers = [scanner.at(f"https://{node.address}:6443") for node in CONTROL_PLANE]

    def known(allowed: bool) -> None:
        what = f"every API server to know whether the scanner may {access}"
        lab.until(lambda: all(server.self_access_review(access) is allowed for server in servers), what)

    with lab.patched(SCANNER_ROLE, {"rules": rules}, {"rules": before}):
        known(False)
        yield
    known(True)


@pytest.mark.parametrize("access", SNAPSHOT_ACCESS, ids=lambda access: access.resource)
def test_a_refused_list_is_not_evaluated_where_it_is_read_and_nowhere_else(
    access: Access, lab: Lab, tmp_path: Path
) -> None:
    with refused(lab, access):
        ran = verify("run", "--target", "lab", "--kind", "inspect", out=tmp_path)
    readers = READ_BY[access.resource]
    assert ran.exit_code == 10, ran.output
    assert ran.causes == dict.fromkeys(readers, Cause.FORBIDDEN)
    assert ran.passed == inspected() - readers
    for clause in readers:
        message = ran.results[clause].message
        # Verb and resource; where a fixture of its own lists them, in the API's words.
        own = clause == ("5.4", "replicas")
        assert (f'cannot {access.verb} resource "{access.resource}"' if own else f"`{access}`") in message
        assert "bootstrap/layers/30-rbac" in message
    told = re.findall(rf"scanner may not {access}(?: in \S+)?, for [^:]*: (\d+) clauses? may stay", ran.output)
    assert told, ran.output
    assert len(readers) <= sum(map(int, told)) < len(inspected())


def assert_nothing_seen(ran: Ended, words: str) -> None:
    """All that was wanted is unreachable, within bounded time, and the reader is told what to do."""
    assert ran.exit_code == 10, ran.output
    assert set(ran.causes) == inspected()
    assert set(ran.causes.values()) == {Cause.UNREACHABLE}
    assert ran.seconds < BOUNDED_S
    assert words in ran.output
    assert all("  -> " in result.message for result in ran.results.values())
    assert (tmp_report := ran.out / "latest/report.html").exists(), tmp_report


@pytest.mark.parametrize(
    ("rest", "words"), [(NOTHING_BEHIND, "HTTP 503"), (BROKEN, "HTTP 500: broken")], ids=["503", "500"]
)
def test_an_api_that_answers_with_errors(rest: str, words: str, lab: Lab, tmp_path: Path) -> None:
    with haproxy(tmp_path, "http", rest) as proxy:
        target = target_at(tmp_path, f"http://127.0.0.1:{proxy.port}")
        ran = verify("run", "--target", str(target), "--kind", "inspect", out=tmp_path / "out")
    assert_nothing_seen(ran, words)
    assert "look at the API servers' logs" in ran.output


def test_an_api_that_hangs(lab: Lab, tmp_path: Path) -> None:
    with haproxy(tmp_path, "http", NOTHING_BEHIND) as proxy:
        target = target_at(tmp_path, f"http://127.0.0.1:{proxy.port}")
        proxy.freeze()
        ran = verify("run", "--target", str(target), "--kind", "inspect", out=tmp_path / "out")
    assert_nothing_seen(ran, "no answer within 15 s")
    assert "check the way there" in ran.output


def forwarding(lab: Lab) -> str:
    """HAProxy's settings that pass everything on to the lab's API."""
    return (
        f"    default_backend lab\nbackend lab\n    mode tcp\n    server lab {lab.api.server.removeprefix('https://')}"
    )


def assert_seen_before(ran: Ended, when: datetime) -> None:
    """Every pass stands on what the API showed before it went away; nodes are seen without it.

    A snapshot that the end of the API cut in two is dated after it: the lists it still got are from before.
    """
    store = RunStore.open(ran.out / "latest")
    for clause in ran.passed:
        facts = [store.load_fact(digest) for digest in ran.results[clause].facts]
        assert facts
        for fact in facts:
            cut = isinstance(fact, Snapshot) and any(listing.unseen is not None for listing in listings(fact))
            assert isinstance(fact, Nodes | Declared) or cut or fact.seen_at <= when, clause


def listings(snapshot: Snapshot) -> list[Listing[Any]]:
    """All lists of a snapshot."""
    return [value for value in structs.asdict(snapshot).values() if isinstance(value, Listing)]


def test_an_api_that_dies_after_preflight(lab: Lab, tmp_path: Path) -> None:
    with haproxy(tmp_path, "tcp", forwarding(lab)) as proxy:
        target = target_at(tmp_path, f"https://127.0.0.1:{proxy.port}")
        running = start("run", "--target", str(target), "--kind", "inspect", out=tmp_path / "out")
        running.says("preflight: Kubernetes")
        running.send(signal.SIGSTOP)
        proxy.kill()
        died = datetime.now(UTC)
        running.send(signal.SIGCONT)
        ran = running.end()
    assert_seen_before(ran, died)
    assert ran.exit_code == (10 if ran.causes else 0), ran.output
    assert ran.passed | set(ran.causes) == inspected()
    assert set(ran.causes.values()) <= {Cause.UNREACHABLE}


def test_an_api_that_dies_while_probes_are_under_way(lab: Lab, tmp_path: Path) -> None:
    with haproxy(tmp_path, "tcp", forwarding(lab)) as proxy:
        target = target_at(tmp_path, f"https://127.0.0.1:{proxy.port}")
        running = start("run", "--target", str(target), "--kind", "inspect,probe", out=tmp_path / "out")
        running.until(lambda: leftovers(lab.api), "its first probe made something")
        proxy.kill()
        died = datetime.now(UTC)
        ran = running.end()
    assert leftovers(lab.api) != ()
    restored = verify("restore", "--target", "lab", out=tmp_path / "out")
    assert restored.exit_code == 0, restored.output
    assert leftovers(lab.api) == ()
    assert_seen_before(ran, died)
    assert ran.passed >= inspected()
    # What it made could neither be removed nor looked for: it says so, and how that is done.
    assert ran.exit_code == 11, ran.output
    assert f"run `verify restore --target {target} --out {tmp_path / 'out'}`" in ran.output
