"""What the probes say, as fping, dig and curl print it, and what is made of it."""

from __future__ import annotations

import subprocess

from fixtures.network import (
    CONNECTIONS,
    QUESTIONS,
    Name,
    Probe,
    parse_answers,
    parse_connections,
    parse_packets,
    script,
)
from policies.facts.network import PairLoss

PROBES = (
    Probe("cp1", "probe-a", "10.244.0.5"),
    Probe("w1", "probe-b", "10.244.3.7"),
    Probe("w2", "probe-c", "fd00::7"),
)
SERVICE = Name("service", "kubernetes.default.svc.", ("10.96.0.1",))
HEADLESS = Name("headless", "h.default.svc.", ("10.244.1.2", "10.244.2.2"))
EXTERNAL = Name("external", "partner.example.internal.", ())
ADDRESS = Name("service-ip", "default/kubernetes", ("10.96.0.1",), 443)


def answer(status: str = "NOERROR", *records: str, usec: int = 250) -> str:
    """One answer as dig 9.18 prints it with +noall +comments +answer +stats -u."""
    lines = [
        ";; Got answer:",
        ";; WARNING: .local is reserved for Multicast DNS",
        ";; You are currently testing what happens when an mDNS query is leaked to DNS",
        f";; ->>HEADER<<- opcode: QUERY, status: {status}, id: 7750",
        ";; flags: qr aa rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1",
        "",
        ";; OPT PSEUDOSECTION:",
        "; EDNS: version: 0, flags:; udp: 1232",
        ";; ANSWER SECTION:",
        *records,
        "",
        f";; Query time: {usec} usec",
        ";; SERVER: 10.96.0.10#53(10.96.0.10) (UDP)",
        ";; MSG SIZE  rcvd: 117",
        "",
    ]
    return "\n".join(lines) + "\n"


def record(address: str, kind: str = "A") -> str:
    return f"kubernetes.default.svc.cluster.local. 30 IN\t{kind}\t{address}"


TIMED_OUT = ";; communications error to 10.96.0.10#53: timed out\n;; no servers could be reached\n"


def test_packets_of_each_destination_are_counted() -> None:
    text = (
        "10.244.3.7 : xmt/rcv/%loss = 20/20/0%, min/avg/max = 0.022/0.075/0.178\n"
        "fd00::7    : xmt/rcv/%loss = 20/0/100%\n"
        "192.0.2.1  : xmt/rcv/%loss = 20/20/0%, min/avg/max = 0.022/0.075/0.178\n"
        "ICMP Host Unreachable from 10.231.0.11 for ICMP Echo sent to fd00::7\n"
    )
    assert parse_packets(text, "cp1", PROBES[1:]) == (PairLoss("cp1", "w1", 20, 20), PairLoss("cp1", "w2", 20, 0))


def test_a_tool_that_did_not_run_measured_nothing() -> None:
    assert parse_packets("sh: 1: fping: Operation not permitted\n", "cp1", PROBES[1:]) == ()
    nothing = parse_answers("sh: 1: dig: not found\n", "cp1", SERVICE)
    assert (nothing.asked, nothing.answered, nothing.times_ms) == (QUESTIONS, 0, ())


def test_every_right_answer_counts_with_its_time() -> None:
    seen = parse_answers(answer("NOERROR", record("10.96.0.1"), usec=1500) * QUESTIONS, "w1", SERVICE)
    assert (seen.answered, seen.addresses, seen.detail) == (QUESTIONS, ("10.96.0.1",), "")
    assert seen.times_ms == (1.5,) * QUESTIONS


def test_a_part_of_the_addresses_is_not_the_right_answer() -> None:
    both = answer("NOERROR", record("10.244.2.2"), record("10.244.1.2"))
    seen = parse_answers(both + answer("NOERROR", record("10.244.1.2")), "w1", HEADLESS)
    assert (seen.answered, len(seen.times_ms)) == (1, 2)


def test_an_external_name_may_stand_behind_another_and_for_any_address() -> None:
    alias = "partner.example.internal. 30 IN\tCNAME\tp.example.internal."
    seen = parse_answers(answer("NOERROR", alias, "p.example.internal. 30 IN\tA\t192.0.2.7"), "w1", EXTERNAL)
    assert (seen.answered, seen.addresses) == (1, ("192.0.2.7",))
    assert parse_answers(answer("NOERROR", alias), "w1", EXTERNAL).answered == 0


def test_refusals_and_silence_are_told_and_never_counted() -> None:
    seen = parse_answers(answer("SERVFAIL") + answer("NXDOMAIN") + TIMED_OUT, "w1", SERVICE)
    assert (seen.answered, len(seen.times_ms)) == (0, 2)
    assert seen.detail.startswith("SERVFAIL; NXDOMAIN; communications error to 10.96.0.10#53: timed out")


def test_milliseconds_are_understood_as_well() -> None:
    text = answer("NOERROR", record("10.96.0.1")).replace("250 usec", "12 msec")
    assert parse_answers(text, "w1", SERVICE).times_ms == (12.0,)


def test_the_record_asked_for_is_of_the_address_expected() -> None:
    assert (SERVICE.record, EXTERNAL.record) == ("A", "A")
    assert Name("service", "k.default.svc.", ("fd00::1",)).record == "AAAA"


def test_a_connection_that_did_not_come_about_took_no_time() -> None:
    seen = parse_connections("connected 0.000412\nconnected 0.000000\n", "w1", ADDRESS)
    assert (seen.asked, seen.answered, seen.times_ms) == (CONNECTIONS, 1, (0.412,))
    assert seen.detail == "no TCP connection to 10.96.0.1:443"
    assert parse_connections("connected 0.001\n" * CONNECTIONS, "w1", ADDRESS).detail == ""


def test_the_script_is_one_that_a_shell_takes() -> None:
    text = script(PROBES, (SERVICE, HEADLESS, EXTERNAL, ADDRESS, Name("service-ip", "a/b", ("fd00::1",), 80)), 20)
    subprocess.run(["sh", "-n", "-c", text], check=True)
    assert '"$fping" -q -c 20 ' in text
    assert text.count("kubernetes.default.svc.$domain. A") == QUESTIONS
    assert text.count("partner.example.internal. A") == QUESTIONS
    assert "http://[fd00::1]:80/" in text
