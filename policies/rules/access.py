"""Requirement 1.4: what was tried and had to be refused, each beside the same call by someone who is allowed."""

from __future__ import annotations

from collections.abc import Iterator

from policies.facts.access import AnonymousAccess, AnonymousPath, Attempt, Defaults, DefaultsTrial, Trial, Trials
from policies.facts.base import Cause
from policies.facts.nodes import Nodes
from policies.finding import Finding
from policies.limits import Limits
from policies.rules.common import missing, some, unseen
from policies.rules.resources import not_stated


def quota_enforced(trials: Trials, _limits: Limits) -> Iterator[Finding]:
    """quota-enforced: a pod beyond the quota is refused because of the quota, one within it is accepted."""
    expected = "refused, because it exceeds the quota"
    yield from unseen(expected, trials.unseen)
    for trial in trials.trials:
        attempt = trial.attempt
        if attempt.allowed:
            yield Finding(trial.subject, expected, f"{attempt.action} was accepted ({attempt.status})", False)
        elif not trial.control.allowed:
            yield _no_control(trial.subject, expected, trial.control)
        elif not attempt.refused:
            yield _no_answer(trial.subject, expected, attempt)
        elif "exceeded quota" in attempt.message:
            yield Finding(trial.subject, expected, f"{attempt.action} was refused: {attempt.message}", True)
        else:
            observed = f"{attempt.action} was refused for another reason: {attempt.message or attempt.status}"
            yield missing(trial.subject, expected, observed, Cause.INVALID)


def cross_namespace(trials: Trials, _limits: Limits) -> Iterator[Finding]:
    """cross-namespace: a service account is refused the other environment's secret, where it may read its own."""
    expected = "refused"
    yield from unseen(expected, trials.unseen)
    for trial in trials.trials:
        yield _refused(trial, expected)


def _refused(trial: Trial, expected: str) -> Finding:
    attempt = trial.attempt
    if _let_through(attempt):
        observed = f"{attempt.action} as {attempt.who} was let through{_why(attempt)}"
        return Finding(trial.subject, expected, observed, False)
    if not trial.control.allowed:
        return _no_control(trial.subject, expected, trial.control)
    if not attempt.refused:
        return _no_answer(trial.subject, expected, attempt)
    return Finding(trial.subject, expected, f"{attempt.action} as {attempt.who} was refused ({attempt.status})", True)


def anonymous(access: AnonymousAccess, _limits: Limits) -> Iterator[Finding]:
    """anonymous: without credentials no path is served but the open ones, where a caller with credentials is served."""
    expected = "refused without credentials"
    yield from unseen(expected, access.unseen)
    closed = [path for path in access.paths if path.path not in access.open_paths]
    for path in access.paths:
        if path in closed:
            yield _refused(Trial(path.path, path.authenticated, path.anonymous), expected)
        else:
            yield _open_path(path)
    if access.paths and not closed:
        yield missing("anonymous calls", expected, "no path that must be closed was asked", Cause.EMPTY)


def _open_path(path: AnonymousPath) -> Finding:
    expected = "served or refused, as it tells nothing"
    if path.anonymous.allowed or path.anonymous.refused:
        return Finding(path.path, expected, f"answered {path.anonymous.status} without credentials", True)
    return _no_answer(path.path, expected, path.anonymous)


def defaults_applied(defaults: Defaults, _limits: Limits) -> Iterator[Finding]:
    """defaults-applied: a pod without requests and limits is accepted, and admission gave its containers all four."""
    expected = "accepted, with default requests and limits of cpu and memory"
    yield from unseen(expected, defaults.unseen)
    for trial in defaults.trials:
        yield _defaults(trial, expected)


def _defaults(trial: DefaultsTrial, expected: str) -> Finding:
    subject, attempt = f"namespace {trial.namespace}", trial.attempt
    if not attempt.allowed:
        # RBAC's refusal is about the one who tries; only admission's is about the pod.
        by_rbac = attempt.status == 401 or "cannot create resource" in attempt.message
        if attempt.refused and not by_rbac:
            return Finding(subject, expected, f"{attempt.action} was refused: {attempt.message}", False)
        return _no_answer(subject, expected, attempt)
    if not trial.containers:
        return missing(subject, expected, "the pod that was made could not be read back", Cause.INVALID)
    lacking = [
        f"{container.name} has no {which} of {resource}"
        for container in trial.containers
        for which in ("requests", "limits")
        for resource in not_stated(container, which)
    ]
    return Finding(subject, expected, some(lacking) or "accepted, with all of them", not lacking)


def kubelet_anonymous(nodes: Nodes, _limits: Limits) -> Iterator[Finding]:
    """kubelet-anonymous: no kubelet serves callers without credentials, and each asks the API server who may what."""
    expected = "anonymous off, authorization Webhook, no read-only port"
    if nodes.unseen:
        yield Finding.unseen("kubelets", expected, nodes.unseen)
    for node in nodes.nodes:
        subject = f"kubelet on {node.name}"
        reason = node.unseen or node.kubelet_unseen
        if reason is not None:
            yield Finding.unseen(subject, expected, reason)
        elif node.kubelet is None:
            yield missing(subject, expected, "no kubelet was found running", Cause.ABSENT)
        else:
            wrong = []
            if node.kubelet.anonymous:
                wrong.append("it serves callers without credentials")
            if node.kubelet.authorization_mode != "Webhook":
                wrong.append(f"its authorization mode is {node.kubelet.authorization_mode or 'not set'}")
            if node.kubelet.read_only_port:
                wrong.append(f"its read-only port {node.kubelet.read_only_port} is open")
            yield Finding(subject, expected, "; ".join(wrong) or "as it must be", not wrong)


def _let_through(attempt: Attempt) -> bool:
    """Whether the caller came past authorization: that it then found nothing, or asked wrongly, makes no difference.

    Authorization comes before the object is looked up (Kubernetes, "Controlling Access to the API"), so that a 404 is
    given only to those who may ask. 429 is given by flow control, before authorization.
    """
    return attempt.status < 500 and attempt.status not in {0, 401, 403, 408, 429}


def _why(attempt: Attempt) -> str:
    if attempt.allowed:
        return f" ({attempt.status})"
    return f", as {attempt.status} is the answer to someone who may ask"


def _no_control(subject: str, expected: str, control: Attempt) -> Finding:
    detail = f"its control failed, so a refusal proves nothing: {control.action} as {control.who}: {_answer(control)}"
    remedy = "see why the allowed call fails (its namespace, its rights, its quota's free room), and run again"
    return missing(subject, expected, detail, _cause(control), remedy)


def _no_answer(subject: str, expected: str, attempt: Attempt) -> Finding:
    return missing(subject, expected, f"{attempt.action} as {attempt.who}: {_answer(attempt)}", _cause(attempt))


def _answer(attempt: Attempt) -> str:
    if attempt.status == 0:
        return attempt.message or "no answer"
    return f"{attempt.status} {attempt.message}".rstrip()


def _cause(attempt: Attempt) -> Cause:
    if attempt.refused:
        return Cause.FORBIDDEN
    if attempt.status == 404:
        return Cause.ABSENT
    return Cause.UNREACHABLE if attempt.status == 0 or attempt.status >= 500 else Cause.INVALID
