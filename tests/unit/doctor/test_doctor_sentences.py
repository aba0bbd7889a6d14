"""Rows of the table that a sentence gives away: engines, containers, kernel, NCCL."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.discover.capture import capture_text, read_capture
from rigspec.doctor.diagnose import diagnose

SENTENCES: dict[str, str] = {
    "A1": "INFO 11-02 10:00:01 pynccl.py:69] vLLM is using nccl==2.27.5",
    "A6": "[    0.350000] PCI: Unknown option `noacs'",
    "A7": "[    0.300000] PCI: Can't parse ACS command line parameter",
    "A10": "\tGPU0\tGPU1\n GPU0\tX\tGNS\n GPU1\tGNS\tX\n",
    "A11": "\tGPU0\tGPU1\n GPU0\tX\tCNS\n GPU1\tCNS\tX\n",
    "A12": """Unidirectional P2P=Disabled Bandwidth Matrix (GB/s)
   D\\D     0      1
     0 900.00  22.10
     1  22.00 900.00
Unidirectional P2P=Enabled Bandwidth (P2P Writes) Matrix (GB/s)
   D\\D     0      1
     0 900.00   9.90
     1   9.80 900.00
""",
    "A13": "Verification error @ element 1: val = 0.000000, ref = 4.000000",
    "A16": "environment: NCCL_P2P_LEVEL=NODE",
    "A17": "h:1:1 [0] NCCL INFO 2 coll channels, 0 collnet channels\nModel name: AMD EPYC 9575F",
    "A18": "NCCL WARN Failed to CUDA calloc 10485760 bytes",
    "A19": "Error: failed to extend /dev/shm/nccl-Qx3 to 4194660 bytes",
    "A20": "CUDA error: CUDA_ERROR_TOO_MANY_PEERS",
    "B4": "[   10.735323] pci 0000:04:00.0: 63.008 Gb/s available PCIe bandwidth, limited "
    "by 8.0 GT/s PCIe x8 link at 0000:00:01.0 "
    "(capable of 252.048 Gb/s with 16.0 GT/s PCIe x16 link)",
    "B5": "[ 1.000000] pcieport 0000:00:03.1: PCIe Bus Error: severity=Correctable, [ 6] BadTLP",
    "B6": "[ 9.000000] nvidia 0000:01:00.0: aer_uncor_status: 0x00000020",
    "B7": "[ 0.000000] BERT: [Hardware Error]: aer_uncor_status: 0x00004000",
    "B11": "[83260.063557] NVRM: BAR1 is 0M @ 0x0 (PCI:0000:14:00.0)",
    "C1": "[ 5.000000] NVRM: GPU 0000:01:00.0: GPU has fallen off the bus and is not responding",
    "C2": "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.\n"
    "NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus.",
    "C3": "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580",
    "C4": "modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.12.0",
    "C5": "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service",
    "C6": "[ 7.97] nvidia: module verification failed: signature and/or required key missing",
    "C8": "[ 8.000000] NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x24:0x72:1568)",
    "C10": "[ 1.982750] x2apic disabled",
    "C11": "[ 0.500000] AMD-Vi: Unknown option - 'on'",
    "C12": "NVIDIA-SMI version : 610.57.04\nKMD Version : 610.57.04",
    "D2": "Provided power limit 350.00 W is not a valid power limit",
    "D3": "Changing power management limit is not supported for GPU: 00000000:01:00.0.",
    "D5": "systemd-journald: File system.journal corrupted or uncleanly shut down, renaming",
    "E1": 'docker: could not select device driver "" with capabilities: [[gpu]].',
    "E2": 'docker: could not select device driver "cdi" with capabilities: [].',
    "E3": "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
    "E4": "load library failed: libnvidia-ml.so.1: cannot open shared object file",
    "E5": "Failed to initialize NVML: Unknown Error",
    "E7": "RuntimeError: Error 804: forward compatibility was attempted on non supported HW",
    "E8": "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0",
    "E9": "systemd[1]: Dependency failed for rigspec-glm.service",
    "F1": "ValueError: No available memory for the cache blocks. Try increasing it",
    "F2": "The model's max seq len (131072) is larger than the maximum number of tokens that can "
    "be stored in KV cache (39024)",
    "F3": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "F4": "OSError: /srv/models/glm does not appear to have a file named config.json",
    "F5": "OSError: [Errno 98] Address already in use",
    "F6": "ValueError: No valid attention backend found for sm_120",
    "F7": "kv_cache_dtype=fp8\nUsing KV cache scaling factor 1.0 for fp8_e4m3\n"
    '{"content": "!!!!!!!!!!!!!!!!!"}',
    "F8": '{"model": "GLM-5.2", "usage": {"completion_tokens": 1}}',
    "F9": '{"content": "<tool_call>{\\"name\\": \\"x\\"}</tool_call>"}',
    "F10": '{"object": "list", "data": []}\ncurl: (28) Operation timed out after 30000 ms',
    "F11": "tank on / type zfs (rw)\nwatchdog: BUG: soft lockup - CPU#3 stuck for 26s!",
    "F12": "Out of memory: Killed process 4711 (cicc) total-vm:1kB",
    "F13": "ValueError: Model architectures ['Qwen3ForCausalLM'] are not supported for now.",
    "F14": "Total number of attention heads (40) must be divisible by tensor parallel size (3).",
    "F15": "please ensure that world_size (2) is less than than max local gpu count (1)",
}
XIDS = {8: "Xid 8", 13: "Xid 13", 31: "Xid 31", 43: "Xid 43", 45: "Xid 45", 74: "Xid 74"}
XIDS |= {79: "Xid 79", 154: "Xid 154", 167: "Xid 167"}
XIDS |= dict.fromkeys((11, 25, 32), "Xid 13") | {137: "Xid 31", 136: "Xid 74", 155: "Xid 74"}
XIDS |= dict.fromkeys((48, 63, 64, 92, 94, 95, 140, 156, 157, 171, 172), "Xid 48")
XIDS |= dict.fromkeys((46, 62, 109, 119, 120, 143, 158), "Xid 62")


def rows_of(folder: Path) -> set[str]:
    return {found.symptom.row for found in diagnose(read_capture(folder))}


@pytest.mark.parametrize("row", SENTENCES)
def test_sentence_names_its_row_with_the_line_it_stands_in(row: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(SENTENCES[row])
    found = {d.symptom.row: d for d in diagnose(read_capture(tmp_path))}
    assert row in found
    place = found[row].evidence[0]
    lines = SENTENCES[row].splitlines()
    assert place.file == "text.txt"
    assert place.text.split()[:3] == lines[place.line - 1].split()[:3]


@pytest.mark.parametrize(("number", "row"), XIDS.items())
def test_xid_names_its_row(number: int, row: str, tmp_path: Path) -> None:
    (tmp_path / "dmesg.txt").write_text(f"NVRM: Xid (PCI:0000:01:00): {number}, something")
    assert row in rows_of(tmp_path)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("NCCL_P2P_LEVEL=SYS", "A16"),
        ("PCIe Bus Error: severity=Uncorrected (Fatal), type=x", "B5"),
        ("[    1.000000] pci 0000:05:00.0: 4.000 Gb/s available PCIe bandwidth, limited by 5.0 "
         "GT/s PCIe x1 link at 0000:00:1c.0 (capable of 8 Gb/s with 5.0 GT/s PCIe x2 link)", "B4"),
        ("Using KV cache scaling factor 1.0 for fp8_e4m3 kv_cache_dtype=fp8", "F7"),
    ],
)  # fmt: skip
def test_healthy_neighbour_of_a_sentence_names_nothing(line: str, row: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(line)
    assert row not in rows_of(tmp_path)


def test_secret_in_an_evidence_line_is_covered(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("Address already in use --api-key hunter2 hf_abcdefghijkl")
    text = diagnose(read_capture(tmp_path))[0].evidence[0].text
    assert "hunter2" not in text
    assert "hf_abc" not in text


REPORTS: dict[str, tuple[str, str]] = {
    "vllm 9920, ends in NCCL's own words": (
        "first-allreduce-hangs",
        "INFO 11-01 llm_engine.py:237] Initializing an LLM engine (v0.6.3.post1)\n"
        "rig:23458:23665 [0] NCCL INFO comm 0x23ba7ea0 rank 0 nranks 2 cudaDev 0 busId 47000 "
        "commId 0x47dc53f08cbcda96 - Init COMPLETE\n",
    ),
    "sglang ends where NCCL begins": (
        "first-allreduce-hangs",
        "[2025-05-01 10:00:20 TP0] Init torch distributed begin.\n"
        "[2025-05-01 10:00:21 TP1] sglang is using nccl==2.21.5\n",
    ),
    "torch's watchdog": (
        "first-allreduce-hangs",
        "[rank1]: [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=3, "
        "OpType=ALLREDUCE) ran for 600029 milliseconds before timing out.\n",
    ),
    "developer forum 371272": (
        "xid-reset",
        "NVRM: Xid (PCI:0000:01:00): 62, 323f0f30 0000c3d8 00000000 206dae68\n"
        "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 "
        "(GPU Reset Required)\n",
    ),
    "no nvidia runtime": ("no-toolkit", "docker: unknown or invalid runtime name: nvidia\n"),
    "llama.cpp has no room": (
        "llama-oom",
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 20480.00 MiB on device 0: "
        "cudaMalloc failed: out of memory\n",
    ),
    "vllm 50135": (
        "memory-taken",
        "ValueError: Free memory on device cuda:0 (3.21/23.56 GiB) on startup is less than "
        "desired GPU memory utilization (0.9, 21.2 GiB).\n",
    ),
    "old driver": ("image-newer", "RuntimeError: The NVIDIA driver on your system is too old\n"),
    "llm-d 706": (
        "libcuda-mismatch",
        "Error 803: system has unsupported display driver / cuda driver combination\n",
    ),
    "gpustack 4154": ("fabric-not-ready", "RuntimeError: Error 802: system not yet initialized\n"),
    "bus error of a loader": (
        "shm-small",
        "Unexpected bus error encountered in worker. This might be caused by insufficient shared "
        "memory (shm).\n",
    ),
    "vllm 5613": (
        "all-reduce-failed",
        "Failed: /src/vllm/csrc/custom_all_reduce.cuh:310 'invalid argument'\n",
    ),
    "peer access": (
        "p2p-gns",
        "CUDA error: peer access is not supported between these two devices\n",
    ),
    "gated weights": ("gated-weights", "Cannot access gated repo for url https://example.org/x.\n"),
    "gated weights, by the name of the error": (
        "gated-weights",
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1)\n",
    ),
    "gated weights, in the hub's words": (
        "gated-weights",
        "Access to model org/model is restricted. You must have access to it and be "
        "authenticated to access it. Please log in.\n",
    ),
    "gated weights, in the engine's words": (
        "gated-weights",
        "OSError: You are trying to access a gated repo.\nMake sure to have access to it.\n"
        "OSError: org/model does not appear to have a file named config.json.\n",
    ),
    "a token without the licence": (
        "gated-weights",
        "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: "
        "https://example.org/org/model/resolve/main/config.json\n",
    ),
    "bumblebee 172": (
        "silent-card",
        "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation Device [10de:0fd1] "
        "(rev ff) (prog-if ff)\n\t!!! Unknown header type 7f\n\tKernel driver in use: nvidia\n",
    ),
    "compose asks for the driver nvidia": (
        "no-toolkit",
        'Error: could not select device driver "nvidia" with capabilities: [[gpu]]\n',
    ),
    "fireshare 689, docker 29": (
        "stale-cdi",
        "docker: failed to discover GPU vendor from CDI: no known GPU vendor found\n",
    ),
    "sglang has no room": (
        "kv-none",
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.\n",
    ),
    "llama.cpp has no room to compute": (
        "llama-oom",
        "llama_init_from_model: failed to initialize the context: failed to allocate compute pp "
        "buffers\n",
    ),
    "a port cut the link": (
        "aer-uncorrected",
        "[ 12.5] pcieport 0000:40:01.1: DPC: containment event, status:0x1f01 source:0x0000\n",
    ),
    "nvidia-smi has failed": (
        "driver-silent",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
    ),
    "no devices": ("no-devices", "$ nvidia-smi\nNo devices were found\n"),
    "nccl 1410": (
        "nccl-error",
        "[rank6]: ncclUnhandledCudaError: Call to CUDA function failed.\n",
    ),
    "a full disk": ("disk-full", "OSError: [Errno 28] No space left on device: '/srv/models'\n"),
    "nvidia-container-cli without a driver": (
        "driver-silent",
        "nvidia-container-cli: initialization error: nvml error: driver not loaded\n",
    ),
    "llama.cpp, the last line alone": (
        "llama-oom",
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer\n",
    ),
    "a core that did not start": ("engine-dead", "EngineCore failed to start.\n"),
    "a core that was not initialised": (
        "engine-dead",
        "RuntimeError: Engine core initialization failed. See root cause above.\n",
    ),
    "a dead core alone": ("engine-dead", "EngineDeadError: EngineCore encountered an issue.\n"),
}


@pytest.mark.parametrize("report", REPORTS)
def test_report_leads_to_the_cause_its_thread_ended_with(report: str) -> None:
    cause, text = REPORTS[report]
    assert diagnose(capture_text("said.txt", text))[0].symptom.id == cause


@pytest.mark.parametrize(
    "text",
    [
        "NVRM: Xid (PCI:0000:38:00): 154, GPU recovery action changed from 0x1 (GPU Reset "
        "Required) to 0x0 (None)\n",
        "RuntimeError: unable to write to file </torch_71>: No space left on device (28)\n",
        "$ nvidia-smi topo -p2p n\n \tGPU0\tGPU1\t\n GPU0\tX\tNS\t\n GPU1\tNS\tX\t\n",
        "memcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)\n           0         1\n"
        " 0      6.36      6.33\n",
    ],
    ids=[
        "recovery was done",
        "shared memory is no disk",
        "NVLink was asked for",
        "from the host's memory",
    ],
)
def test_what_is_usual_is_no_cause(text: str) -> None:
    assert not diagnose(capture_text("said.txt", text))


def test_refusal_of_copies_is_a_cause_whatever_else_was_asked() -> None:
    matrix = " \tGPU0\tGPU1\t\n GPU0\tX\tNS\t\n GPU1\tNS\tX\t\n"
    for asked in ("$ nvidia-smi topo -p2p r\n", "$ nvidia-smi topo -p2p rw\n", ""):
        assert diagnose(capture_text("said.txt", asked + matrix))[0].symptom.id == "p2p-refused"
