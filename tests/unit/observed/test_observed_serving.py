"""What engines, NCCL and metrics print in forms that no capture of ours shows."""

from __future__ import annotations

from rigspec.observed.endpoint import parse_metrics
from rigspec.observed.engine_log import EngineLog, parse_engine_log
from rigspec.observed.nccl_log import parse_nccl_log
from rigspec.observed.nccl_tests import parse_nccl_tests
from rigspec.observed.record import Unknown


def test_table_of_another_tool_is_no_result_of_nccl_tests() -> None:
    table = (
        "   D\\D     0      1      2\n     0 1581.48 274.55 275.92\n     1 274.55 1581.48 275.35\n"
    )
    assert isinstance(parse_nccl_tests(table), Unknown)


def test_pipeline_ranks_of_one_tensor_rank_are_not_added_up() -> None:
    log = parse_engine_log(
        "[2026-01-15 13:56:49 PP0 TP0] Load weight end. avail mem=29.92 GB, mem usage=30.67 GB.\n"
        "[2026-01-15 13:56:50 PP1 TP0] Load weight end. avail mem=29.92 GB, mem usage=20.50 GB.\n"
        "[2026-01-15 13:56:51 PP1 TP0] Load weight end. avail mem=28.92 GB, mem usage=1.00 GB.\n"
    )
    assert isinstance(log, EngineLog)
    assert log.weights_gib == 30.67


def test_engine_is_the_one_that_speaks_not_one_that_is_named() -> None:
    log = parse_engine_log(
        "/usr/lib/python3/dist-packages/vllm/connections.py:8: RuntimeWarning: no version\n"
        "[2025-01-20 10:00:09 TP0] Load weight begin. avail mem=23.30 GB\n"
    )
    assert isinstance(log, EngineLog)
    assert log.engine == "sglang"
    named = parse_engine_log("ValueError in vllm/config.py: no such model\n")
    assert isinstance(named, EngineLog)
    assert named.engine == "vllm"


def test_kv_memory_that_was_asked_for_is_the_one_available() -> None:
    # SergiioB/intel-arc-pro-b70-inference-cookbook 4, vLLM with --kv-cache-memory-bytes
    log = parse_engine_log(
        "(EngineCore pid=316) INFO 08-21 18:37:44 [gpu_worker.py:492] Initial free memory 31.16 "
        "GiB, reserved 4.25 GiB memory for KV Cache as specified by kv_cache_memory_bytes config\n"
    )
    assert isinstance(log, EngineLog)
    assert log.available_kv_gib == 4.25


def test_half_a_number_at_the_end_of_a_log_is_none() -> None:
    log = parse_engine_log("llama_context: n_seq_max     = 1\nllama_context: n_ctx         = 81")
    assert isinstance(log, EngineLog)
    assert isinstance(log.kv_tokens, Unknown)


def test_metrics_of_ranks_are_one_count_and_those_of_engines_are_added() -> None:
    found = parse_metrics(
        'sglang:requests{tp_rank="0",engine="a"} 2.0 1752834088.5\n'
        'sglang:requests{tp_rank="1",engine="a"} 1.0\n'
        'sglang:requests{tp_rank="0",engine="b"} 5.0\nray_vllm:requests 4.0\n'
    )
    assert not isinstance(found, Unknown)
    assert found.total("sglang:requests") == 7
    assert found.total("vllm:requests") == 4


def test_exemplar_behind_a_sample_is_not_its_value() -> None:
    found = parse_metrics(
        '# TYPE vllm:ttft_seconds histogram\nvllm:ttft_seconds_bucket{le="1",m="{a}"} 5 '
        '# {id="7f"} 0.54 1752834088.5\nvllm:num_requests_running 2.0\nvllm:prompt_tokens_total 1.0'
    )
    assert not isinstance(found, Unknown)
    assert found.total("vllm:ttft_seconds_bucket") == 5
    assert found.samples[0].labels == {"le": "1", "m": "{a}"}
    assert isinstance(found.total("vllm:prompt_tokens_total"), Unknown)  # 1.0 of 1.0e+09


def test_shared_memory_by_the_name_it_had_before_nccl_2_12() -> None:
    log = parse_nccl_log(
        "rig:1:2 [0] NCCL INFO Ring 00 : 0[0] -> 1[1] via direct shared memory\n"
        "rig:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] [send] via NET/IB/0(1)/GDRDMA\n"
        "NCCL version : 2.27.3\n"
    )
    assert [channel.transport for channel in log.channels] == ["SHM", "NET/IB/0(1)/GDRDMA"]
    assert log.version == "2.27.3"
