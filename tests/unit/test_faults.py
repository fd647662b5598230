"""The faults' own commands, run for real in a network namespace of their own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures import faults
from fixtures.faults import FAULTS, Fault
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause
from targets.model import load_target

LISTED = "iptables -t mangle -S | grep VERIFY-CUT || true"


def settings(max_seconds: str) -> str:
    values = {"uplink": "up0", "port": "22", "max_seconds": max_seconds, "undo": faults._UNDO}
    return "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())


def inject(max_seconds: str = "60") -> str:
    """What the fault runs on a node, in a shell of its own as over SSH."""
    script = "\n".join((faults._DISARM, faults._UNDO, settings(max_seconds), faults._INJECT))
    return f"sh -c {shlex.quote(script)}\n"


UNDO = f"sh -c {shlex.quote(faults._DISARM + faults._UNDO)}\n"


def in_namespace(script: str) -> str:
    """What a script prints in a fresh network namespace with an interface up0 and an empty /run."""
    lines = (
        "set -e",
        "mount -t tmpfs tmpfs /run",
        "ip link set lo up",
        "ip link add up0 type veth peer name peer0",
        script,
    )
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
    done = subprocess.run([*command, "\n".join(lines)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_root = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("iptables", path="/usr/sbin:/sbin:/usr/bin") is None,
    reason="needs root and iptables for a network namespace",
)

CUT = """-N VERIFY-CUT
-A PREROUTING -i up0 -j VERIFY-CUT
-A POSTROUTING -o up0 -j VERIFY-CUT
-A VERIFY-CUT -p tcp -m tcp --dport 22 -j RETURN
-A VERIFY-CUT -p tcp -m tcp --sport 22 -j RETURN
-A VERIFY-CUT -j DROP
"""


@needs_root
def test_the_cut_is_the_same_injected_twice() -> None:
    assert in_namespace(inject() + LISTED) == CUT
    assert in_namespace(inject() + inject() + LISTED) == CUT


@needs_root
def test_the_undo_leaves_nothing_and_may_be_repeated() -> None:
    left = f"{LISTED}\nls /run\npgrep -f 'VERIFY-CUT [0-9]' || true"
    assert in_namespace(inject() + UNDO + left) == ""
    assert in_namespace(inject() + UNDO + UNDO + left) == ""
    assert in_namespace(UNDO + left) == "", "where it was never injected"


@needs_root
def test_rules_of_others_stay() -> None:
    other = "iptables -t mangle -A PREROUTING -i up0 -j ACCEPT\n"
    shown = in_namespace(other + inject() + UNDO + "iptables -t mangle -S PREROUTING")
    assert shown == "-P PREROUTING ACCEPT\n-A PREROUTING -i up0 -j ACCEPT\n"


@needs_root
def test_the_node_mends_itself_when_nobody_does() -> None:
    wait = "for i in $(seq 50); do iptables -t mangle -S VERIFY-CUT >/dev/null 2>&1 || break; sleep 0.1; done\n"
    assert in_namespace(inject("1") + wait + LISTED + "\nsleep 0.2; ls /run") == ""


@needs_root
def test_dropped_packets_are_counted() -> None:
    send = "ip addr add 192.0.2.1/24 dev up0; ip link set up0 up; ip link set peer0 up\n"
    send += "ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev up0\n"
    send += "bash -c 'for n in 1 2; do echo $n > /dev/udp/192.0.2.2/9; done' 2>/dev/null || true\n"
    assert in_namespace(faults._DROPPED) == ""
    assert int(in_namespace(inject() + send + faults._DROPPED)) >= 2


def test_faults_are_found_by_their_own_names() -> None:
    assert all(name == fault.name for name, fault in FAULTS.items())


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_without_a_way_to_the_node_nothing_is_injected(fault: Fault, tmp_path: Path) -> None:
    target = load_target("lab").model_copy(update={"ssh": None})
    parameters = {"node": "cp1", "address": "192.0.2.1", "uplink": "eth0", "max_seconds": "60"}
    for step in (fault.inject, fault.undo, fault.proof):
        with pytest.raises(Unobservable) as caught:
            step(target, parameters)
        assert caught.value.unseen.cause is Cause.ABSENT
    assert "cp1" in fault.touches.format(**parameters)
