# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real browser without a window, driven over its pipe: what a page shows, asks for and complains of."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = "chromium-headless-shell"
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")


class Browser:
    """One page. ``requests`` are addresses that it asked for, ``complaints`` what went to the console.

    ``dialogs`` are texts of windows that a script opened.
    """

    def __init__(self, writing: int, reading: int) -> None:
        self._writing = writing
        self._reading = os.fdopen(reading, "rb")
        self._number = 0
        self._session = ""
        self._loaded = False
        self._buffer = b""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Show a file, and wait until everything in it is loaded."""
        metrics = {"height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", width=width, **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self._call("Page.navigate", url=path.as_uri())
        while not self._loaded:
            self._take(self._message())

    def ask(self, expression: str) -> Any:
        """Return what an expression of JavaScript gives, as plain data."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path: Path) -> None:
        """Write what the page looks like, all of it, as PNG."""
        found = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def _call(self, method: str, **params: Any) -> Any:
        self._number += 1
        call: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._writing, json.dumps(call).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._take(message)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = self._reading.read1(1 << 20)  # type: ignore[attr-defined]
            assert more, "the browser ended"
            self._buffer += more
        message, _zero, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _take(self, event: dict[str, Any]) -> None:
        method, params = event.get("method", ""), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(params))
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
            self._number += 1
            answer = {"id": self._number, "method": "Page.handleJavaScriptDialog"}
            answer.update(params={"accept": True}, sessionId=self._session)
            os.write(self._writing, json.dumps(answer).encode() + b"\0")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Run a browser for the block; its profile is in ``folder``."""
    program = shutil.which(PROGRAM)
    assert program, f"{PROGRAM} is not installed"
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # The browser reads from 3 and writes to 4, so neither may be in the way of the other.
    passed = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
    script = f'exec "$0" "$@" 3<&{passed[0]} 4>&{passed[1]}'
    argv = [program, *_OPTIONS, f"--user-data-dir={folder}"]
    process = subprocess.Popen(
        ["bash", "-c", script, *argv],
        pass_fds=passed,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for fd in (theirs_in, theirs_out, *passed):
        os.close(fd)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)
        process.terminate()
        process.wait()
