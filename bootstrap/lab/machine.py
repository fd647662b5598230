"""Settings of the machine's kernel that the lab needs, and their return to what they were."""

from __future__ import annotations

import json
from pathlib import Path

from bootstrap.lab.layout import HOST
from bootstrap.lab.templates import write

SAVED = HOST / "sysctl.json"

NEEDED = {
    # Six kubelets and containerds watch files; the usual 128 watchers do not suffice.
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 524288,
    # What every kubelet sets by itself; set here so that it is known what to set back.
    "vm/overcommit_memory": 1,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
AT_LEAST = {"fs/inotify/max_user_instances", "fs/inotify/max_user_watches"}


def tune() -> None:
    """Set what is needed; what was there first is saved once."""
    before: dict[str, int] = {}
    for name, wanted in NEEDED.items():
        path = Path("/proc/sys", name)
        if not path.exists():
            continue
        found = int(path.read_text())
        before[name] = found
        if found != wanted and not (name in AT_LEAST and found > wanted):
            path.write_text(str(wanted))
    if not SAVED.exists():
        write(SAVED, json.dumps(before))


def restore() -> None:
    """Set back what `tune` found."""
    if SAVED.exists():
        for name, value in json.loads(SAVED.read_text()).items():
            Path("/proc/sys", name).write_text(str(value))
        SAVED.unlink()
