"""An HTTP answer as data, so that what the lab serves can be tested without a socket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class Reply:
    """Status, headers, and a body in memory or in a file; `cut_after` bytes the line breaks."""

    status: int = 200
    body: bytes | Path = b""
    headers: tuple[tuple[str, str], ...] = ()
    cut_after: int | None = None

    @property
    def size(self) -> int:
        """Length of the body in bytes."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stat().st_size

    def open(self) -> BinaryIO:
        """The body to read from."""
        return BytesIO(self.body) if isinstance(self.body, bytes) else self.body.open("rb")


NOT_FOUND = Reply(404, b"not in the rigspec lab\n")


def json_reply(data: object, *, status: int = 200) -> Reply:
    """Data as JSON."""
    body = json.dumps(data).encode()
    return Reply(status, body, (("Content-Type", "application/json"),))


def static_file(folder: Path, path: str) -> Reply:
    """A file below a folder, and nothing outside it."""
    file = (folder / path).resolve()
    inside = file.is_file() and folder.resolve() in file.parents
    return Reply(body=file) if inside else NOT_FOUND
