"""What each pattern of the format means, in words, with an example an owner can copy.

Keyed by the pattern itself: a test walks the models and fails when one has no words here.
"""

from __future__ import annotations

from rigspec.frozen import dataclass


@dataclass(frozen=True)
class Form:
    """A text form: what is allowed, and one that is."""

    words: str
    example: str


_NAME = Form(
    "lower-case letters, digits and dashes, 32 at most, a letter or digit at both ends", "main"
)
_URL = Form("an http or https address without blanks or quotes", "https://mirror.example/debian13")

NAME = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
FORMS: dict[str, Form] = {
    NAME: _NAME,
    r"^([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-1][0-9a-fA-F]\.[0-7]$": Form(
        "a PCI slot as `lspci` prints it, [domain:]bus:device.function", "0000:41:00.0"
    ),
    r"^GPU-[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$": Form(
        "a GPU UUID as `nvidia-smi -L` prints it", "GPU-0c5b7a1e-1111-2222-3333-444455556666"
    ),
    r"^[a-z0-9][a-z0-9-]*(\.[0-9]{1,2})?$": Form(
        "a group of `gpus`, or one member of it: name, dot, index from 0", "main.0"
    ),
    r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,119}$": Form(
        "a commit of 40 digits (or a branch or tag, with consent)",
        "e89b16ebf1988b3d6befa7de50abc2d76f26eb09",
    ),
    r"^/[A-Za-z0-9._/@+=-]*$": Form(
        "an absolute path without blanks, `~` or quotes", "/srv/models"
    ),
    r"^/[A-Za-z0-9._/@+=-]*\.prom$": Form(
        "an absolute path that ends with `.prom`", "/var/lib/node_exporter/rigspec.prom"
    ),
    r"^1[0-9]\.[0-9]$": Form("a CUDA version, two numbers with a dot", "13.0"),
    r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9]+)?$": Form("a version of three numbers", "1.20.0-1"),
    r"^https?://[^\s\"'`$\\]+$": _URL,
    r"^[0-9A-Fa-f]{40}$": Form(
        "an OpenPGP fingerprint of 40 hex digits without blanks",
        "9DC858229FC7DD38854AE2D88D81803C0EBFCD88",
    ),
    r"^[0-9]{3}\.[0-9]{2,3}(\.[0-9]{2})?$": Form("a driver version", "595.71.05"),
    r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$": Form(
        "a host name or an IP address, without user, port or `http://`", "192.0.2.10"
    ),
    r"^[a-z_][a-z0-9_-]{0,31}$": Form("a Linux user name", "rig"),
    r"^[A-Za-z0-9_][A-Za-z0-9_.,:;=/@+*-]*$": Form(
        "one kernel argument per entry, without blanks or quotes", "pci=realloc=off"
    ),
    r"^[a-z0-9][a-z0-9_]{0,63}$": Form("a kernel module's name", "nvidia_uvm"),
    r"^[A-Za-z][A-Za-z0-9_]{0,63}$": Form("a module option's name", "uvm_disable_hmm"),
    r"^[A-Za-z0-9_.,:;=/@+*-]*$": Form("a module option's value, without blanks or quotes", "1"),
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}$": Form(
        "a hub repository, organisation/name", "Qwen/Qwen3.6-27B-FP8"
    ),
    r"^[A-Za-z0-9_.*?/-]+$": Form("a file name pattern without blanks", "*.safetensors"),
    r"^[A-Z][A-Z0-9_]{0,63}$": Form(
        "the NAME of an environment variable in capitals, never the secret itself", "HF_TOKEN"
    ),
    r"^[A-Za-z0-9_./-]+\.gguf$": Form(
        "a path that ends with `.gguf`", "Q4_K_M/model-00001-of-00003.gguf"
    ),
    r"^[a-z0-9][A-Za-z0-9._/:-]{0,200}(@sha256:[0-9a-f]{64})?$": Form(
        "a container image, `name:tag@sha256:` and 64 hex digits",
        "vllm/vllm-openai:v0.30.0@sha256:8a69…",
    ),
    r"^[A-Za-z0-9_.:/-]+$": Form("one word of letters, digits and `_ . : / -`", "fp8"),
    r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,95}$": Form(
        "a model name without blanks, 96 at most", "qwen3.6-27b"
    ),
    r"^[^\x00-\x1f\x7f]+$": Form("one word, without line breaks or control characters", "--seed"),
    r"^[^\x00-\x1f\x7f]*$": Form("one line, without control characters", "PCI_BUS_ID"),
    r"^[0-9a-fA-F.:]+$": Form("an IP address", "127.0.0.1"),
    r"^[0-9A-Za-z][A-Za-z0-9_.+-]*$": Form("a version of letters, digits and `. _ + -`", "0.30.0"),
    r"^[A-Za-z_][A-Za-z0-9_]*$": Form("an environment variable's name", "NCCL_P2P_LEVEL"),
    r"^(LABEL=|UUID=|PARTUUID=|/dev/)[A-Za-z0-9._/-]{1,120}$": Form(
        "a file system by label, UUID or device", "LABEL=weights"
    ),
    r"^[A-Za-z0-9_,=.-]+$": Form("mount options, commas without blanks", "defaults,noatime"),
}


def form_of(pattern: str) -> Form:
    """The words for a pattern; the pattern itself when nobody wrote any (a test prevents it)."""
    return FORMS.get(pattern, Form(f"text of the form `{pattern}`", ""))
