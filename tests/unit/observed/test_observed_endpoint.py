"""Answers of model servers: whole, refused, cut, streamed."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from rigspec.observed import host_probes, probes
from rigspec.observed.endpoint import (
    parse_completion,
    parse_http,
    parse_metrics,
    parse_models,
    parse_stream,
)
from rigspec.observed.record import Unknown
from rigspec.observed.sections import split_sections


def test_models_of_three_engines() -> None:
    vllm = parse_models('{"object":"list","data":[{"id":"main","max_model_len":32768}]}')
    llama = parse_models('{"data":[{"id":"q.gguf","meta":{"n_ctx_train":40960,"n_ctx":8192}}]}')
    bare = parse_models('{"data":[{"id":"x","meta":{"n_ctx_train":40960}}]}')
    assert not isinstance(vllm, Unknown) and vllm[0].max_model_len == 32768
    assert not isinstance(llama, Unknown) and llama[0].max_model_len == 8192
    assert not isinstance(bare, Unknown) and isinstance(bare[0].max_model_len, Unknown)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('{"error":{"message":"Loading model","code":503}}', "Loading model"),
        ('{"error":"Unauthorized"}', "Unauthorized"),
        ('{"detail":"Not Found"}', "Not Found"),
        ('{"object":"error","message":"no such model"}', "no such model"),
        ("<html>502 Bad Gateway</html>", "no JSON"),
        ("", "no JSON"),
        ("[]", "no JSON object"),
    ],
)
def test_refusals_keep_the_servers_words(said: str, words: str) -> None:
    for parse in (parse_models, parse_completion):
        answer = parse(said)
        assert isinstance(answer, Unknown) and words in answer.reason


CHAT = (
    '{"choices":[{"message":{"content":"Paris","reasoning_content":"hm","tool_calls":[{"function":'
    '{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":9,"completion_tokens":2}}'
)


def test_chat_answer() -> None:
    answer = parse_completion(CHAT)
    assert not isinstance(answer, Unknown)
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Paris", "hm", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens) == (9, 2)
    assert answer.tool_calls == ("f",)
    old = parse_completion('{"choices":[{"text":" Paris","finish_reason":null}]}')
    assert not isinstance(old, Unknown) and old.text == " Paris"
    assert isinstance(old.finish_reason, Unknown) and isinstance(old.completion_tokens, Unknown)


STREAM = (
    'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\r\n\r\n'
    'data: {"choices":[{"delta":{"content":"Pa"}}]}\r\n\r\n'
    ": ping\r\n\r\n"
    'data: {"choices":[{"delta":{"content":"ris"},"finish_reason":"stop"}]}\r\n\r\n'
    'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}\r\n\r\n'
    "data: [DONE]\r\n\r\n"
)


def test_stream_whole() -> None:
    answer = parse_stream(STREAM)
    assert not isinstance(answer, Unknown)
    assert (answer.text, answer.pieces, answer.complete) == ("Paris", 2, True)
    assert (answer.finish_reason, answer.completion_tokens) == ("stop", 2)


def test_stream_cut_anywhere_is_not_complete_and_never_raises() -> None:
    for end in range(len(STREAM) - len("[DONE]\r\n\r\n")):
        answer = parse_stream(STREAM[:end])
        assert isinstance(answer, Unknown) or not answer.complete
    error = parse_stream('data: {"error":{"message":"EngineDeadError"}}\n\n')
    assert isinstance(error, Unknown) and error.reason == "EngineDeadError"
    whole = parse_stream('{"error":{"message":"bad request"}}')
    assert isinstance(whole, Unknown) and whole.reason == "bad request"


def test_metrics_sum_over_labels_and_old_names() -> None:
    metrics = parse_metrics(
        "# HELP vllm:generation_tokens_total x\n"
        'vllm:generation_tokens_total{engine="0",model_name="a \\"b\\""} 12.0\n'
        'vllm:generation_tokens_total{engine="1"} 3\n'
        'vllm:gpu_cache_usage_perc{engine="0"} 0.25 1700000000000\n'
        "up NaN\nvllm:cut{engi"
    )
    assert not isinstance(metrics, Unknown)
    assert metrics.total("vllm:generation_tokens_total") == 15
    assert metrics.total("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc") == 0.25
    assert isinstance(metrics.total("nosuch"), Unknown)
    assert metrics.samples[0].labels["engine"] == "0"
    assert isinstance(parse_metrics("<html>"), Unknown)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers 200 with the key, 401 without."""

    @override
    def log_message(self, format: str, *args: object) -> None:
        return

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(length))
        allowed = self.headers.get("Authorization") == "Bearer test-key"
        body = json.dumps({"data": [{"id": asked["model"]}]} if allowed else {"error": "no"})
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/v1"
        found.shutdown()
        thread.join()


def test_http_probe_speaks_with_a_server(server: str, tmp_path: Path) -> None:
    key = tmp_path / "header"
    key.write_text("Authorization: Bearer test-key\n")
    body = json.dumps({"model": "it's"})
    asked = (
        host_probes.http("with", server, limit_s=5, header_file=str(key), json_body=body),
        host_probes.http("without", server, limit_s=5, json_body=body),
        host_probes.http("refused", "http://127.0.0.1:1/", limit_s=5),
    )
    script = probes.script(asked)
    assert "test-key" not in script
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    sections = split_sections(done.stdout)
    allowed, denied, refused = (parse_http(sections[p.name]) for p in asked)
    assert allowed.status == 200 and isinstance(allowed.seconds, float)
    models = parse_models(allowed.body)
    assert not isinstance(models, Unknown) and models[0].id == "it's"
    assert denied.status == 401
    assert isinstance(refused.status, Unknown) and refused.status.reason == "connection refused"
    assert refused.status.line.startswith("curl: (7)")  # its words, not our mark


def test_http_without_curl_or_output_is_unknown() -> None:
    absent = parse_http(["##RIG-ABSENT curl"])
    assert isinstance(absent.status, Unknown) and "absent" in absent.status.reason
    assert isinstance(parse_http([]).status, Unknown)


def test_ranks_of_one_group_count_a_request_once_and_replicas_each_their_own() -> None:
    found = parse_metrics(
        'sglang:num_running_reqs{model_name="m",tp_rank="0"} 4.0\n'
        'sglang:num_running_reqs{model_name="m",tp_rank="1"} 4.0\n'
        'sglang:num_queue_reqs{dp_rank="0"} 1.0\nsglang:num_queue_reqs{dp_rank="1"} 2.0\n'
        'ray_vllm:prompt_tokens_total{WorkerId="6a"} 58.0\n'
    )
    assert not isinstance(found, Unknown)
    assert found.total("sglang:num_running_reqs") == 4
    assert found.total("sglang:num_queue_reqs") == 3
    assert found.total("vllm:prompt_tokens_total") == 58
