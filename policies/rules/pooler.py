"""Requirement 5.4: many clients share few server connections over TLS, and hardly notice the loss of one pooler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from policies.facts.base import Cause, Unseen
from policies.facts.pooler import Door, PooledClients, Pooler, PoolerDoors, PoolerLoss, PoolerPod, PoolSettings
from policies.finding import Finding
from policies.limits import Limits
from policies.rules.common import count, missing, some


def replicas(pooler: Pooler, limits: Limits) -> Iterator[Finding]:
    """replicas: enough pods are ready, each in a node of its own, and the Service leads clients to them."""
    limit = limits["pooler_replicas"]
    subject, expected = f"pooler {pooler.namespace}/{pooler.name}", f"{limit.text()} ready behind the Service"
    expected += ", in different nodes"
    serving = [pod for pod in pooler.pods if pod.ready and (pod.behind_service or pooler.endpoints_unseen)]
    nodes = Counter(pod.node for pod in serving)
    observed = f"{len(serving)} of {pooler.declared} declared ready"
    if pooler.endpoints_unseen is None:
        observed += " behind the Service"
    elif limit.allows(len(nodes)):
        yield Finding.unseen(subject, expected, pooler.endpoints_unseen)
        return
    observed += f" in {count(len(nodes), 'node')} ({some(sorted(nodes))})" if nodes else ""
    troubles = [f"{node} has {number} of them" for node, number in sorted(nodes.items()) if number > 1]
    troubles += [f"{pod.name} {_why_not(pod)}" for pod in pooler.pods if pod not in serving]
    if troubles:
        observed += f"; {some(troubles)}"
    yield Finding(subject, expected, observed, limit.allows(len(nodes)))


def _why_not(pod: PoolerPod) -> str:
    if not pod.node:
        return "is in no node"
    return f"on {pod.node} is " + ("not behind the Service" if pod.ready else "not ready")


def multiplexing(clients: PooledClients, limits: Limits) -> Iterator[Finding]:
    """multiplexing: all of many connections are answered while all are held, on no more than the declared servers'.

    The server connections are PostgreSQL's own count of what comes from the pooler's pods.
    """
    limit = limits["client_connections"]
    expected = f"{limit.text()} served at once"
    subject = f"clients of {clients.service}"
    held = f"{clients.answered} of {clients.asked} connections answered {clients.rounds} times while all were held"
    told = f"opened in {clients.opened_in_s:.1f} s, slowest answer {clients.slowest_s:.2f} s"
    lost = f"; {clients.detail}" if clients.detail else ""
    if clients.answered == clients.asked and not limit.allows(clients.asked):
        yield missing(subject, expected, f"only {count(clients.asked, 'connection')} were tried", Cause.INVALID)
    else:
        yield Finding(subject, expected, f"{held} ({told}){lost}", limit.allows(clients.answered))
    yield from _server_connections(clients)


def _server_connections(clients: PooledClients) -> Iterator[Finding]:
    settings = clients.settings
    most = settings.most_server_connections
    expected = f"at most {count(most, 'server connection')} ({_declared(settings)})"
    own = [pool for pool in clients.pools if (pool.user, pool.database) == (clients.user, clients.database)]
    if not any(pool.connections for pool in own):
        detail = (
            f"PostgreSQL, asked {count(clients.samples, 'time')}, saw no connection of {clients.user} to database "
            f"{clients.database} from a pooler's pod"
        )
        remedy = "see whether pods' addresses are translated on the way to the database, or whether nothing is pooled"
        yield missing("server connections", expected, detail, Cause.EMPTY, remedy)
        return
    for pool in clients.pools:
        subject = f"pool {pool.user}@{pool.database} of {pool.pod}"
        observed = f"at most {pool.connections} at once, by PostgreSQL's count ({clients.samples} times)"
        yield Finding(subject, expected, observed, pool.connections <= most)
    total = sum(pool.connections for pool in own)
    shared = f"fewer than the {count(clients.opened, 'client connection')}"
    yield Finding("all server connections", shared, f"{total} at most", total < clients.opened)


def _declared(settings: PoolSettings) -> str:
    parts = [f"default_pool_size {settings.default_pool_size}"]
    for name in ("reserve_pool_size", "max_db_connections", "max_user_connections"):
        if getattr(settings, name):
            parts.append(f"{name} {getattr(settings, name)}")
    return ", ".join(parts)


def client_tls(pooler: PoolerDoors, _limits: Limits) -> Iterator[Finding]:
    """client-tls: at each address a client without TLS is refused, where one with TLS is served.

    A refusal counts only by the pooler's own word: silence, or nobody being served, may have any other reason.
    """
    expected = "clients with TLS only"
    if not pooler.doors:
        yield missing(f"pooler {pooler.service}", expected, "no address was tried", Cause.EMPTY)
    for door in pooler.doors:
        yield _door(door, expected)


def _door(door: Door, expected: str) -> Finding:
    subject = f"{door.where} ({door.address})"
    with_tls = f"with TLS {_what_became(door)}"
    if door.plain == "served":
        return Finding(subject, expected, f"a client without TLS is served; one {with_tls}", False)
    if door.tls in {"untrusted", "without TLS"}:
        return Finding(subject, expected, f"a client {with_tls}", False)
    if door.tls != "served":
        cause = Cause.UNREACHABLE if door.tls == "no answer" else Cause.INVALID
        remedy = "see why the pooler does not serve even a client with TLS (`SHOW POOLS`, its log)"
        return missing(subject, expected, f"a client {with_tls}; so a refusal says nothing", cause, remedy)
    if door.plain != "refused":
        detail = f"a client without TLS got no answer: {door.plain_detail}; one {with_tls}"
        return missing(subject, expected, detail, Cause.UNREACHABLE)
    return Finding(subject, expected, f"a client without TLS is refused ({door.plain_detail}), one {with_tls}", True)


def _what_became(door: Door) -> str:
    words = {
        "refused": "is refused",
        "untrusted": "cannot trust the certificate",
        "without TLS": "is told that there is none",
        "no answer": "gets no answer",
    }
    return f"is served ({door.verified})" if door.tls == "served" else f"{words[door.tls]}: {door.tls_detail}"


def pooler_loss(loss: PoolerLoss, limits: Limits) -> Iterator[Finding]:
    """pooler-loss: of the requests between the kill of one pooler and its return hardly any failed, retry included."""
    limit = limits["failed_ratio"]
    subject, expected = f"requests through {loss.service}", f"{limit.text()} failed"
    unproved = _unproved(loss)
    if unproved is not None:
        yield Finding.unseen(subject, expected, unproved)
        return
    if loss.cut_short is not None:
        yield Finding.unseen(loss.fault, "to stand to its end", loss.cut_short)
    under = loss.under_the_fault
    requests, failed = (sum(getattr(each, name) for each in under) for name in ("requests", "failed"))
    if not requests:
        yield missing(subject, expected, "no request was sent while a pooler was lost", Cause.EMPTY)
        return
    before = sum(each.through.get(loss.address, 0) for each in loss.requests if each.at < loss.injected_at)
    if not before:
        detail = f"no request had gone through {loss.victim} before it was killed, so its loss shows nothing"
        yield missing(subject, expected, detail, Cause.INVALID)
        return
    ratio = 100 * failed / requests
    lasted = loss.back_at - loss.injected_at
    back = f"as many as before were not ready {lasted:.1f} s later, when watching ended"
    if loss.ready_at is not None:
        back = f"as many as before were ready {loss.ready_at - loss.injected_at:.1f} s later"
    said = next((f" ({each.said})" for each in under if each.said), "")
    observed = (
        f"{ratio:.3g} % failed, {failed} of {requests}{said}, and {sum(each.retried for each in under)} took a "
        f"reconnect; the slowest took {max(each.slowest_s for each in under):.2f} s; {loss.victim} on {loss.node} was "
        f"killed, and {back}"
    )
    if not failed and not limit.allows(100 / requests):
        few = f"only {count(requests, 'request')} in {lasted:.1f} s, too few to see so small a ratio"
        yield missing(subject, expected, few, Cause.INVALID)
        return
    yield Finding(subject, expected, observed, limit.allows(ratio))


def _unproved(loss: PoolerLoss) -> Unseen | None:
    """Why the observation says nothing: the fault was not injected, or was not seen to have happened."""
    if loss.unseen is not None:
        return loss.unseen
    if not loss.proof:
        detail = f"{loss.fault} on {loss.victim} was injected, but nothing showed that it took effect"
        remedy = "see the fault's events in this run's facts, and whether the pod really was killed"
        return Unseen(Cause.ABSENT, "the fault", detail, remedy)
    return None
