"""The bootstrap's layers on the lab: the same scripts as on a real cluster, with the lab's values."""

from __future__ import annotations

import hashlib
import os

from bootstrap.lab.commands import run
from bootstrap.lab.layout import BIN, BOOTSTRAP, KUBECONFIG, LAYERS_APPLIED, NAME, STATE
from bootstrap.lab.templates import write

VALUES = BOOTSTRAP / "values/lab.env"
LAYERS_TIMEOUT_S = 300.0


def digest() -> str:
    """Of all layers, their values, and the images they are given."""
    found = hashlib.sha256()
    for path in sorted([*(BOOTSTRAP / "layers").rglob("*"), BOOTSTRAP / "run.sh", VALUES, STATE / "images.env"]):
        if path.is_file():
            found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def applied() -> bool:
    """Whether the layers as they are now have been applied to this lab."""
    return LAYERS_APPLIED.exists() and LAYERS_APPLIED.read_text() == digest()


def apply() -> None:
    """Apply all layers."""
    run(
        *(BOOTSTRAP / "run.sh", "--values", VALUES, "--values", STATE / "images.env", "--no-wait"),
        env={
            "PATH": f"{BIN}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "HOME": str(STATE),
            "KUBECONFIG": str(KUBECONFIG),
            "CONTEXT": NAME,
        },
        timeout_s=LAYERS_TIMEOUT_S,
    )
    write(LAYERS_APPLIED, digest())
