"""Signed apt repositories that rigspec may add to a host, and the keys that must sign them."""

from __future__ import annotations

from rigspec.frozen import dataclass

_CUDA = "https://developer.download.nvidia.com/compute/cuda/repos"
_DOCKER = "https://download.docker.com/linux"

CUDA_KEY = "EB693B3035CD5710E231E123A4B469963BF863CC"
"""cudatools <cudatools@nvidia.com>, file 3bf863cc.pub: Ubuntu and Debian 12. Named so in ten public
repositories read 2026-11-24, among them an Ansible-like recipe for Debian 12 and Ubuntu 24.04."""
CUDA_KEY_DEBIAN_13 = "02182E60104FCDC26EAE1B8597A5D4CB8793F200"
"""Kitmaker (Debian 13 Trixie) <kitmaker@nvidia.com>, file 8793F200.pub: Debian 13 has its own key,
since its apt refuses the SHA-1 self-signature of the old one. Three public repositories."""
TOOLKIT_KEY = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
"""NVIDIA CORPORATION (Open Source Projects), https://nvidia.github.io/libnvidia-container/gpgkey;
ten public repositories read 2026-11-24."""
DOCKER_KEY = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
"""Docker Release (CE deb), the same for Debian and Ubuntu; ten public repositories."""


@dataclass(frozen=True)
class Repository:
    """A repository as a deb822 source needs it; `suite` `/` is a flat one without components."""

    name: str
    url: str
    suite: str
    components: tuple[str, ...]
    key_url: str
    key_fingerprint: str
    source: str


def nvidia_repository(os: str) -> Repository:
    """NVIDIA's CUDA network repository of an operating system (`debian-13`, `ubuntu-24.04`)."""
    url = f"{_CUDA}/{os.replace('-', '').replace('.', '')}/x86_64/"
    trixie = os == "debian-13"
    return Repository(
        name="nvidia",
        url=url,
        suite="/",
        components=(),
        key_url=f"{url}{'8793F200.pub' if trixie else '3bf863cc.pub'}",
        key_fingerprint=CUDA_KEY_DEBIAN_13 if trixie else CUDA_KEY,
        source="vendor: NVIDIA Driver Installation Guide r590; fingerprints see this module",
    )


def toolkit_repository() -> Repository:
    """NVIDIA container toolkit: one repository for every Debian and Ubuntu."""
    base = "https://nvidia.github.io/libnvidia-container"
    return Repository(
        name="toolkit",
        url=f"{base}/stable/deb/amd64/",
        suite="/",
        components=(),
        key_url=f"{base}/gpgkey",
        key_fingerprint=TOOLKIT_KEY,
        source="vendor: NVIDIA container toolkit, installation guide (1.20)",
    )


def docker_repository(os: str) -> Repository:
    """Docker's own repository (docker-ce) of an operating system."""
    family, _, _ = os.partition("-")
    return Repository(
        name="docker",
        url=f"{_DOCKER}/{family}/",
        suite={
            "debian-12": "bookworm",
            "debian-13": "trixie",
            "ubuntu-22.04": "jammy",
            "ubuntu-24.04": "noble",
        }[os],
        components=("stable",),
        key_url=f"{_DOCKER}/{family}/gpg",
        key_fingerprint=DOCKER_KEY,
        source="vendor: docs.docker.com, Install Docker Engine",
    )
