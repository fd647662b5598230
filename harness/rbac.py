"""The least that the two identities must be granted for the chosen checks, as Kubernetes objects.

A Role where a namespace is enough and a ClusterRole only where it must be: scratch namespaces have names that nobody
knows before, and the snapshot lists everything. Source: Kubernetes RBAC, rbac.authorization.k8s.io/v1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

from fixtures.kubernetes import Access
from harness.needs import Identity, Need
from targets.model import Target

GROUP: Final = "rbac.authorization.k8s.io"
PREFIX: Final = "finbot-verify"
WIDTH: Final = 118

Object = dict[str, Any]


def roles(needs: Iterable[Need], target: Target) -> tuple[Object, ...]:
    """Service accounts, roles and bindings of the scanner and, where it is needed at all, the disruptor."""
    needs = tuple(needs)
    accounts: tuple[tuple[Identity, str], ...] = (
        ("scanner", target.identities.scanner),
        ("disruptor", target.identities.disruptor),
    )
    found: list[Object] = []
    for identity, account in accounts:
        accesses = [need.access for need in needs if need.identity == identity]
        if accesses:
            found += _of(account, target.identities.namespace, accesses)
    return tuple(found)


def _of(account: str, home: str, accesses: list[Access]) -> Iterator[Object]:
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": account, "namespace": home},
        "automountServiceAccountToken": False,
    }
    name = f"{PREFIX}:{account}"
    subject = {"kind": "ServiceAccount", "name": account, "namespace": home}
    anywhere = {access for access in accesses if not access.namespace}
    for namespace in sorted({access.namespace for access in accesses}):
        own = [a for a in accesses if a.namespace == namespace and (not namespace or not _covered(a, anywhere))]
        if not own:
            continue
        kind = "Role" if namespace else "ClusterRole"
        meta = {"name": name, "namespace": namespace} if namespace else {"name": name}
        api = f"{GROUP}/v1"
        yield {"apiVersion": api, "kind": kind, "metadata": meta, "rules": list(_rules(own))}
        yield {
            "apiVersion": api,
            "kind": f"{kind}Binding",
            "metadata": dict(meta),
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
            "subjects": [dict(subject)],
        }


def _covered(access: Access, anywhere: set[Access]) -> bool:
    """Whether the ClusterRole grants it already."""
    return bool({access._replace(namespace=""), access._replace(namespace="", name="")} & anywhere)


def _rules(accesses: Iterable[Access]) -> Iterator[Object]:
    """As few rules as say exactly this: resources of one group with the same verbs stand together."""
    verbs: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    for access in accesses:
        resource = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
        verbs[access.group, access.name, resource].add(access.verb)
    together: defaultdict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, name, resource), allowed in sorted(verbs.items()):
        on_any = verbs.get((group, "", resource), set()) if name else set()
        if allowed - on_any:
            together[group, name, tuple(sorted(allowed - on_any))].append(resource)
    for (group, name, allowed_verbs), resources in sorted(together.items()):
        named = {"resourceNames": [name]} if name else {}
        yield {"apiGroups": [group], "resources": resources, **named, "verbs": list(allowed_verbs)}


class _Dumper(yaml.SafeDumper):
    """Lists within lists are set in, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def as_yaml(objects: Iterable[Object], comment: str) -> str:
    """Documents for `kubectl apply -f`, below a comment."""
    documents = [
        yaml.dump(each, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=WIDTH) for each in objects
    ]
    return "".join(f"# {line}\n" for line in comment.splitlines()) + "".join(f"---\n{text}" for text in documents)
