"""A small HTTP server on loopback that answers as an engine does, with a key, and with faults."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import override

KEY = "sk-rig-4711"


@dataclass
class Engine:
    """What the server does: its routes by method, which of them ask for the key, its faults."""

    routes: dict[str, set[str]] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    frozen: bool = False
    ignores_stop: bool = False
    executed: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    bodies: list[dict[str, object]] = field(default_factory=list)
    port: int = 0

    def view(self, path: str) -> dict[str, object]:
        if path == "/openapi.json":
            listed = {p: {m.lower(): {} for m in methods} for p, methods in self.routes.items()}
            return {"paths": listed}
        return {"data": [{"id": "GLM-5.2", "max_model_len": 460000}]}

    def answer(self, body: dict[str, object]) -> str:
        words = "I am ready."
        if body.get("stop") and not self.ignores_stop:
            words = "I"
        usage = {"prompt_tokens": 9, "completion_tokens": len(words.split())}
        choice = {"message": {"content": words}, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": usage})


class Handler(BaseHTTPRequestHandler):
    wbufsize = -1  # head and body in one packet, else each answer waits 40 ms for an ACK

    @property
    def engine(self) -> Engine:
        return self.server.engine  # type: ignore[attr-defined]

    @override
    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, text: str, kind: str = "application/json") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refusal(self) -> int:
        """The status of a request that goes no further; 0 for one that does."""
        path = self.path
        if path not in self.engine.open and self.headers.get("Authorization") != f"Bearer {KEY}":
            return 401
        if path not in self.engine.routes:
            return 404
        return 0 if self.command in self.engine.routes[path] else 405

    def work(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.engine.asked.append(f"{self.command} {self.path}")
        if status := self.refusal():
            self.reply(status, "{}")
        elif self.command == "POST":
            self.execute(body)
        else:
            self.reply(200, json.dumps(self.engine.view(self.path)))

    def execute(self, body: bytes) -> None:
        try:
            said = json.loads(body)
        except ValueError:
            return self.reply(400, '{"error": "no JSON"}')
        self.engine.executed.append(self.path)
        self.engine.bodies.append(said)
        if self.engine.frozen:
            time.sleep(3)  # longer than whoever asks it waits
        return self.stream() if said.get("stream") else self.reply(200, self.engine.answer(said))

    def stream(self) -> None:
        events = [
            {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
            *({"choices": [{"delta": {"content": f"w{n} "}}]} for n in range(4)),
            {"choices": [{"delta": {}, "finish_reason": "length"}]},
            {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
        ]
        lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
        self.reply(200, "".join(lines), "text/event-stream")

    do_GET = do_POST = do_PATCH = do_PUT = work


@contextmanager
def serving(engine: Engine) -> Iterator[Engine]:
    """The engine on a free port of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.engine = engine  # type: ignore[attr-defined]
    engine.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def vllm(**changes: object) -> Engine:
    """Routes of a vLLM-like server, all behind the key but for the health check."""
    routes = {
        "/health": {"GET"},
        "/v1/models": {"GET"},
        "/v1/chat/completions": {"POST"},
        "/invocations": {"POST"},
        "/sleep": {"POST"},
        "/metrics": {"GET"},
        "/openapi.json": {"GET"},
        "/new/route/{id}": {"POST"},
        "/new/view": {"GET"},
    }
    return Engine(**({"routes": routes, "open": {"/health"}} | changes))  # type: ignore[arg-type]
