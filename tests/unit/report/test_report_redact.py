"""What names a person, a place or a machine does not leave the house; what explains stays."""

from __future__ import annotations

import pytest

from rigspec.report.redact import redactor

PLANTED = {
    "192.168.17.23": "listens on {}:8000, reached from {}.",
    "203.0.113.7": "ssh rig@{} failed",
    "fe80::1c2d:3eff:fe4f:5a6b": "address {}.",
    "2001:db8::17": "http://[{}]:5000/v1/models",
    "a4:bf:01:6e:7d:2c": "eth0 {} up",
    "GPU-1a0f1c52-7d3e-4b6a-9c81-0f2e4d6b8a91": "{} does not answer",
    "6f1c0b5e-98f2-4f0e-a4e4-3d5ad0a3c0de": "boot {}",
    "1324523034567": "the card {} is gone",
    "S5GXNX0T123456": "Serial Number : {}",
    "nvme-Samsung_SSD_990_S7U8NX0X": "/dev/disk/by-id/{} is gone",
    "1A2B-3C4D": "root=UUID={} ro",
    "hf_AbCdEfGhIjKlMnOp": "token {} refused",
    "sk-proj-AbCdEfGh12345": "asked with {}",
    "correct-horse": "--api-key {} --port 1",
    "battery-staple": "RIGSPEC_GLM_KEY={} in the environment",
    "hunter22": 'PASSWORD="{}"',
    "QWxhZGRpbjpvcGVuIHNlc2FtZQ": "Authorization: Bearer {}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_def-123": "cookie {}",
    "AAAAC3NzaC1lZDI1NTE5AAAAIJ7k": "ssh-ed25519 {} x",
    "MIIEvQIBADANBgkqhkiG9w0BAQ": "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    "alice": "-v/home/{}/models:/models and ~/{}/x",
    "ada": "/Users/{}/key",
    "weights-of-bob": "mounted on /srv/{}.",
    "carol@example.org": "mail {}",
    "gpubox.example.org": "connected to {}: refused",
}


@pytest.mark.parametrize("secret", PLANTED)
def test_a_planted_value_does_not_come_through(secret: str) -> None:
    said = redactor(["gpubox.example.org"])(PLANTED[secret].format(*[secret] * 2))
    assert secret not in said
    assert "[" in said


@pytest.mark.parametrize(
    "text",
    [
        "0000:03:00.0 has 8 of 16 lanes, ReqRedir+ at 0000:02:00.0",
        "/etc/rigspec/gpus.tsv, /proc/cpuinfo, /sys/module/pcie_aspm/parameters/policy",
        "127.0.0.1:8000 and ::1 and 0.0.0.0",
        "driver 595.71.05, kernel 6.12.48+deb13-amd64, VBIOS 94.02.26.40.1A, at 12:34:56",
        "13.2 GB/s and 41.5 tok/s, n/a, room on /",
        "vllm/vllm-openai@sha256:251eba5cc7c12fed0b75da22a9240e582b1c9e39f6fbc064f86781b963bd814f",
        "max_tokens: 4096; --max-num-batched-tokens 4096",
        "NVIDIA RTX PRO 6000 Blackwell, 97887 MiB, 0x2bb1, 137438953472 bytes",
        "key (hidden), 401 without a key at /v1/models",
        "systemctl reload rigspec-power; look at: dmesg | grep -i aspm",
    ],
)
def test_what_explains_stays(text: str) -> None:
    assert redactor()(text) == text


def test_the_same_value_keeps_one_name_and_another_gets_another() -> None:
    hide = redactor()
    assert hide("10.0.0.1 to 10.0.0.2") == "[address 1] to [address 2]"
    assert hide("10.0.0.2 again") == "[address 2] again"
