"""The lab's cables: one bridge on the machine, one veth pair a node. No address translation, no way out."""

from __future__ import annotations

import ipaddress
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from bootstrap.lab.commands import run
from bootstrap.lab.layout import BRIDGE, BRIDGE_ADDRESS, NODE_NETWORK, Node

IFF_UP = 1
GUARD = (("-i", BRIDGE, "!", "-o", BRIDGE, "-j", "DROP"), ("-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"))
"""Rules of the chain FORWARD, as `iptables -S` prints them."""
PREFIX = ipaddress.ip_network(NODE_NETWORK).prefixlen


@dataclass(frozen=True)
class Address:
    """An address of this machine. `network` is the CIDR that it is part of."""

    interface: str
    network: ipaddress.IPv4Network


def addresses() -> list[Address]:
    """IPv4 addresses and routed networks of this machine, the default route left out."""
    found = [
        Address(link["ifname"], ipaddress.IPv4Interface(f"{info['local']}/{info['prefixlen']}").network)
        for link in json.loads(run("ip", "-j", "-4", "addr"))
        for info in link.get("addr_info", [])
    ]
    for route in json.loads(run("ip", "-j", "-4", "route")):
        if route["dst"] != "default":
            found.append(Address(route.get("dev", ""), ipaddress.IPv4Network(route["dst"], strict=False)))
    return list(dict.fromkeys(found))


def link_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def create_bridge() -> None:
    """The bridge with the machine's address on it; nothing where it is there already."""
    if not link_exists(BRIDGE):
        run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "replace", f"{BRIDGE_ADDRESS}/{PREFIX}", "brd", "+", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    guard()


def guard() -> None:
    """Let the nodes' traffic pass the machine's own firewall, and nothing of it leave the machine.

    Only where the machine forwards or filters forwarded packets; where it does not, no rule is needed.
    """
    forwards = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    if not forwards and run("iptables", "-S", "FORWARD").split() == ["-P", "FORWARD", "ACCEPT"]:
        return
    for rule in GUARD:
        if run("iptables", "-S", "FORWARD").find(" ".join(rule)) < 0:
            run("iptables", "-I", "FORWARD", *rule)


def _unguard() -> None:
    """Take the rules of `guard` away."""
    present = run("iptables", "-S", "FORWARD")
    for rule in GUARD:
        if " ".join(rule) in present:
            run("iptables", "-D", "FORWARD", *rule)


def remove_links(nodes: tuple[Node, ...]) -> None:
    """Take all the lab's links, and the rules for them, off the machine."""
    if shutil.which("iptables"):
        _unguard()
    for name in (*(node.link for node in nodes), BRIDGE):
        if link_exists(name):
            run("ip", "link", "delete", name)


def connect(node: Node, pid: int) -> None:
    """Give the node whose process 1 is `pid` its eth0 on the bridge."""
    if link_exists(node.link):
        run("ip", "link", "delete", node.link)
    run("ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    run("ip", "link", "set", node.link, "master", BRIDGE, "up")
    run(
        *("nsenter", "-t", str(pid), "-n", "ip", "-batch", "-"),
        stdin=f"addr add {node.address}/{PREFIX} brd + dev eth0\n"
        "link set eth0 up\n"
        f"route add default via {BRIDGE_ADDRESS}\n",
    )


def plugged_in(node: Node) -> bool:
    """Whether the bridge's end of the node's cable is there."""
    return link_exists(node.link)


def raise_links(nodes: tuple[Node, ...]) -> list[str]:
    """Put cables back on the bridge and up, where someone took them off or down; returns the names of their nodes."""
    create_bridge()
    mended = []
    for node in nodes:
        link = Path("/sys/class/net", node.link)
        if not link.exists():
            continue
        on_bridge = (link / "master").exists() and (link / "master").resolve().name == BRIDGE
        if not on_bridge or not int((link / "flags").read_text(), 16) & IFF_UP:
            run("ip", "link", "set", node.link, "master", BRIDGE, "up")
            mended.append(node.name)
    return mended
