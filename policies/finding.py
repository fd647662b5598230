"""What a rule says of one subject."""

from __future__ import annotations

from msgspec import Struct

from policies.facts.base import Cause, Unseen


class Finding(Struct, frozen=True):
    """One judged subject.

    ``ok`` is True or False where the subject was seen, and None where it was not; then ``cause`` says why.
    ``expected`` and ``observed`` are halves of one sentence, with units: ``at most 30 s (api_write_gap)`` and
    ``writes stopped for 41.2 s``.
    """

    subject: str
    expected: str
    observed: str
    ok: bool | None
    cause: Cause | None = None
    remedy: str = ""
    """How this subject is mended, where the rule knows better than the catalogue's general remediation."""

    @classmethod
    def unseen(cls, subject: str, expected: str, unseen: Unseen) -> Finding:
        """The finding for a subject that could not be looked at."""
        observed = unseen.detail if unseen.what == subject else f"{unseen.what}: {unseen.detail}"
        return cls(subject, expected, observed, None, unseen.cause, unseen.remedy)
