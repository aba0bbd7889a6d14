"""Texts as owners paste them: quoted, indented, out of `docker compose logs` or `journalctl`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rigspec.discover.capture import Kind, recognise
from rigspec.observed.dressing import bare_lines
from rigspec.observed.engine_log import EngineLog, parse_engine_log
from rigspec.observed.lspci import parse_lspci
from rigspec.observed.nvidia_smi import parse_query_gpu
from rigspec.observed.nvidia_smi_log import parse_smi_log
from rigspec.observed.pci import Acs
from rigspec.observed.record import plain
from rigspec.observed.topology import parse_topo_matrix

CAPTURES = Path(__file__).parents[2] / "captures"
H200 = CAPTURES / "nvidia-gpu-exporter-h200-590.48.01"
DRESSES = {
    "quote": "> ",
    "indent": "    ",
    "colour": "\x1b[1;32m",
    "compose": "rig-vllm-1  | ",
    "compose with times": "vllm-1  | 2026-06-18T10:21:28.123456789Z ",
    "kubectl": "[pod/vllm-0/vllm] ",
    "docker times": "2026-06-18T10:21:28.123456789Z ",
    "kubelet": "2026-06-18T10:21:28.123456789+02:00 stderr F ",
    "journal": "Jun 18 10:21:28 rig docker[14750]: ",
    "journal iso": "2026-06-18T10:21:28+0200 rig vllm[12]: ",
}
TEXTS: tuple[tuple[Kind, Path, Any], ...] = (
    (Kind.SMI_LOG, H200 / "nvidia-smi-idle-q.txt", parse_smi_log),
    (Kind.SMI_CSV, H200 / "nvidia-smi-idle-query-gpu-csv.txt", parse_query_gpu),
    (Kind.TOPO, CAPTURES / "stas00-ml-engineering/topo-m-8x-h100-nv18.txt", parse_topo_matrix),
    (
        Kind.LSPCI,
        CAPTURES / "voipmonitor-rtx6kpro-asus-8x-pro6000-server/lspci-gpus-and-bridges.txt",
        parse_lspci,
    ),
)
LLAMA = """\
build: 6000 (abcdef1) with cc for x86_64-linux-gnu
load_tensors: loading model tensors, this can take a while... (mmap = true)
load_tensors:        CUDA0 model buffer size = 10240.00 MiB
llama_context: n_ctx         = 8192
llama_kv_cache_unified:      CUDA0 KV buffer size =  1472.00 MiB
main: server is listening on http://0.0.0.0:8080 - starting the main loop
"""


def dressed(text: str, dress: str) -> str:
    return "".join(f"{dress}{line}\r\n" for line in text.splitlines())


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize(("kind", "path", "parse"), TEXTS, ids=[kind.name for kind, *_ in TEXTS])
def test_dress_changes_neither_kind_nor_reading(
    kind: Kind, path: Path, parse: Any, dress: str
) -> None:
    text = path.read_text()
    worn = dressed(text, DRESSES[dress])
    assert recognise(worn) is recognise(text)
    assert plain(parse(worn)) == plain(parse(text))


@pytest.mark.parametrize("dress", DRESSES)
def test_engine_that_was_started_twice_is_not_added_up(dress: str) -> None:
    log = parse_engine_log(dressed(LLAMA * 2, DRESSES[dress]))
    assert isinstance(log, EngineLog)
    assert (log.weights_gib, log.available_kv_gib, log.kv_tokens) == (10.0, 1.4375, 8192)


def test_engine_that_loads_again_is_another_boot_also_without_its_first_line() -> None:
    log = parse_engine_log("\n".join(LLAMA.splitlines()[1:] * 2) + "\n")
    assert isinstance(log, EngineLog)
    assert (log.weights_gib, log.available_kv_gib) == (10.0, 1.4375)


def test_engines_of_two_containers_are_not_added_up() -> None:
    pairs = zip(LLAMA.splitlines(), LLAMA.splitlines(), strict=True)
    text = "webui-1  | provider: vllm\n" + "".join(
        f"llm-1    | {a}\nasr-1    | {b}\n" for a, b in pairs
    )
    log = parse_engine_log(text)
    assert isinstance(log, EngineLog)
    assert (log.engine, log.weights_gib, log.available_kv_gib) == ("llama.cpp", 10.0, 1.4375)


def test_first_column_of_a_table_is_no_dress() -> None:
    table = ["GPU0 | X | PHB", "GPU1 | PHB | X"]
    assert bare_lines(table) == table


def test_blanks_of_a_web_page_are_blanks() -> None:
    assert bare_lines("\ufeff[\u00a0 12.5] NVRM:\u00a0Xid\n") == ["[  12.5] NVRM: Xid", ""]


def test_last_line_may_be_cut_inside_its_dress() -> None:
    assert bare_lines("> one\n> two\n>")[:2] == ["one", "two"]
    assert bare_lines("[pod/rig/a] one\n[pod/rig/a] two\n[po")[:2] == ["one", "two"]


def test_one_line_of_ten_may_be_without_the_dress_and_two_may_not() -> None:
    worn = [f"> {n}" for n in range(9)]
    assert bare_lines([*worn, "warning", "> end"])[:1] == ["0"]
    assert bare_lines([*worn[:8], "warning", "warning", "> end"])[:1] == ["> 0"]


def test_dresses_over_each_other_and_names_that_compose_counted_are_taken_off() -> None:
    time = "2026-01-15T10:00:00.1Z"
    assert bare_lines(f"> a-1  | {time} one\n> a-1  | {time} two") == ["one", "two"]
    assert bare_lines("rig-vllm-1   | one\nrig-proxy-1  | two") == ["one", "two"]


WRAPPED = """\
40:01.1 PCI bridge [0604]: Advanced Micro Devices, Inc. [AMD] Device [1022:14ab]
 (rev 01) (prog-if 00 [Normal decode])
	Bus: primary=40, secondary=41, subordinate=41, sec-latency=0
	Capabilities: [58] Express (v2) Root Port (Slot+), IntMsgNum 0
	Capabilities: [2a0 v1] Access Control Services
		ACSCap:	SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd
+ EgressCtrl- DirectTrans+
		ACSCtl:	SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd
+ EgressCtrl- DirectTrans-
	Kernel driver in use: pcieport
$ uname -r
41:00.0 VGA compatible controller [0300]: NVIDIA Corporation GB202GL [RTX PRO 60
00 Blackwell Max-Q Workstation Edition] [10de:2bb4] (rev a1)
	Kernel driver in use: nvidia
"""


def test_listing_that_a_terminal_wrapped_is_whole_again() -> None:
    bridge, gpu = parse_lspci(WRAPPED).functions
    assert isinstance(bridge.acs, Acs)
    assert (bridge.acs.ctl.req_redir, bridge.driver) == (True, "pcieport")
    assert (gpu.device_id, gpu.driver, gpu.parent) == (0x2BB4, "nvidia", "0000:40:01.1")


def test_listing_without_its_indentation_is_not_taken_for_a_wrapped_one() -> None:
    flat = parse_lspci("\n".join(line.strip() for line in WRAPPED.splitlines()[2:]))
    assert [function.driver for function in flat.functions] == ["nvidia"]
    head = (
        "41:00.0 VGA compatible controller [0300]: NVIDIA Corporation GB202GL [10de:2bb4] (rev a1)"
    )
    (gpu,) = parse_lspci(f"{head}\nKernel driver in use: nvidia\n").functions
    assert gpu.driver == "nvidia"
