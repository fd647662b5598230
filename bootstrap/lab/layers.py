"""The bootstrap's layers on the lab: the same scripts as on a real cluster, with the lab's values."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from bootstrap.lab import build
from bootstrap.lab.commands import run
from bootstrap.lab.layout import BIN, BOOTSTRAP, KUBECONFIG, LAYERS_APPLIED, NAME, STATE
from bootstrap.lab.templates import write

VALUES = BOOTSTRAP / "values/lab.env"
IMAGE_VALUES = STATE / "images.env"
"""Names of the images as this lab has them: the part of the values that no file of the checkout can know."""
LAYERS_TIMEOUT_S = 300.0
OPENREPORTS = "openreports-crds"


def write_image_values(references: Mapping[str, str]) -> None:
    """Hand the layers each image's reference as NAME_IMAGE."""
    lines = [f"{name.upper().replace('-', '_')}_IMAGE={reference}\n" for name, reference in references.items()]
    write(IMAGE_VALUES, "".join(lines))


def digest() -> str:
    """Of all layers, their values, and the images they are given."""
    found = hashlib.sha256(build.pins().components[OPENREPORTS].key.encode())
    for path in sorted([*(BOOTSTRAP / "layers").rglob("*"), BOOTSTRAP / "run.sh", VALUES, IMAGE_VALUES]):
        if path.is_file():
            found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def applied() -> bool:
    """Whether the layers as they are now have been applied to this lab."""
    return LAYERS_APPLIED.exists() and LAYERS_APPLIED.read_text() == digest()


def apply(report: build.Report) -> None:
    """Apply all layers."""
    crds = build.build([OPENREPORTS], report).binary(OPENREPORTS)
    run(
        *(BOOTSTRAP / "run.sh", "--values", VALUES, "--values", IMAGE_VALUES, "--no-wait"),
        env={
            "PATH": f"{BIN}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "HOME": str(STATE),
            "KUBECONFIG": str(KUBECONFIG),
            "CONTEXT": NAME,
            "OPENREPORTS_CRDS": str(crds),
        },
        timeout_s=LAYERS_TIMEOUT_S,
    )
    write(LAYERS_APPLIED, digest())
