"""Control groups: what a node's kubelet needs, and the lab's register of what is its own.

Every process of the lab lives below the group ``/finbot-lab``, so that finding, measuring and ending them needs no
pid files which a crash could leave wrong.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bootstrap.lab.errors import LabError
from bootstrap.lab.layout import NAME
from bootstrap.lab.waiting import wait_until

KUBELET_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids")
MOUNT_OPTIONS = {"rw", "ro", "relatime", "noatime", "nosuid", "nodev", "noexec", "xattr", "seclabel", "clone_children"}
"""What stands beside the controllers' names in the options of a cgroup mount."""
LAB_WEIGHT = 4
"""Of the processor, against any other program of the machine: six nodes are one group, and together would else get no
more than one busy program does."""
WEIGHTS = {"cpu.shares": 1024, "cpu.weight": 100}
"""A group's file, by version of cgroups, and what is usual in it."""
END_TIMEOUT_S = 20.0
"""SIGKILL is certain, but a process in the middle of disk writes ends only after them."""


@cache
def hierarchies() -> dict[str, Path]:
    """Mounted cgroup hierarchies: controller name to mount point, and "unified" for that of cgroup v2.

    A machine may have v1 alone, v2 alone, or both, v2 then without controllers.
    """
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup":
            for option in options.split(","):
                if option not in MOUNT_OPTIONS and not option.startswith("release_agent="):
                    found.setdefault(option, Path(point))
        elif kind == "cgroup2":
            found.setdefault("unified", Path(point))
    return found


def version_2() -> bool:
    """Whether the controllers are those of cgroup v2."""
    return "memory" not in hierarchies()


@dataclass(frozen=True)
class Cgroup:
    """One group, in every hierarchy. `name` is its path below the root, such as ``finbot-lab/w1/system``."""

    name: str

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(point / self.name for point in hierarchies().values()))

    def path(self, controller: str) -> Path:
        points = hierarchies()
        return points.get(controller, points.get("unified", Path("/nonexistent"))) / self.name

    def create(self) -> None:
        """Make the group, its parents included, usable for processes at once."""
        if not hierarchies():
            raise LabError("No cgroup hierarchy is mounted; mount cgroups at /sys/fs/cgroup, the kubelet needs them.")
        for controller, point in hierarchies().items():
            path = point
            for part in Path(self.name).parts:
                if controller == "unified" and version_2():
                    wanted = " ".join(f"+{c}" for c in ("cpu", "cpuset", "memory", "pids"))
                    (path / "cgroup.subtree_control").write_text(wanted)
                parent, path = path, path / part
                path.mkdir(exist_ok=True)
                for name, usual in WEIGHTS.items():
                    if parent == point and (path / name).exists():
                        (path / name).write_text(str(usual * LAB_WEIGHT))
                if controller == "cpuset":
                    # A new cpuset is empty and takes no process before it has processors and memory nodes.
                    for name in ("cpuset.cpus", "cpuset.mems"):
                        if not (path / name).read_text().strip():
                            (path / name).write_text((parent / name).read_text())
                    (path / "cgroup.clone_children").write_text("1")

    def exists(self) -> bool:
        return any(path.exists() for path in self.paths)

    def pids(self) -> set[int]:
        """Processes in the group and all groups below it, as this machine numbers them."""
        found: set[int] = set()
        for path in self.paths:
            for folder, _, _ in os.walk(path):
                try:
                    found.update(int(word) for word in (Path(folder) / "cgroup.procs").read_text().split())
                except OSError:
                    continue  # the group went away while we walked
        return found

    def processes(self) -> dict[str, int]:
        """Program name (the kernel's comm) to pid of what runs in this group itself, zombies left out."""
        found: dict[str, int] = {}
        try:
            pids = (self.path("memory") / "cgroup.procs").read_text().split()
        except OSError:
            return found
        for pid in pids:
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            name, _, rest = stat.partition("(")[2].rpartition(")")
            if not rest.startswith(" Z"):
                found.setdefault(name, int(pid))
        return found

    def memory_bytes(self) -> int:
        """Memory in use by the group and below, without the page cache that the kernel would give back."""
        stat = self.path("memory") / "memory.stat"
        numbers: dict[str, int] = {}
        try:
            for line in stat.read_text().splitlines():
                key, _, value = line.partition(" ")
                numbers[key] = int(value)
        except OSError:
            return 0
        if "total_rss" in numbers:
            return numbers["total_rss"] + numbers.get("total_shmem", 0)
        return numbers.get("anon", 0) + numbers.get("shmem", 0) + numbers.get("slab_unreclaimable", 0)

    def cpu_seconds(self) -> float:
        """Processor time used by the group and below since it was made."""
        try:
            if version_2():
                for line in (self.path("unified") / "cpu.stat").read_text().splitlines():
                    if line.startswith("usage_usec "):
                        return int(line.split()[1]) / 1e6
                return 0.0
            return int((self.path("cpuacct") / "cpuacct.usage").read_text()) / 1e9
        except OSError:
            return 0.0

    def end(self) -> None:
        """Kill every process in the group and below, and wait until they are gone."""

        def gone() -> tuple[bool | None, str]:
            left = self.pids()
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            return (None if left else True), f"{len(left)} processes of {self.name}"

        wait_until(gone, END_TIMEOUT_S, f"the processes of {self.name} to end", interval_s=0.05)

    def remove(self) -> None:
        """Remove the group and all below it; they must hold no process any more."""

        def removed() -> tuple[bool | None, str]:
            busy = ""
            for top in self.paths:
                for folder, _, _ in os.walk(top, topdown=False):
                    try:
                        Path(folder).rmdir()
                    except FileNotFoundError:
                        continue
                    except OSError as error:  # the kernel lets go of an ended process a moment later
                        busy = f"{folder}: {error.strerror}"
            return (None if busy else True), busy

        wait_until(removed, END_TIMEOUT_S, f"the control groups below {self.name} to go", interval_s=0.05)


LAB = Cgroup(NAME)
HOST_SERVICES = Cgroup(f"{NAME}/host")


def node_group(node: str) -> Cgroup:
    """The kubelet's cgroupRoot: all of a node."""
    return Cgroup(f"{NAME}/{node}")


def node_services(node: str) -> Cgroup:
    """The node's own services (containerd, kubelet, sshd), beside its pods."""
    return Cgroup(f"{NAME}/{node}/system")
