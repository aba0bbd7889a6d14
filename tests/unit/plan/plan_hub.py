"""A model hub on the loopback with the two routes the fetch script asks, and ways to misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from typing_extensions import override

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "acme/tiny"


@dataclass
class FakeHub:
    """What it holds, how it behaves, and what it was asked."""

    files: dict[str, bytes]
    large: frozenset[str]
    """Files in large file storage: listed with a SHA-256, the others with git's blob id."""
    token: str = ""
    page_size: int = 1000
    cut_after: int = 0
    """Break each answer off after so many bytes; 0 is never."""
    ranges: bool = True
    damaged: dict[str, int] = field(default_factory=dict)
    """How often a file is sent with wrong bytes."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes to list instead of the true ones."""
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and Range header of each request for a file."""

    def listing(self) -> list[dict[str, object]]:
        """Entries of the tree route."""
        entries: list[dict[str, object]] = [
            {"type": "directory", "path": "sub", "oid": "0", "size": 0}
        ]
        for path, data in sorted(self.files.items()):
            size = self.sizes.get(path, len(data))
            entry: dict[str, object] = {"type": "file", "path": path, "size": size}
            entry["oid"] = git_blob_id(data)
            if path in self.large:
                entry["oid"] = git_blob_id(b"pointer")
                entry["lfs"] = {
                    "oid": hashlib.sha256(data).hexdigest(),
                    "size": size,
                    "pointerSize": 9,
                }
            entries.append(entry)
        return entries


def git_blob_id(data: bytes) -> str:
    """As `git hash-object` prints it."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """The hub behind a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(hub, self)

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(hub: FakeHub, request: BaseHTTPRequestHandler) -> None:
    url = urlsplit(request.path)
    if hub.token and request.headers.get("Authorization") != f"Bearer {hub.token}":
        request.send_error(401)
    elif url.path == f"/api/models/{NAME}/tree/{COMMIT}":
        _list(hub, request, url.query)
    elif url.path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
        path = unquote(url.path.removeprefix(f"/{NAME}/resolve/{COMMIT}/"))
        _send_file(hub, request, path)
    else:
        request.send_error(404)


def _list(hub: FakeHub, request: BaseHTTPRequestHandler, query: str) -> None:
    start = int(query.partition("cursor=")[2] or 0)
    entries = hub.listing()
    body = json.dumps(entries[start : start + hub.page_size]).encode()
    request.send_response(200)
    if start + hub.page_size < len(entries):
        after = f"{hub.url}{request.path.partition('&')[0]}&cursor={start + hub.page_size}"
        request.send_header("Link", f'<{after}>; rel="next"')
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _send_file(hub: FakeHub, request: BaseHTTPRequestHandler, path: str) -> None:
    wanted = request.headers.get("Range", "")
    hub.asked.append((path, wanted))
    data = hub.files.get(path)
    if data is None:
        request.send_error(404)
        return
    if hub.damaged.get(path, 0) > 0:
        hub.damaged[path] -= 1
        data = bytes(byte ^ 1 for byte in data)
    start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted and hub.ranges else 0
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    rest = data[start:]
    request.send_header("Content-Length", str(len(rest)))
    request.end_headers()
    request.wfile.write(rest[: hub.cut_after or None])
    request.close_connection = True
