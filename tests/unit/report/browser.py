"""A real browser for the page's tests: headless Chromium, spoken to over a pipe, no network.

Chrome DevTools Protocol: JSON messages that end in a NUL byte, on descriptors 3 and 4
(`--remote-debugging-pipe`).
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

ARGV = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE_S = 60
_NO_MEDIA: Mapping[str, str] = MappingProxyType({})


def chromium() -> str | None:
    """The program; None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page at a time; every call waits for its answer."""

    def __init__(self, to: int, of: int) -> None:
        self._to, self._of = to, of
        self._ids = itertools.count(1)
        self._read = b""
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **params: Any) -> Any:
        ident = next(self._ids)
        message: dict[str, Any] = {"id": ident, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = next(m for m in self._messages() if m.get("id") == ident)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _messages(self) -> Iterator[dict[str, Any]]:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            line, found, rest = self._read.partition(b"\0")
            if found:
                self._read = rest
                yield json.loads(line)
                continue
            more = os.read(self._of, 1 << 16)
            assert more, "the browser is gone"
            self._read += more
        raise AssertionError("the browser does not answer")

    def show(
        self, file: Path, width: int, *, media: Mapping[str, str] = _NO_MEDIA, scripts: bool = False
    ) -> None:
        """Load a page, by default without letting any script of its own run."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        features = [{"name": name, "value": value} for name, value in media.items()]
        self.call("Emulation.setEmulatedMedia", media="", features=features)
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=file.as_uri())
        next(m for m in self._messages() if m.get("method") == "Page.loadEventFired")

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, *, scale: float = 1, top: int = 0, height: int | None = None) -> bytes:
        """PNG of the whole page, or of some of its lines."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        rows = height or size["height"] - top
        clip = {"x": 0, "y": top, "width": size["width"], "height": rows, "scale": scale}
        answer = self.call(
            "Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True
        )
        return base64.b64decode(answer["data"])


_ONTO_3_AND_4 = (
    "import fcntl, os, sys; r, w = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]);"
    "os.dup2(r, 3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)
"""Where Chromium looks for its pipes; a shell cannot move descriptors above 9."""


@contextmanager
def browser() -> Iterator[Browser]:
    """A fresh browser with an empty profile of its own; gone at the end, with its children."""
    program = chromium()
    assert program, "chromium is not installed; scripts/setup installs it"
    commands, command_end = os.pipe()
    answer_end, answers = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        pipes = (str(commands), str(answers))
        process = subprocess.Popen(
            [sys.executable, "-SIc", _ONTO_3_AND_4, *pipes, program, *ARGV,
             f"--user-data-dir={profile}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(commands, answers), start_new_session=True,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        try:
            yield Browser(command_end, answer_end)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(command_end)
            os.close(answer_end)
