"""Kernel log, NCCL and engine boot logs: what they say, and nothing they do not say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rigspec.observed.engine_failures import FailureKind
from rigspec.observed.engine_log import EngineLog, parse_engine_log
from rigspec.observed.kernel_log import (
    Event,
    KernelLog,
    parse_kernel_log,
    parse_kernel_log_probe,
)
from rigspec.observed.nccl_log import parse_nccl_log
from rigspec.observed.record import Unknown
from rigspec.observed.text import normal_bdf

CAPTURES = Path(__file__).parents[2] / "captures"
FIELD = CAPTURES / "field"
ASUS = CAPTURES / "voipmonitor-rtx6kpro-asus-8x-pro6000-server"


def kernel(name: str) -> KernelLog:
    return parse_kernel_log((FIELD / name).read_text())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:41:00.0", "0000:41:00.0"),
        ("0000:C1:00.0", "0000:c1:00.0"),
        ("41:00.0", "0000:41:00.0"),
        ("10000:e1:00.0: link", "10000:e1:00.0"),
        ("Xid (PCI:0000:10:1c): 63", "0000:10:1c.0"),
        ("pcieport 0000:00:03.1: AER", "0000:00:03.1"),
        ("Sep 19 16:18:02 host", None),
        ("at 16:18 o'clock", None),
        ("MAC 02:00:5e:10:00:00", None),
        ("[10de:2204]", None),
    ],
)
def test_bus_ids_of_any_width(text: str, address: str | None) -> None:
    assert normal_bdf(text) == address


def test_xid_79_and_154_in_both_forms() -> None:
    log = kernel("ogkm-1151_xid-79-then-154-pf-flr_dmesg.txt")
    assert [(e.event, e.xid, e.address) for e in log.events] == [
        (Event.XID, 79, "0000:01:00.0"),
        (Event.FALLEN_OFF, None, "0000:01:00.0"),
        (Event.XID, 154, "0000:01:00.0"),
    ]
    fact = log.events[0].fact
    assert fact is not None and "fallen off" in fact.meaning
    short = kernel("ogkm-1247_aer-rxerr-then-xid-79-and-154_dmesg.txt")
    assert [e.xid for e in short.of(Event.XID)] == [79, 154]
    assert short.of(Event.XID)[1].address is None
    (aer,) = short.of(Event.AER)
    assert (aer.address, aer.severity, aer.names) == ("0000:00:1b.0", "Correctable", ("RxErr",))


def test_xids_of_a_journal_and_without_function() -> None:
    assert [e.xid for e in kernel("ogkm-942_xid-62-45-5070ti_journal.txt").events] == [62, 45]
    log = parse_kernel_log((CAPTURES / "stas00-ml-engineering/dmesg-xid-63.txt").read_text())
    assert log.events[0].address == "0000:10:1c.0"
    strange = parse_kernel_log("NVRM: Xid (PCI:0000:01:00): 999, new")
    assert strange.events[0].xid == 999 and strange.events[0].fact is None


def test_aer_bits_come_from_the_following_lines() -> None:
    log = kernel("pop-os-3363_aer-correctable-badtlp-timeout_syslog.txt")
    aer = log.of(Event.AER)
    assert [(e.address, e.names) for e in aer] == [
        ("0000:00:03.1", ("Timeout",)),
        ("0000:00:03.1", ("BadTLP",)),
    ]
    assert aer[0].time_s == 68183.615810


def test_bars_without_room_and_narrow_link() -> None:
    log = kernel("rockchip-2_3090-gen3x4-bar-no-space_dmesg.txt")
    assert [e.address for e in log.of(Event.NO_BAR)] == ["0000:01:00.0", "0000:01:00.0"]
    (limit,) = log.limits
    assert (limit.device, limit.gen, limit.width) == ("0000:01:00.0", 3, 4)
    assert (limit.capable_gen, limit.capable_width) == (4, 16)
    zero = kernel("gpu-operator-492_bar1-0m_dmesg.txt")
    assert [e.address for e in zero.of(Event.NO_BAR)] == ["0000:14:00.0", "0000:1c:00.0"]
    assert len(zero.of(Event.PROBE_FAILED)) == 3


def test_boot_log_of_asus_loses_a_cpu_and_aer_but_no_gpu() -> None:
    log = parse_kernel_log((ASUS / "dmesg-selected.txt").read_text())
    assert log.from_boot
    assert log.of(Event.X2APIC_OFF) and "CPU 239" in log.of(Event.CPU_LOST)[0].line
    assert log.of(Event.AER_WITHHELD)
    assert not log.of(Event.XID, Event.NO_BAR, Event.AER, Event.FALLEN_OFF, Event.INIT_FAILED)


def test_kernel_log_one_may_not_read_is_unknown() -> None:
    for line in (
        "dmesg: read kernel buffer failed: Operation not permitted",
        "Hint: You are currently not seeing messages from other users and the system.",
    ):
        assert isinstance(parse_kernel_log_probe({"kernel-log": [line]}), Unknown)
    assert isinstance(parse_kernel_log_probe({"kernel-log": [""]}), Unknown)
    assert isinstance(parse_kernel_log_probe({"kernel-log": ["##RIG-ABSENT dmesg"]}), Unknown)
    good = parse_kernel_log_probe({"kernel-log": ["[    0.000000] Linux version 6.12.1"]})
    assert not isinstance(good, Unknown) and good.events == () and good.from_boot


def test_nccl_transports() -> None:
    log = parse_nccl_log((CAPTURES / "nccl-docs/nccl-debug-transport-lines.txt").read_text())
    assert log.transports == {"SHM", "NET", "P2P"}
    assert log.channels[-1].transport == "P2P/CUMEM"
    assert isinstance(log.version, Unknown)
    noisy = parse_nccl_log(
        "NCCL version 2.27.5+cuda12.9\nfailed to extend /dev/shm/nccl-x to 4194660 bytes"
    )
    assert noisy.version == "2.27.5" and len(noisy.warnings) == 1


def engine(text: str) -> EngineLog:
    log = parse_engine_log(text)
    assert not isinstance(log, Unknown)
    return log


VLLM = CAPTURES / "local-inference-lab-8x-pro6000/vllm-startup.txt"


def test_vllm_boot_of_eight_gpus() -> None:
    log = engine(VLLM.read_text())
    assert log.engine == "vllm" and str(log.version).startswith("0.20.2rc1")
    assert (log.weights_gib, log.available_kv_gib, log.graph_gib) == (55.67, 19.55, 1.22)
    assert (log.kv_tokens, log.max_concurrency, log.concurrency_context) == (341504, 1.68, 202752)
    assert log.nccl_version == "2.30.3" and log.init_s == 147.16 and log.stalls == 2
    assert log.ready and log.failures == ()
    assert any("PCIe custom allreduce enabled" in line for line in log.all_reduce)


def test_vllm_boot_that_has_not_come_up_is_not_ready() -> None:
    text = VLLM.read_text()
    log = engine(text[: text.index("Application startup complete")])
    assert not log.ready and log.weights_gib == 55.67
    again = engine(text + text[: len(text) // 2])
    assert not again.ready  # the last boot counts


def test_vllm_one_line_form_of_tokens_and_concurrency() -> None:
    log = engine(
        "(EngineCore pid=1) INFO [kv_cache_utils.py:1] GPU KV cache size: 1,234,560 tokens, "
        "Maximum concurrency for 32,768 tokens per request: 37.68x\n"
    )
    assert (log.kv_tokens, log.max_concurrency, log.concurrency_context) == (1234560, 37.68, 32768)
    assert isinstance(log.weights_gib, Unknown) and isinstance(log.version, Unknown)


SGLANG = """\
[21:19:23] server_args=ServerArgs(model_path='x', tp_size=2)
[21:19:30 TP0] Load weight begin. avail mem=111.97 GB
[21:32:38 TP0] Load weight end. elapsed=787.55 s, avail mem=29.01 GB, mem usage=82.97 GB.
[21:32:38 TP1] Load weight end. elapsed=787.55 s, avail mem=29.01 GB, mem usage=82.90 GB.
[21:34:13 TP0] Load weight end. elapsed=94.49 s, type=B, avail mem=30.67 GB, mem usage=1.86 GB.
[21:34:15 TP0] KV Cache is allocated. #tokens: 159552, K size: 1.83 GB, V size: 1.83 GB
[21:34:30 TP0] Capture cuda graph end. Time elapsed: 8.38 s. mem usage=1.20 GB. avail mem=20.1 GB.
[21:34:40 TP0] max_total_num_tokens=159552, chunked_prefill_size=8192, context_len=131072
[21:34:50] The server is fired up and ready to roll!
"""


def test_sglang_boot_sums_target_and_draft_per_rank() -> None:
    log = engine(SGLANG)
    assert log.engine == "sglang" and log.ready
    assert log.weights_gib == pytest.approx(84.83)
    assert log.available_kv_gib == pytest.approx(3.66)
    assert (log.kv_tokens, log.graph_gib, log.load_s) == (159552, 1.2, 787.55)


LLAMA = """\
build: 6123 (abcdef0) with cc for x86_64-linux-gnu
load_tensors: offloaded 33/33 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
load_tensors:        CUDA0 model buffer size =  2048.00 MiB
load_tensors:        CUDA1 model buffer size =  3072.00 MiB
llama_context: n_ctx         = 8192
llama_kv_cache:      CUDA0 KV buffer size =   256.00 MiB
llama_kv_cache:      CUDA1 KV buffer size =   512.00 MiB
llama_kv_cache:      CUDA1 KV buffer size =   256.00 MiB
llama_context:      CUDA0 compute buffer size =   304.00 MiB
main: model loaded
main: server is listening on http://127.0.0.1:8080 - starting the main loop
"""


def test_llama_boot_sums_buffers_per_gpu() -> None:
    log = engine(LLAMA)
    assert (log.engine, log.version, log.ready) == ("llama.cpp", "6123", True)
    assert (log.weights_gib, log.available_kv_gib) == (3.0, 0.75)
    assert log.kv_tokens == 8192 and log.offloaded_layers == (33, 33)
    assert {(b.device, b.use) for b in log.buffers} >= {("CPU_Mapped", "model"), ("CUDA1", "KV")}


def test_llama_on_the_processor_has_no_figure_per_gpu() -> None:
    log = engine(
        "load_tensors: offloaded 0/33 layers to GPU\n"
        "load_tensors: CPU model buffer size = 4.00 MiB\n"
    )
    assert isinstance(log.weights_gib, Unknown) and log.offloaded_layers == (0, 33)


def test_refusals_name_what_fits() -> None:
    log = engine((FIELD / "vllm-kv-errors.txt").read_text())
    assert [(f.kind, f.fitting_tokens) for f in log.failures] == [
        (FailureKind.KV_NONE, None),
        (FailureKind.CONTEXT_TOO_LONG, 39024),
    ]
    assert not log.ready


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (
            "ValueError: To serve at least one request with the models's max seq len (40960), (5.62"
            " GiB KV cache is needed, which is larger than the available KV cache memory (1.2 GiB)."
            " Based on the available memory, the estimated maximum model length is 8720.",
            FailureKind.CONTEXT_TOO_LONG,
        ),
        (
            "ValueError: Free memory on device cuda:1 (60.87/79.19 GiB) on startup is less than "
            "desired GPU memory utilization (0.95, 75.23 GiB).",
            FailureKind.MEMORY_TAKEN,
        ),
        ("allocating 8900.01 MiB on device 0: cudaMalloc failed: out of memory", None),
        ("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", None),
        ("vllm serve: error: unrecognized arguments: --foo-bar 3", FailureKind.ARGUMENT),
        (
            "Total number of attention heads (32) must be divisible by tensor parallel size (3).",
            FailureKind.SHAPE,
        ),
        ("OSError: [Errno 98] Address already in use", FailureKind.PORT),
        ("RuntimeError: No CUDA GPUs are available", FailureKind.NO_GPU),
        ("CUDA error 2 at ggml-cuda.cu:5509: out of memory", FailureKind.OUT_OF_MEMORY),
        ("ptxas fatal   : Value 'sm_121a' is not defined for option", FailureKind.KERNEL),
        ("HFValidationError: Repo id must be in the form 'a'", FailureKind.MODEL),
        ("RuntimeError: Engine core initialization failed.", FailureKind.ENGINE),
        ("failed to extend /dev/shm/nccl-abc to 4194660 bytes", FailureKind.COMMUNICATION),
    ],
)
def test_each_refusal_has_its_kind(line: str, kind: FailureKind | None) -> None:
    failures = engine(line).failures
    assert len(failures) == 1
    if kind is not None:
        assert failures[0].kind is kind
    if kind is FailureKind.CONTEXT_TOO_LONG:
        assert failures[0].fitting_tokens == 8720


def test_foreign_text_is_unknown_and_cuts_never_raise() -> None:
    assert isinstance(parse_engine_log("hello\n"), Unknown)
    assert isinstance(parse_engine_log(""), Unknown)
    texts = [VLLM.read_text()[:9000], SGLANG, LLAMA]
    texts += [p.read_text()[:4000] for p in sorted(FIELD.glob("*.txt"))]
    for text in texts:
        for end in range(0, len(text), 61):
            for answer in (parse_engine_log(text[:end]), parse_kernel_log(text[:end])):
                json.dumps(answer.to_json())
