"""Faults of running servers: what curl and the container printed."""

from __future__ import annotations

from .raw import Raw
from .registry import Fault

SILENT = "\n##RIG-HTTP 000 30.000000\n##RIG-EXIT 28 curl"


def noise(raw: Raw) -> Raw:
    """One token over and over: wrong peer data."""
    return raw.sub("completion-glm", r'("content": ?)"[^"]*"', rf'\1"{"!" * 40}"')


FAULTS = (
    Fault(
        "service.models",
        "the engine serves another name",
        lambda raw: raw.sub("models-glm", "GLM-5.2", "other-model", count=0),
        "does not serve GLM-5.2",
    ),
    Fault(
        "service.completion",
        "the engine is frozen, its port open",
        lambda raw: raw.put("completion-glm", SILENT),
        "the engine is frozen",
    ),
    Fault("service.completion", "the answer is noise", noise, "one token over and over"),
    Fault(
        "service.stream",
        "the stream breaks off",
        lambda raw: raw.drop("stream-glm", r"^data: \[DONE\]"),
        "the stream broke off",
    ),
    Fault(
        "service.key",
        "the engine serves without a key",
        lambda raw: raw.sub("nokey-glm", "HTTP 401", "HTTP 200"),
        "anybody who reaches the port is served",
        rig="metal",
    ),
    Fault(
        "service.mounts",
        "a mounted folder is gone",
        lambda raw: raw.sub("mounted", "^there /srv/templates$", "absent /srv/templates"),
        "absent: /srv/templates",
        rig="metal",
    ),
    Fault(
        "service.cards",
        "the container lost a card",
        lambda raw: raw.drop("cards-glm", raw.uuids[3]),
        "the container has lost its devices",
    ),
)
