"""Container images written by hand: layers as tar files, an image as one OCI archive (image-spec v1, `oci-archive`).

Plain tar and JSON rather than a builder: the same content gives the same bytes, no daemon, no storage of its own to
clean, and as fast as the disk. containerd, skopeo and podman read it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPEC = "application/vnd.oci.image"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CREATED = "1970-01-01T00:00:00Z"
"""Constant, so that an image depends on its content alone."""


@dataclass(frozen=True)
class Entry:
    """One thing in a layer, at `path` (relative, no leading slash): a file's bytes or source, a link, or a folder."""

    path: str
    content: bytes | Path | None = None
    link: str = ""
    mode: int = 0o755
    owner: int = 0


@dataclass(frozen=True)
class Layer:
    """An uncompressed layer: it is copied on one disk only, where to compress would cost more than it saves."""

    file: Path
    digest: str
    size: int


def write_layer(target: Path, entries: Iterable[Entry]) -> Layer:
    """Write a layer's tar, in the order of the paths, without times or names of owners."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(entries, key=lambda entry: entry.path):
            info = tarfile.TarInfo(entry.path)
            info.mode, info.uid, info.gid = entry.mode, entry.owner, entry.owner
            if entry.link:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
                tar.addfile(info)
            elif entry.content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif isinstance(entry.content, Path):
                info.size = entry.content.stat().st_size
                with entry.content.open("rb") as source:
                    tar.addfile(info, source)
            else:
                info.size = len(entry.content)
                tar.addfile(info, io.BytesIO(entry.content))
    return layer(target)


def layer(file: Path) -> Layer:
    """A layer that is written already."""
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return Layer(file, f"sha256:{digest}", file.stat().st_size)


def write_archive(
    target: Path,
    reference: str,
    layers: Iterable[Layer],
    *,
    entrypoint: Iterable[str] = (),
    user: str = "",
    path: str = "",
) -> None:
    """Write an OCI archive of one image for linux/amd64, named `reference`.

    `user`: "" is root. `path`: a folder that is searched for programs before the usual ones.
    """
    layers = tuple(layers)
    config = _json(
        {
            "created": CREATED,
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "User": user,
                "Env": [f"PATH={path}:{PATH}" if path else f"PATH={PATH}"],
                "Entrypoint": list(entrypoint),
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [each.digest for each in layers]},
            "history": [{"created": CREATED, "created_by": "finbot-verify"} for _ in layers],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{SPEC}.manifest.v1+json",
            "config": _descriptor(config, f"{SPEC}.config.v1+json"),
            "layers": [
                {"mediaType": f"{SPEC}.layer.v1.tar", "digest": each.digest, "size": each.size} for each in layers
            ],
        }
    )
    names = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rpartition(":")[2]}
    index = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{SPEC}.index.v1+json",
            "manifests": [
                _descriptor(manifest, f"{SPEC}.manifest.v1+json")
                | {"annotations": names, "platform": {"architecture": "amd64", "os": "linux"}}
            ],
        }
    )
    files = [
        Entry("oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
        Entry("index.json", index),
        *(Entry(_blob(_digest(content)), content) for content in (config, manifest)),
        *(Entry(_blob(digest), file) for digest, file in {each.digest: each.file for each in layers}.items()),
    ]
    write_layer(target, (Entry(file.path, file.content, mode=0o644) for file in files))


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
