"""QEMU's machine protocol over a Unix socket, as far as the lab needs it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rigspec.errors import LabError


class Qmp:
    """One connection to a running QEMU, which waits without limit; use it in a `with`."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        folder = os.open(path.parent, os.O_PATH)
        try:
            # a socket's path has at most 107 bytes; this way the folder's does not count
            self._socket.connect(f"/proc/self/fd/{folder}/{path.name}")
        except OSError as error:
            self._socket.close()
            raise LabError(f"QEMU does not answer: {error.strerror}") from error
        finally:
            os.close(folder)
        self._stream = self._socket.makefile("rw")
        self._stream.readline()
        self.say("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        self._socket.close()

    def say(self, command: str, **arguments: Any) -> Any:
        """Run one command and give what it returns."""
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._stream.flush()
        for message in self._messages():
            if "error" in message:
                raise LabError(f"QEMU refused {command}: {message['error'].get('desc')}")
            if "return" in message:
                return message["return"]
        raise LabError(f"QEMU ended during {command}")

    def events(self) -> Iterator[str]:
        """The names of events as they come, until QEMU ends."""
        for message in self._messages():
            if "event" in message:
                yield message["event"]

    def _messages(self) -> Iterator[dict[str, Any]]:
        for line in iter(self._stream.readline, ""):
            yield json.loads(line)
