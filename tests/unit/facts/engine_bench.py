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
    port: int = 0

    def answer(self, body: dict[str, object]) -> dict[str, object]:
        words = "I am ready."
        if body.get("stop") and not self.ignores_stop:
            words = "I"
        return {
            "choices": [{"message": {"content": words}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": len(words.split())},
        }


def _handler(engine: Engine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1  # head and body in one packet, else each answer waits 40 ms for an ACK

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

        def work(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            path, method = self.path, self.command
            engine.asked.append(f"{method} {path}")
            if path not in engine.open and self.headers.get("Authorization") != f"Bearer {KEY}":
                return self.reply(401, "{}")
            if path not in engine.routes:
                return self.reply(404, "{}")
            if method not in engine.routes[path]:
                return self.reply(405, "{}")
            if path == "/openapi.json":
                paths = {p: dict.fromkeys(map(str.lower, m), {}) for p, m in engine.routes.items()}
                return self.reply(200, json.dumps({"paths": paths}))
            if path == "/v1/models":
                model = {"id": "GLM-5.2", "max_model_len": 460000}
                return self.reply(200, json.dumps({"data": [model]}))
            if method == "POST":
                try:
                    said = json.loads(body)
                except ValueError:
                    return self.reply(400, '{"error": "no JSON"}')
                engine.executed.append(path)
                if engine.frozen:
                    time.sleep(3)
                if said.get("stream"):
                    return self.stream()
                return self.reply(200, json.dumps(engine.answer(said)))
            return self.reply(200, "{}")

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

    return Handler


@contextmanager
def serving(engine: Engine) -> Iterator[Engine]:
    """The engine on a free port of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(engine))
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
