"""Who holds the lease, and whether that process still lives."""

from __future__ import annotations

import subprocess
import sys

from harness.lease import Holder, process_start


def test_this_process_is_alive_and_survives_the_round_trip() -> None:
    me = Holder.me("run-1")
    assert Holder.parse(me.identity) == me
    assert not me.dead


def test_a_process_that_ended_is_dead_at_once() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = Holder.me("run-1")
    holder = Holder(me.run, me.host, child.pid, process_start(child.pid))
    assert not holder.dead
    child.communicate(b"\n")
    assert holder.dead


def test_a_reused_pid_is_another_process() -> None:
    me = Holder.me("run-1")
    assert Holder(me.run, me.host, me.pid, "1").dead


def test_a_holder_on_another_machine_is_never_taken_for_dead() -> None:
    assert not Holder.parse("run-2|elsewhere|1|1").dead
    assert not Holder.parse("something-else").dead
