"""Settings files of the lab: text in config/ and manifests/ with $names filled in."""

from __future__ import annotations

from pathlib import Path
from string import Template

from bootstrap.lab.layout import HERE


def render(file: str, /, **values: object) -> str:
    """The file `file` below bootstrap/lab with every $value filled in. KeyError where one is missing: that is a bug."""
    return Template((HERE / file).read_text()).substitute({key: str(value) for key, value in values.items()})


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all, its folder included, never readable by more than `mode` allows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    part.touch(mode)
    part.chmod(mode)
    part.write_text(text)
    part.replace(path)
