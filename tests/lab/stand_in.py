"""The lab's API reached another way: by a kubeconfig of one's own, and a real HAProxy that can be made to fail."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from fixtures.waiting import wait_until
from tests.lab.product import ROOT

STARTS_WITHIN_S: Final = 10.0

_SETTINGS: Final = """
defaults
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend api
    mode {mode}
    bind 127.0.0.1:{port}
{rest}
"""

NOTHING_BEHIND: Final = "    default_backend nobody\nbackend nobody\n    mode http"
"""HAProxy's own answer where no server is left: 503."""
BROKEN: Final = "    http-request return status 500 content-type text/plain string broken"


def target_at(folder: Path, server: str, **cluster: Any) -> Path:
    """The lab's target with another address for its API. ``cluster`` goes into the kubeconfig's cluster."""
    target = yaml.safe_load((ROOT / "targets/lab.yaml").read_text())
    kubeconfig = yaml.safe_load(Path(target["cluster"]["kubeconfig"]).read_text())
    for entry in kubeconfig["clusters"]:
        name = urlsplit(entry["cluster"]["server"]).hostname
        entry["cluster"] |= {"server": server, "tls-server-name": name, **cluster}
    target["cluster"]["kubeconfig"] = str(folder / "kubeconfig")
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    (folder / "kubeconfig").chmod(0o600)
    file = folder / "elsewhere.yaml"
    file.write_text(yaml.safe_dump(target))
    return file


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class HaProxy:
    """A running HAProxy on the loopback."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process

    def freeze(self) -> None:
        """From now on it takes connections and never answers."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """From now on connections are refused."""
        self._process.kill()
        self._process.wait()


@contextmanager
def haproxy(folder: Path, mode: str, rest: str) -> Iterator[HaProxy]:
    """Debian's HAProxy with one frontend, ended with the block."""
    port = free_port()
    settings = folder / "haproxy.cfg"
    settings.write_text(_SETTINGS.format(mode=mode, port=port, rest=rest))
    process = subprocess.Popen(["haproxy", "-db", "-f", str(settings)], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), STARTS_WITHIN_S, f"HAProxy on 127.0.0.1:{port}", interval_s=0.1)
        yield HaProxy(process, port)
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    """Whether a port of the loopback takes connections."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
