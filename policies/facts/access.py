"""What was tried against the API, and by whom: each refusal beside the call that must succeed."""

from __future__ import annotations

from msgspec import Struct

from policies.facts.base import Fact, Unseen
from policies.facts.kubernetes import Container


class Attempt(Struct, frozen=True):
    """One call to the API. ``status`` is the HTTP status; 0 where no answer came."""

    who: str
    action: str
    """e.g. ``create pod production/verify-over-quota (cpu 9)``."""
    status: int
    message: str = ""
    """The API's own message, shortened; never an object's content."""

    @property
    def allowed(self) -> bool:
        """True when the API carried the call out."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """True when the API refused the caller (401 or 403), which a failure or a time-out is not."""
        return self.status in {401, 403}


class Trial(Struct, frozen=True):
    """One thing that must be refused, with its positive control. Without a control that succeeds it proves nothing."""

    subject: str
    control: Attempt
    attempt: Attempt


class Trials(Fact, frozen=True):
    """Trials of one kind, e.g. every production service account against staging."""

    trials: tuple[Trial, ...]
    unseen: tuple[Unseen, ...] = ()


class AnonymousPath(Struct, frozen=True):
    """One path asked without credentials, and with the scanner's or operator's."""

    path: str
    anonymous: Attempt
    authenticated: Attempt


class AnonymousAccess(Fact, frozen=True):
    """``paths`` must be closed to anonymous callers, except those in ``open_paths``."""

    paths: tuple[AnonymousPath, ...]
    open_paths: tuple[str, ...]
    unseen: tuple[Unseen, ...] = ()


class DefaultsTrial(Struct, frozen=True):
    """A pod created without requests or limits: what admission made of its containers."""

    namespace: str
    attempt: Attempt
    containers: tuple[Container, ...]


class Defaults(Fact, frozen=True):
    """One trial for each environment namespace."""

    trials: tuple[DefaultsTrial, ...]
    unseen: tuple[Unseen, ...] = ()
