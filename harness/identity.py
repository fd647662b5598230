"""The two identities of a run: service accounts of the deployment, with tokens that live no longer than they must."""

from __future__ import annotations

import threading
import time
from typing import Final

from fixtures.kubernetes import Access, Api
from fixtures.unobservable import Unobservable
from targets.model import Target

SCANNER_TOKEN: Final = Access(
    "create", "", "serviceaccounts", "<identities.namespace>", "token", "<identities.scanner>"
)
DISRUPTOR_TOKEN: Final = SCANNER_TOKEN._replace(name="<identities.disruptor>")
"""What the operator must be allowed: to issue the tokens of the other two."""

TOKEN_S: Final = 600  # the shortest that Kubernetes grants
RENEW_AFTER_S: Final = 300.0  # early enough to live through any fault, in which no token can be had


class Token:
    """A token of one service account, asked for anew while the run lasts. Threads may share it."""

    def __init__(self, operator: Api, namespace: str, service_account: str) -> None:
        """Asks for the first one. Raises Unobservable where the operator does not get it."""
        self._operator = operator
        self._account = (namespace, service_account)
        self._lock = threading.Lock()
        self._asked = time.monotonic()
        self._token = operator.token_request(*self._account, TOKEN_S)

    def __call__(self) -> str:
        """The Authorization header's value. Raises Unobservable where the last token ran out and no new one comes."""
        with self._lock:
            age = time.monotonic() - self._asked
            if age > RENEW_AFTER_S:
                self._renew(age)
            return f"Bearer {self._token}"

    def _renew(self, age: float) -> None:
        asked = time.monotonic()
        try:
            self._token = self._operator.token_request(*self._account, TOKEN_S)
        except Unobservable:
            if age > TOKEN_S:
                raise
            return  # the old one is still good
        self._asked = asked


def as_identity(target: Target, operator: Api, name: str) -> Api:
    """The API as one of the target's two service accounts. Raises Unobservable."""
    namespace = target.identities.namespace
    return operator.with_authorization(Token(operator, namespace, name), f"{namespace}/{name}")
