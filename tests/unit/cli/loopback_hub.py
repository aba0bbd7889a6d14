"""A model hub on loopback: the routes that reading a model's facts needs, and what it was asked."""

from __future__ import annotations

import json
import re
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
    "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 2048,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip


def safetensors(tensors: Mapping[str, int]) -> bytes:
    """A file whose tensors have these many bytes (bf16 vectors)."""
    header: dict[str, object] = {}
    at = 0
    for name, size in tensors.items():
        header[name] = {"dtype": "BF16", "shape": [size // 2], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


class Hub:
    """Repositories by name, files by path; `bytes_sent` counts what was really read of each."""

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        self.repositories = repositories
        self.bytes_sent: dict[str, int] = {}
        self.url = ""

    def answer(self, path: str, wanted: str | None) -> tuple[int, dict[str, str], bytes]:
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            return self._info(found[1], found[2])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            data = self.repositories.get(found[1], {}).get(found[3])
            if data is not None:
                return self._file(found[3], data, wanted)
        return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"

    def _info(self, name: str, revision: str | None) -> tuple[int, dict[str, str], bytes]:
        files = self.repositories.get(name)
        if files is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b'{"error": "Repository not found"}'
        if revision not in (None, "main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b'{"error": "Invalid rev id"}'
        siblings = [
            {"rfilename": path, "size": len(data), "blobId": "b" * 40}
            for path, data in files.items()
        ]
        body = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [],
                "downloads": 0, "likes": 0, "siblings": siblings}  # fmt: skip
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

    def _file(
        self, path: str, data: bytes, wanted: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{len(data)}"', "Accept-Ranges": "bytes"}
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted or "")
        if span is None:
            return 200, headers, data
        part = data[int(span[1]) : int(span[2]) + 1]
        headers["Content-Range"] = f"bytes {span[1]}-{int(span[1]) + len(part) - 1}/{len(data)}"
        return 206, headers, part


@contextmanager
def serving(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """The hub on a free loopback port until the block ends."""
    hub = Hub(repositories)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            self._reply()

        def do_HEAD(self) -> None:
            self._reply()

        def _reply(self) -> None:
            path = self.path.partition("?")[0]
            status, headers, body = hub.answer(path, self.headers.get("Range"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
                name = path.rpartition("/")[2]
                hub.bytes_sent[name] = hub.bytes_sent.get(name, 0) + len(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
