"""The nodes' images: unpacked once, then given to every node of every lab as hard links.

containerd never writes into an unpacked layer or a blob, it only makes and removes them; so six nodes may share one
copy, on disk and in memory, and the next lab the same one. Its databases it does write; of these each node has its own.
The copy is kept in ``<cache>/unpacked/<key>``, in the lab's own folder where that is on another disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from bootstrap.lab.build import Artifacts, content_key
from bootstrap.lab.cgroups import HOST_SERVICES, Cgroup
from bootstrap.lab.commands import SYSTEM_PATH, run, start
from bootstrap.lab.layout import BIN, STATE, Node, cache
from bootstrap.lab.templates import render, write
from bootstrap.lab.waiting import wait_until

STORE = STATE / "images"
SOCKET = STORE / "containerd.sock"
GROUP = Cgroup(f"{HOST_SERVICES.name}/images")
START_TIMEOUT_S = 20.0
IMPORT_TIMEOUT_S = 300.0


def unpacked(archives: Iterable[Path], artifacts: Artifacts) -> Path:
    """The folder that has these archives unpacked, made where it is not there yet. Only the newest one is kept."""
    archives = tuple(archives)
    same_disk = cache().stat().st_dev == STATE.stat().st_dev
    stores = (cache() if same_disk else STATE) / "unpacked"
    settings = {"archives": [archive.name for archive in archives], "by": artifacts.component("containerd").key}
    ready, unfinished = stores / content_key(settings), stores / "unfinished"
    if not ready.exists():
        shutil.rmtree(stores, ignore_errors=True)
        stores.mkdir()
        _unpack(archives, unfinished)
        os.sync()  # what is under its final name is whole, after a power cut too
        unfinished.rename(ready)
    return ready


def _unpack(archives: Iterable[Path], root: Path) -> None:
    """Import the archives into a containerd that runs for this alone."""
    write(
        STORE / "containerd.toml", render("config/containerd-store.toml", root=root, state=STORE / "run", socket=SOCKET)
    )
    GROUP.create()
    # In a mount namespace of its own, so that no mount of it can outlive it.
    start(
        ("unshare", "--mount", BIN / "containerd", "--config", STORE / "containerd.toml"),
        GROUP,
        STORE / "containerd.log",
        {"PATH": f"{BIN}:{SYSTEM_PATH}"},
    )
    try:

        def answers() -> tuple[bool | None, str]:
            said = _ctr("--connect-timeout", "1s", "version", check=False)
            return (True if "Server:" in said else None), said.strip()[-200:]

        log = STORE / "containerd.log"
        wait_until(answers, START_TIMEOUT_S, "the containerd that unpacks", interval_s=0.1, hint=f"See {log}.")
        for archive in archives:
            _ctr("-n", "k8s.io", "images", "import", "--local", "--discard-unpacked-layers", archive)
    finally:
        GROUP.end()
        GROUP.remove()


def _ctr(*arguments: str | Path, check: bool = True) -> str:
    return run(BIN / "ctr", "--address", SOCKET, *arguments, check=check, timeout_s=IMPORT_TIMEOUT_S)


def share(unpacked: Path, node: Node) -> None:
    """Give the node all images of the folder."""
    target = node.root / "var/lib/containerd"
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    run("cp", "-a", "--link", unpacked, target)
    for database in target.rglob("*.db"):
        own = database.with_suffix(".own")
        shutil.copyfile(database, own)
        own.replace(database)
