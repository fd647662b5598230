"""Debian's packages that the lab needs on the machine itself. None of their services is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bootstrap.lab.errors import LabError

PACKAGES = {
    "runc": "starts containers",
    "iproute2": "bridge, links and routes",
    "iptables": "rules of kube-proxy, Flannel and the network policies",
    "ipset": "sets of addresses in those rules",
    "conntrack": "connections that those rules have seen",
    "haproxy": "the API endpoint in front of three servers",
    "openssh-server": "each node can be reached as a real machine is",
    "openssh-client": "the keys for that",
    "procps": "kernel settings of a node",
    "util-linux": "namespaces of a node",
    "mmdebstrap": "Debian layers of images",
    "gcc": "the pause program is written in C",
    "libc6-dev": "the same",
}
"""Package: what for."""
SERVICES = {"haproxy": "haproxy.service", "openssh-server": "ssh.service"}
"""Units that come with a package. The lab runs these programs itself, and they must not appear after a reboot."""

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Made while the finbot lab installs packages: no service is started.\nexit 101\n"
TIMEOUT_S = 900
"""Fetching some 100 MB over a slow line."""
LOCK_TIMEOUT_S = 120
"""How long apt waits for another package manager, such as the machine's own updates."""

Report = Callable[[str], None]


def missing() -> list[str]:
    """The packages of PACKAGES that are not installed. Raises LabError on a machine that is no Debian."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        raise LabError("The lab runs on Debian or Ubuntu, whose packages it uses; there is no dpkg or apt-get here.")
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *PACKAGES],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,  # it fails when it does not know one of them, and still lists the others
    )
    installed = {
        name for name, _, status in (line.partition(" ") for line in done.stdout.splitlines()) if status == "installed"
    }
    return [name for name in PACKAGES if name not in installed]


def install(report: Report) -> None:
    """Install what is missing. Raises LabError with what apt-get said."""
    wanted = missing()
    if not wanted:
        return
    began = time.monotonic()
    with _no_services():
        _apt("update", "-q")
        _apt("install", "-q", "-y", "--no-install-recommends", *wanted)
    _disable(wanted)
    report(f"installed {', '.join(wanted)} in {time.monotonic() - began:.0f} s")


@contextmanager
def _no_services() -> Iterator[None]:
    """Debian asks this program before it starts a service. One that the machine has already stays as it is."""
    ours = not POLICY.exists() or POLICY.read_text(errors="replace") == POLICY_TEXT
    if ours:
        POLICY.write_text(POLICY_TEXT)
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def _disable(installed: list[str]) -> None:
    if Path("/run/systemd/system").is_dir():
        for unit in (SERVICES[name] for name in installed if name in SERVICES):
            subprocess.run(["systemctl", "disable", "--quiet", unit], stdin=subprocess.DEVNULL, check=False)


def _apt(*arguments: str) -> None:
    command = ["apt-get", "-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT_S}", *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(command)}` did not end within {TIMEOUT_S} s; try it by hand.") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise LabError(
            f"`{' '.join(command)}` failed with exit code {done.returncode}; try it by hand. It said:\n{said}"
        )
