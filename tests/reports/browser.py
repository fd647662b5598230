"""A headless Chromium, spoken to over its own debugging pipe: no driver, no port, no network.

Source: the Chrome DevTools Protocol. Messages are JSON, each ended by a zero byte, on the descriptors 3 and 4.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
ANSWER_WITHIN_S: Final = 60.0


class BrowserError(Exception):
    """The browser did not start, did not answer, or refused a command."""


class Browser:
    """One page. Use as a context manager; ``events`` holds what the browser reported since the page was opened."""

    def __init__(self, width: int, height: int, *, dark: bool = False, scripts: bool = True) -> None:
        self.width, self.height, self.dark, self.scripts = width, height, dark, scripts
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._buffer = b""
        self._session: str | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        binary = next((found for found in map(shutil.which, NAMES) if found), None)
        if binary is None:
            raise BrowserError(f"no browser: install one of {', '.join(NAMES)} (Debian: apt-get install chromium)")
        profile = self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        self._stack.callback(os.close, self._write)
        self._stack.callback(os.close, self._read)
        # The shell moves the pipe's ends to where the browser looks for them.
        command = 'exec "$@" 3<&"$IN" 4>&"$OUT"'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "browser", binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            env={**os.environ, "IN": str(to_read), "OUT": str(to_write), "HOME": profile},
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(self._end)
        os.close(to_read)
        os.close(to_write)
        try:
            self._attach()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "Accessibility"):
            self.call(f"{domain}.enable")
        phone = self.width < 500
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=self.width, height=self.height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        self.media("")
        self.call("Emulation.setScriptExecutionDisabled", value=not self.scripts)

    def _end(self) -> None:
        with contextlib.suppress(BrowserError, OSError):
            self._session = None
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # --- what a test says

    def open(self, file: Path) -> None:
        """Open a file and wait until it has loaded."""
        self.events.clear()
        self.call("Page.navigate", url=file.as_uri())
        self._until("Page.loadEventFired")

    def media(self, medium: str) -> None:
        """Show the page as on ``print``, or as on a screen with ""."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", media=medium, features=[scheme, still])

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key: Tab or Enter."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def until(self, expression: str) -> None:
        """Wait, in the page, until a JavaScript expression is true. Raises BrowserError after five seconds."""
        self.run(
            f"""new Promise((done, fail) => {{
              const end = performance.now() + 5000;
              const look = () => {{
                if ({expression}) done();
                else if (performance.now() > end) fail(new Error("not within 5 s"));
                else setTimeout(look, 10);
              }};
              look();
            }})"""
        )

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])

    def complaints(self) -> list[str]:
        """What stands on the console: errors, warnings, refused requests, exceptions."""
        methods = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
        return [json.dumps(event) for event in self.events if event["method"] in methods]

    def requests(self) -> list[str]:
        """Every address that was asked for, without the data written in the page itself."""
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]

    # --- the wire

    def call(self, method: str, **parameters: Any) -> Any:
        """One command and its answer. Raises BrowserError."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for answer in self._messages(method):
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]
        raise AssertionError("unreachable")

    def _until(self, event: str) -> None:
        if not any(seen["method"] == event for seen in self.events):
            next(message for message in self._messages(event) if message.get("method") == event)

    def _messages(self, what: str) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + ANSWER_WITHIN_S
        while True:
            while b"\0" in self._buffer:
                raw, self._buffer = self._buffer.split(b"\0", 1)
                message = json.loads(raw)
                if "method" in message:
                    self.events.append(message)
                yield message
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise BrowserError(f"the browser did not answer {what} within {ANSWER_WITHIN_S:g} s")
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise BrowserError(f"the browser ended while {what} was waited for")
            self._buffer += chunk
