"""Faults of the service proof, of managed files and of secrets: what the kernel, curl, the
container engine and sha256sum printed."""

from __future__ import annotations

from .raw import Raw
from .registry import Fault

POWER = "/usr/local/lib/rigspec/power"
PLAN = "/etc/rigspec/plan.json"
KEY = "/etc/rigspec/secrets/glm.env"


def ignored_stop(raw: Raw) -> Raw:
    """The stop sequence is a blank, and the answer goes on behind it."""
    return raw.sub("stop-glm", r'("content": ?)"[^"]*"', r'\1"rig is ready"')


def other_content(raw: Raw, path: str) -> Raw:
    """sha256sum prints another digest."""
    return raw.sub("files", rf"^[0-9a-f]{{64}}(  {path})$", rf"{'0' * 64}\1")


FAULTS = (
    Fault(
        "service.stop",
        "the engine goes on behind a stop sequence",
        ignored_stop,
        "the stop sequence is ignored",
    ),
    Fault(
        "service.context",
        "the engine was started with a shorter context",
        lambda raw: raw.sub("models-glm", '"max_model_len":[0-9]+', '"max_model_len":32768'),
        "it was started with another context length",
        rig="metal",
    ),
    Fault(
        "service.bind",
        "the port is open on another address than planned",
        lambda raw: raw.sub("listeners", r"[0-9A-F]{8}:1388 ", "0B0200C0:1388 ", count=0),
        "it does not answer where the spec says",
    ),
    Fault(
        "service.bind",
        "the port is open on a second address as well",
        lambda raw: raw.append("listeners", "   9: 0B0200C0:1388 00000000:0000 0A 0 0 0"),
        "more machines reach it than the spec says",
    ),
    Fault(
        "service.image",
        "the container runs another image",
        lambda raw: raw.sub("image-glm", "^running .*", f"running sha256:{'b' * 64}"),
        "another image than the plan names",
    ),
    Fault(
        "service.exposure",
        "a route that runs the model is open without the key",
        lambda raw: raw.sub("routes-glm", "401 POST /invocations", "400 POST /invocations"),
        "can run the model",
        rig="metal",
    ),
    Fault(
        "service.exposure",
        "a route that changes the server is open without the key",
        lambda raw: raw.sub("routes-glm", "401 PATCH /sleep", "405 PATCH /sleep"),
        "can change the server",
        rig="metal",
    ),
    Fault(
        "files.managed",
        "a managed file was edited",
        lambda raw: other_content(raw, POWER),
        "other content",
    ),
    Fault(
        "files.managed",
        "a managed file lost its mode",
        lambda raw: raw.sub("files", rf"^stat 755 (.*{POWER})$", r"stat 700 \1"),
        "mode 700",
    ),
    Fault(
        "files.plan",
        "the host was given an older plan",
        lambda raw: other_content(raw, PLAN),
        "has changed since the last deploy",
    ),
    Fault(
        "secrets.mode",
        "the key's file can be read by everybody",
        lambda raw: raw.sub("secrets", rf"^file {KEY} 600", f"file {KEY} 644"),
        "others may read it",
        rig="metal",
    ),
    Fault(
        "secrets.leaked",
        "the key stands in a process's arguments",
        lambda raw: raw.append("secrets", f"place {KEY} argv 812 vllm"),
        "argv 812 vllm",
        rig="metal",
    ),
)
