"""Drafts of pasted texts: what a text does not say is the owner's, never a reading."""

from __future__ import annotations

from rigspec.discover.capture import capture_text
from rigspec.discover.draft import draft_spec
from rigspec.discover.seen import read_seen


def line_of(text: str, words: str) -> str:
    """The one line of the draft that holds these words."""
    draft = draft_spec(read_seen(capture_text("pasted.txt", text)), "rig")
    (line,) = [line for line in draft.splitlines() if words in line]
    return " ".join(line.split())


CARD = (
    "01:00.0 VGA compatible controller: NVIDIA Corporation GA102 [GeForce RTX 3090] (rev a1)\n"
    "\tCapabilities: [78] Express (v2) Legacy Endpoint, MSI 00\n"
    "\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x16, ASPM L0s L1\n"
    "\t\tLnkSta:\tSpeed 8GT/s (downgraded), Width x4 (downgraded)\n"
)
PORT = (
    "00:01.0 PCI bridge: Intel Corporation Root Port (prog-if 00 [Normal decode])\n"
    "\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n"
    "\tCapabilities: [78] Express (v2) Root Port (Slot+), MSI 00\n"
    "\t\tLnkCap:\tPort #1, Speed 8GT/s, Width x4, ASPM L1\n"
)


def test_generation_of_a_slot_that_was_not_read_is_the_owners() -> None:
    # HeyMeco/Rockchip-pcie-devices 2
    said = line_of(CARD, "generation:")
    assert said.startswith("generation: 4") and "owner: the slot was not read" in said
    assert line_of(PORT + CARD, "generation:") == "generation: 3 # pasted.txt: LnkCap of both ends"


def test_switch_of_a_drawing_is_a_switch_of_which_nothing_was_read() -> None:
    drawing = (
        "-[0000:00]-+-01.1-[01-04]----00.0-[02-04]--+-00.0-[03]----00.0  NVIDIA Corporation A\n"
        "           |                               \\-01.0-[04]----00.0  NVIDIA Corporation A\n"
    )
    assert "[main.0, main.1]" in line_of(drawing, "gpus: [main.0")
    assert "owner: ACSCtl of 0000:02:00.0 was not read" in line_of(drawing, "acs:")
    draft = draft_spec(read_seen(capture_text("pasted.txt", drawing)), "rig")
    assert "LnkCap" not in draft and "no switch above" not in draft


def test_cards_that_a_cut_text_does_not_describe_are_missed() -> None:
    # NVIDIA/nvidia-docker 914
    said = (
        "Attached GPUs                       : 8\nGPU 00000000:06:00.0\n"
        "    Product Name                    : Tesla V100-SXM2-16GB\n"
    )
    assert line_of(said, "these texts describe") == (
        "# owner: the driver shows 8 GPUs, these texts describe 1 of them"
    )


def test_cpus_are_counted_where_only_some_cores_have_two_threads() -> None:
    cpu = (
        "Architecture:          x86_64\nCPU(s):                32\nOn-line CPU(s) list:   0-31\n"
        "Model name:            13th Gen Intel(R) Core(TM) i9-13900K\nThread(s) per core:    2\n"
        "Core(s) per socket:    24\nSocket(s):             1\n"
    )
    said = line_of(cpu + "\n" + CARD, "logical_cpus:")
    assert said == "logical_cpus: 32 # pasted.txt: online or not"
