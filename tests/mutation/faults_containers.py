"""Faults of engine, toolkit and CDI."""

from __future__ import annotations

from .registry import Fault

FAULTS = (
    Fault(
        "containers.packages",
        "the toolkit was removed",
        lambda raw: raw.drop("packages", r"^nvidia-container-toolkit-base\t"),
        "nvidia-container-toolkit-base is not installed",
    ),
    Fault(
        "containers.hold",
        "somebody lifted the toolkit's hold",
        lambda raw: raw.drop("holds", "^nvidia-container-toolkit-base$"),
        "an upgrade may change it unasked",
    ),
    Fault(
        "containers.cdi",
        "CDI does not offer one card",
        lambda raw: raw.drop("cdi", rf"={raw.uuids[2]}$"),
        "older than the cards",
    ),
    Fault(
        "containers.cdi",
        "CDI still offers a card that was taken out",
        lambda raw: raw.append("cdi", "nvidia.com/gpu=GPU-5eed0000-0042-4000-8000-000000000042"),
        "also GPU-5eed0000-0042",
    ),
    Fault(
        "containers.cdi-files",
        "a hand-made CDI file shadows the fresh one",
        lambda raw: raw.append("cdi-files", "/etc/cdi/nvidia.yaml"),
        "/etc/cdi/nvidia.yaml",
    ),
)
