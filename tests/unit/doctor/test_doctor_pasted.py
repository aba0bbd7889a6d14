"""Outputs as threads hold them: the cause that each ended with, and none that it had not."""

from __future__ import annotations

import pytest

from rigspec.discover.capture import capture_text
from rigspec.doctor.diagnose import Diagnosis, diagnose


def causes(text: str) -> tuple[Diagnosis, ...]:
    return diagnose(capture_text("pasted.txt", text))


def rows(text: str) -> list[tuple[str, str]]:
    return [(d.symptom.likelihood.value, d.symptom.row) for d in causes(text)]


SAID = {
    # NVIDIA/nccl-tests 131
    "# Out of bounds values : 50 FAILED": ("certain", "A13"),
    # vllm-project/vllm 6732 and 7201
    "RuntimeError: NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO)": ("possible", "A1"),
    "RuntimeError: NCCL error: invalid usage": ("possible", "A1"),
    # EleutherAI/gpt-neox 419, an older torch
    "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp:825, unhandled system error": (
        "possible", "A1"),
    # NVIDIA/cuda-samples 48
    "kernel: nvidia 0000:07:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003]": (
        "possible", "A1"),
    # MiniMax-AI/MiniMax-01 42: NCCL explains its error above it
    "NCCL WARN Error while creating shared memory segment /dev/shm/nccl-x (size 7340384)\n"
    "ncclSystemError: System call failed": ("certain", "A19"),
    # rllm-org/rllm 153
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n"
    "Cuda failure 217 'peer access is not supported between these two devices'": (
        "certain", "A10"),
    # NVIDIA/nvbandwidth 34
    "Running device_to_device_memcpy_read_ce.\n Invalid value when checking the pattern": (
        "certain", "A13"),
    # ikawrakow/ik_llama.cpp 1596: the firmware keeps the errors, and reports them
    "{3}[Hardware Error]: event severity: corrected\n"
    "{3}[Hardware Error]:   section_type: PCIe error\n"
    "{3}[Hardware Error]:   vendor_id: 0x10de, device_id: 0x2204": ("likely", "B5"),
    "{1}[Hardware Error]: event severity: fatal\n"
    "{1}[Hardware Error]:   section_type: PCIe error\n"
    "{1}[Hardware Error]:   vendor_id: 0x10de, device_id: 0x2204": ("likely", "B7"),
    # NVIDIA/open-gpu-kernel-modules 1109
    "[1.000000] NVRM: Fatal Error while attempting to resize PCIe BARs.": ("certain", "B11"),
    # a DGX B300 in a virtual machine
    "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid": ("certain", "B11"),
    # bryansteiner/gpu-passthrough-tutorial 39
    "nvidia 0000:01:00.0: Unable to change power state from D3cold to D0": ("likely", "C1"),
    # pop-os/pop 3811, void-linux/void-packages 61087, an Arch guide
    "Consult /var/lib/dkms/nvidia/580.119.02/build/make.log for more": ("certain", "C4"),
    "DKMS module 'nvidia-580.142' failed to build, please check /var/lib/dkms": ("certain", "C4"),
    "==> ERROR: module not found: 'nvidia_uvm'": ("certain", "C4"),
    # NVIDIA/nvidia-docker 1675; ggml-org/llama.cpp 7218
    "initialization error: driver rpc error: failed to process request": ("possible", "C4"),
    "ggml_cuda_init: failed to initialize CUDA: unknown error": ("possible", "C4"),
    # kvcache-ai/ktransformers 637
    "Out of memory: Killed process 90211 (python) total-vm:512345678kB": ("certain", "F3"),
    # NVIDIA/nvidia-container-toolkit 885
    'failed to stat CDI host device "/dev/dri/renderD129": no such file': ("certain", "E3"),
    # dockserver/dockserver 525: a container of Proxmox
    "nvidia-container-cli: initialization error: nvml error: insufficient permissions": (
        "likely", "E5"),
    # ggml-org/llama.cpp 3199 and 2432; a log that got as far as its first long prompt
    "CUDA error 2 at /data/llama.cpp/ggml-cuda.cu:5509: out of memory": ("certain", "F3"),
    "CUDA error: out of memory\n  current device: 2, in function alloc": ("certain", "F3"),
    "torch.AcceleratorError: CUDA error: out of memory": ("certain", "F3"),
    # ggml-org/llama.cpp 26297: it tried again, and serves
    "E allocating 51748.72 MiB on device 1: cudaMalloc failed: out of memory\n"
    "W compute buffer allocation failed, retrying without pipeline parallelism\n"
    "I main: server is listening on http://127.0.0.1:8080": ("harmless", "F3"),
    # sgl-project/sglang 7227 on a 3090; vLLM on a V100
    'ValueError("type fp8e4nv not supported in this architecture")': ("certain", "F6"),
    "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0": (
        "certain", "F6"),
    # vllm-project/vllm 10974 and 2247, vllm-plugin-FL 185: the model is not where the engine looks
    "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'a' or 'b/a': '/m/'": (
        "certain", "F4"),
    "OSError: We couldn't connect to 'https://huggingface.co' to load this file": ("likely", "F4"),
    "ingface_hub.errors.LocalEntryNotFoundError: An error happened": ("likely", "F4"),
    # vllm-project/vllm 29469, a GB10: the image's CUDA is older than the card
    "(EngineCore_DP0 pid=93) ptxas fatal   : Value 'sm_121a' is not defined for option": (
        "certain", "F6"),
    "nvcc fatal   : Unsupported gpu architecture 'compute_120a'": ("certain", "F6"),
    # nvidia-smi -q of driver 575 and newer
    "        TPC Repair Pending                             : Yes": ("certain", "Xid 48"),
    # NVIDIA/gpu-operator 544; nvidia-smi -q of a card that waits
    "fabric manager NVIDIA GPU driver interface version 530.30.02 don't match with driver "
    "version 530.41.03": ("certain", "E9"),
    "    Fabric\n        State                             : In Progress": ("certain", "E9"),
}  # fmt: skip


@pytest.mark.parametrize("text", SAID, ids=lambda text: text[:40])
def test_sentence_leads_to_its_cause(text: str) -> None:
    assert rows(text) == [SAID[text]]


@pytest.mark.parametrize(
    "text",
    [
        # pop-os/pop 1338: the build that failed is of another module
        "Error! Bad return status for module build on kernel: 5.8.0-7625-generic (x86_64)\n"
        "Consult /var/lib/dkms/bcmwl/6.30.223/build/make.log for more information.",
        # windows of bridges, ports, ROMs and virtual functions: a GPU does without
        "[0.7] pci 0000:00:1c.0: BAR 13: no space for [io  size 0x1000]\n"
        "[0.7] pcieport 0000:7b:02.0: BAR 15: no space for [mem size 0x00200000 64bit pref]\n"
        "[0.7] pci 0000:41:00.0: BAR 6: no space for [mem size 0x00080000 pref]\n"
        "[0.8] pci 0000:c1:00.0: VF BAR 0 [mem size 0x00800000 64bit pref]: can't assign; no space",
        "[0.7] pci 0000:41:00.0: [10de:2204] type 00 class 0x030000\n"
        "[0.8] pci 0000:c1:00.0: BAR 2 [mem size 0x00800000]: can't assign; no space",
        # pop-os/pop 751: the errors are those of an NVMe drive
        " pcieport 0000:00:1d.0: AER: PCIe Bus Error: severity=Corrected, type=Physical Layer\n"
        " nvme 0000:03:00.0: AER: PCIe Bus Error: severity=Uncorrected (Fatal), type=Physical\n"
        "-[0000:00]-+-00.0 Intel Corporation Host Bridge\n"
        "           +-01.0-[01]----00.0 NVIDIA Corporation GP106M [GeForce GTX 1060 Mobile]\n"
        "           \\-1d.0-[03]----00.0 Samsung Electronics Co Ltd NVMe SSD Controller\n",
        # bytedance-iaas/vllm 76: the engine only asks the hub about a folder that it has
        "Error retrieving file list: Repo id must be in the form 'a' or 'b/a': '/m/', retrying 1",
        "        State                             : Completed",
        "        Channel Repair Pending            : No\n"
        "        Unrepairable Memory               : N/A",
        # a laptop whose drive reports alone
        "nvme 0000:bf:00.0: PCIe Bus Error: severity=Correctable, type=Physical Layer",
    ],
)  # fmt: skip
def test_words_about_something_else_are_no_cause(text: str) -> None:
    assert not causes(text)


def test_errors_of_the_port_above_a_gpu_are_a_cause() -> None:
    text = (
        " pcieport 0000:00:01.0: AER: PCIe Bus Error: severity=Corrected, type=Physical Layer\n"
        " nvidia 0000:01:00.1: AER: PCIe Bus Error: severity=Uncorrected (Fatal), type=Physical\n"
        "-[0000:00]-+-00.0 Intel Corporation Host Bridge\n"
        "           \\-01.0-[01]--+-00.0 NVIDIA Corporation GP106M [GeForce GTX 1060 Mobile]\n"
        "                        \\-00.1 NVIDIA Corporation GP106 High Definition Audio\n"
    )
    assert rows(text) == [("likely", "B5"), ("likely", "B7")]


CARD = """\
01:00.0 VGA compatible controller: NVIDIA Corporation GA102 [GeForce RTX 3090] (rev a1)
\tRegion 1: Memory at {place} (64-bit, prefetchable)
\tCapabilities: [78] Express (v2) Legacy Endpoint, MSI 00
\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x16, ASPM L0s L1
\t\tLnkSta:\tSpeed 16GT/s, Width x4 (downgraded)
"""
PORT = """\
00:01.0 PCI bridge: Intel Corporation Root Port (prog-if 00 [Normal decode])
\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
\tCapabilities: [78] Express (v2) Root Port (Slot+), MSI 00
\t\tLnkCap:\tPort #1, Speed 16GT/s, Width x{width}, ASPM L1
\t\tLnkSta:\tSpeed 16GT/s, Width x4
"""


def test_lanes_prove_something_where_both_ends_were_read() -> None:
    card = CARD.format(place="380000000000")
    assert rows(card) == [("possible", "B3")]
    assert rows(PORT.format(width=16) + card) == [("certain", "B3")]
    assert not rows(PORT.format(width=4) + card)


def test_region_without_a_place_is_no_small_one() -> None:
    # HeyMeco/Rockchip-pcie-devices 2
    assert ("certain", "B11") in rows(CARD.format(place="<unassigned>"))
    assert "B10" not in {row for _, row in rows(CARD.format(place="<unassigned>"))}


def test_xid_that_another_names_as_its_cause_is_the_cause() -> None:
    # NVIDIA/open-gpu-kernel-modules 1150
    said = "kernel: NVRM: Xid (PCI:0000:dc:00): 45, pid=18, Ch 00000001 caused by previous Xid 149"
    first, second = causes(said)
    assert (first.symptom.row, first.xids) == ("Xid 74", (149,))
    assert (second.symptom.row, second.xids) == ("Xid 45", (45,))
