"""The lab's own server: all that a virtual rig can reach, on the host's loopback.

    /debian/…    the host's Debian mirror, cut down      (archive.py, mirror.py)
    /nvidia/…    the simulated NVIDIA repository         (repo.py)
    /toolkit/…   the same again, as the toolkit's repository
    /hub/…       a model hub with Hugging Face's routes  (hub.py)
    /v2/…        a registry of container images          (registry.py)

Started by the keeper as `python -m rigspec.lab.server CONFIG PORT`; it ends with the machine.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from rigspec.lab.archive import Archive
from rigspec.lab.hub import Hub
from rigspec.lab.registry import Registry
from rigspec.lab.reply import NOT_FOUND, Reply, static_file


@dataclass(frozen=True)
class ServerConfig:
    """Which folders are served, and `cut_after`: the hub breaks off after that many bytes."""

    apt_cache: Path
    nvidia: Path
    hub: Path
    registry: Path
    cut_after: int | None = None

    def save(self, path: Path) -> None:
        """Write it for the server process."""
        path.write_text(json.dumps(vars(self), default=str))

    @classmethod
    def load(cls, path: Path) -> ServerConfig:
        """Read it back."""
        data = json.loads(path.read_text())
        cut_after = data.pop("cut_after")
        return cls(**{key: Path(value) for key, value in data.items()}, cut_after=cut_after)


def routes(config: ServerConfig) -> dict[str, Callable[[str], Reply]]:
    """Who answers what comes after the first part of a path."""
    return {
        "debian": Archive(config.apt_cache).answer,
        "nvidia": lambda path: static_file(config.nvidia, path),
        # NVIDIA keeps driver and toolkit apart, and apt refuses one address with two keys
        "toolkit": lambda path: static_file(config.nvidia, path),
        "hub": Hub(config.hub, cut_after=config.cut_after).answer,
        "v2": Registry(config.registry).answer,
    }


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a `Range: bytes=A-[B]`, None when there is no usable one."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if match is None:
        return None
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    return int(match[1]), last


def handler_for(table: Mapping[str, Callable[[str], Reply]]) -> type[BaseHTTPRequestHandler]:
    """A request handler that asks these routes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            first, _, rest = path.partition("/")
            route = table.get(first)
            self.send_reply(route(rest) if route else NOT_FOUND)

        do_HEAD = do_GET

        def send_reply(self, reply: Reply) -> None:
            size = reply.size
            wanted = parse_range(self.headers.get("Range"), size) if reply.status == 200 else None
            if wanted is not None and wanted[0] >= size:
                return self.send_reply(Reply(416, headers=(("Content-Range", f"bytes */{size}"),)))
            first, last = wanted or (0, size - 1)
            self.send_response(206 if wanted else reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("Accept-Ranges", "bytes")
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.end_headers()
            if self.command == "GET":
                self.send_body(reply, first, last - first + 1)
            return None

        def send_body(self, reply: Reply, first: int, length: int) -> None:
            if reply.cut_after is not None and length > reply.cut_after:
                length, self.close_connection = reply.cut_after, True
            with reply.open() as source:
                source.seek(first)
                copy_bytes(source, self.wfile, length)

    return Handler


def copy_bytes(source: BinaryIO, target: BufferedIOBase, length: int) -> None:
    """Copy that many bytes in pieces."""
    while length > 0 and (piece := source.read(min(length, 1 << 20))):
        target.write(piece)
        length -= len(piece)


@contextmanager
def serving(table: Mapping[str, Callable[[str], Reply]]) -> Iterator[int]:
    """Serve these routes from this process, silently; gives the port on the host's loopback."""
    handler = handler_for(table)
    handler.log_message = lambda *_: None  # type: ignore[method-assign]  # no log on a terminal
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main(config: Path, port: int) -> None:
    """Serve until killed."""
    table = routes(ServerConfig.load(config))
    ThreadingHTTPServer(("127.0.0.1", port), handler_for(table)).serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
