"""How the stories read what a run says; needs no virtual rig."""

from __future__ import annotations

from said import changed_operations, red_rows


def test_the_id_of_a_long_title_stands_on_the_next_line() -> None:
    said = (
        "FAIL: GPU temperatures (simulated)  [gpus.temperature]\n    expected:  cool\n"
        "UNKNOWN: NVIDIA GeForce RTX 3090 on the PCI bus (simulated)\n    [gpus.present.rtx-3090]\n"
        "warn: the boot before ended in order  [host.last-boot]\n"
        "FAIL: without an id\n    found:     [0000:01:00.0]\n"
    )
    assert red_rows(said) == {"gpus.temperature", "gpus.present.rtx-3090"}


def test_only_operations_with_a_success_have_changed_something() -> None:
    said = (
        "--> Starting operation: Power: caps \n    [rig] No changes\n\n"
        "--> Starting operation: Service: units \n    [rig] answers\n    [rig] Success\n"
    )
    assert changed_operations(said) == ("Service: units",)
