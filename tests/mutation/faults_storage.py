"""Faults of disks and weights."""

from __future__ import annotations

from .registry import Fault

FAULTS = (
    Fault(
        "storage.mount",
        "the weights disk is not mounted",
        lambda raw: raw.drop("findmnt", 'TARGET="/srv/models"'),
        "its disk is not mounted",
    ),
    Fault(
        "storage.mount",
        "the weights disk has another file system",
        lambda raw: raw.sub("findmnt", '(TARGET="/srv/models".*FSTYPE=)"ext4"', r'\1"xfs"'),
        "another file system",
    ),
    Fault(
        "model.weights",
        "a shard is missing",
        lambda raw: raw.drop("models", "^complete glm$"),
        "a file is missing",
        rig="metal",
    ),
    Fault(
        "model.weights",
        "weights that no hub has are gone",
        lambda raw: raw.drop("models", "^there glm$"),
        "nobody but you can bring it",
    ),
    Fault(
        "model.weights",
        "a shard of weights that no hub has is gone",
        lambda raw: raw.append("models", "lacks glm model-00002-of-00009.safetensors is missing"),
        "model-00002-of-00009.safetensors is missing",
    ),
)
