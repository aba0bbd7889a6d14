"""What one row says: the Xid that was seen, and whether a word runs or only waits in a file."""

from __future__ import annotations

import pytest

from rigspec.discover.capture import capture_text
from rigspec.doctor.diagnose import diagnose
from rigspec.report.doctor import as_text


@pytest.mark.parametrize(
    ("number", "head"),
    [(119, "[xid-reset, Xid 119, row Xid 62]"), (62, "[xid-reset, Xid 62]")],
)
def test_the_number_that_was_seen_stands_before_the_row(number: int, head: str) -> None:
    log = f"NVRM: Xid (PCI:0000:01:00): {number}, pid=1, name=python3, Timeout after 6s of waiting"
    (found,) = diagnose(capture_text("dmesg", log))
    assert found.xids == (number,)
    assert head in as_text((found,))


WRITTEN = '/etc/default/grub:GRUB_CMDLINE_LINUX_DEFAULT="quiet pci=noacs"'


@pytest.mark.parametrize(
    ("running", "found"),
    [
        ("rig_cmdline=root=/dev/sda1 quiet", ("acs-no-option-next", "possible")),
        ("rig_cmdline=root=/dev/sda1 pci=realloc,noacs", ("acs-no-option", "certain")),
        ("", ("acs-no-option-next", "possible")),
    ],
    ids=["only written", "running", "the line was not read"],
)
def test_noacs_is_certain_only_on_the_running_line(running: str, found: tuple[str, str]) -> None:
    text = f"##RIG host\n{running}\n##RIG-END\n##RIG grub\n{WRITTEN}\n##RIG-END\n"
    symptoms = [d.symptom for d in diagnose(capture_text("rig", text))]
    assert [(s.id, s.likelihood) for s in symptoms] == [found]


def test_llama_cpp_that_finds_no_room_is_one_cause_with_its_own_advice() -> None:
    log = (
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 20480.00 MiB on device 0: "
        "cudaMalloc failed: out of memory\n"
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer\n"
    )
    (found,) = diagnose(capture_text("server.log", log))
    assert found.symptom.id == "llama-oom"
    assert "gpu_layers" in found.symptom.do
    unknown = "llama_model_load: error loading model: unknown model architecture: 'x'\n"
    found = [d.symptom.id for d in diagnose(capture_text("server.log", unknown))]
    assert found == ["model-unknown"]
    other = "llama_model_load: error loading model: invalid split file\n"
    assert [d.symptom.id for d in diagnose(capture_text("server.log", other))] == ["llama-load"]


@pytest.mark.parametrize(
    "line",
    [
        "main: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 5000",
        "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 5000): addr",
        "ValueError: nccl_port at 5000 is not available in 10 seconds. it is used by a process",
        "OSError: [Errno 98] Address already in use",
    ],
    ids=["llama.cpp", "uvicorn", "sglang", "python"],
)
def test_a_port_that_is_taken_is_a_cause_in_every_engines_words(line: str) -> None:
    assert [d.symptom.id for d in diagnose(capture_text("engine.log", line))] == ["port-taken"]


def test_noacs_of_another_boot_is_not_running() -> None:
    text = (
        "##RIG host\nrig_cmdline=root=/dev/sda1 quiet\n##RIG-END\n"
        "##RIG entry\noptions root=/dev/sda1 pci=noacs\n##RIG-END\n"
    )
    assert [d.symptom.id for d in diagnose(capture_text("rig", text))] == ["acs-no-option-next"]


@pytest.mark.parametrize(
    ("online", "log", "found"),
    [
        (255, "x2apic disabled", ["iommu-cpu-lost"]),
        (256, "x2apic disabled", ["x2apic-off"]),
        (255, "x2apic enabled", []),
    ],
)
def test_cpu_is_lost_where_one_is_missing_and_x2apic_is_off(
    online: int, log: str, found: list[str]
) -> None:
    cpu = (
        f"Architecture: x86_64\nCPU(s): {online}\nOn-line CPU(s) list: 0-{online - 1}\n"
        "Thread(s) per core: 2\nCore(s) per socket: 64\nSocket(s): 2\n"
    )
    text = f"##RIG cpu\n{cpu}##RIG-END\n##RIG kernel-log\n[    0.100000] {log}\n##RIG-END\n"
    assert [d.symptom.id for d in diagnose(capture_text("rig", text))] == found
