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
MANIFESTS = {
    "OPENREPORTS_CRDS": "openreports-crds",
    "LOCAL_PATH_MANIFEST": "local-path-manifest",
    "CLOUDNATIVE_PG_MANIFEST": "cloudnative-pg-manifest",
}
"""Files of other makers, by the value that a layer knows them by."""


def write_image_values(references: Mapping[str, str]) -> None:
    """Hand the layers each image's reference as NAME_IMAGE."""
    lines = [f"{name.upper().replace('-', '_')}_IMAGE={reference}\n" for name, reference in references.items()]
    write(IMAGE_VALUES, "".join(lines))


def digest() -> str:
    """Of all layers, their values, and the images they are given."""
    found = hashlib.sha256("".join(build.pins().components[name].key for name in MANIFESTS.values()).encode())
    scripts = (BOOTSTRAP / "run.sh", BOOTSTRAP / "lib.sh")
    for path in sorted([*(BOOTSTRAP / "layers").rglob("*"), *scripts, VALUES, IMAGE_VALUES]):
        if path.is_file():
            found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def applied() -> bool:
    """Whether the layers as they are now have been applied to this lab."""
    return LAYERS_APPLIED.exists() and LAYERS_APPLIED.read_text() == digest()


def apply(report: build.Report) -> None:
    """Apply all layers."""
    built = build.build(MANIFESTS.values(), report)
    run(
        *(BOOTSTRAP / "run.sh", "--values", VALUES, "--values", IMAGE_VALUES, "--no-wait"),
        env={
            "PATH": f"{BIN}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "HOME": str(STATE),
            "KUBECONFIG": str(KUBECONFIG),
            "CONTEXT": NAME,
            **{value: str(built.binary(name)) for value, name in MANIFESTS.items()},
        },
        timeout_s=LAYERS_TIMEOUT_S,
    )
    write(LAYERS_APPLIED, digest())
