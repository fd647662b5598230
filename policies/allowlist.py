"""The subjects that hold dangerous powers by Kubernetes' own design, so that each target lists only its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from policies.catalogue import Sentence
from policies.documents import Strict, load

KUBERNETES: Final = Path(__file__).parent / "allowlists" / "kubernetes.yaml"


class Holder(Strict):
    """A subject, the powers it may hold (clauses of 1.4) and why."""

    subject: Annotated[str, Field(pattern=r"^(User/.+|Group/.+|ServiceAccount/[^/]+/[^/]+)$")] = Field(
        description="User/name, Group/name or ServiceAccount/namespace/name; * stands for any text."
    )
    powers: Annotated[
        tuple[Literal["cluster-admin", "wildcards", "secrets-read", "escalation"], ...], Field(min_length=1)
    ]
    reason: Sentence


class Allowlist(Strict):
    """All holders of one origin."""

    origin: Sentence = Field(description="Where they come from, with the version that was read.")
    allow: tuple[Holder, ...]


def load_allowlist(path: Path = KUBERNETES) -> Allowlist:
    """The holders in the file. Raises `DocumentError`."""
    return load(path, Allowlist)
