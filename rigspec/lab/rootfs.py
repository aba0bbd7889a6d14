"""The tree of a freshly installed Debian: which packages, which files, which accounts.

It is what a minimal installation with an ssh server has, no more: no Python, no pciutils, no curl.
What a rig needs beyond that, rigspec has to install.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rigspec.lab.archive import CUT, Archive
from rigspec.lab.debian import bootstrap
from rigspec.lab.home import lab_home, ssh_key
from rigspec.lab.server import serving
from rigspec.lab.signing import public_key

Suite = Literal["trixie", "bookworm"]
Kernel = Literal["cloud", "full"]
Firmware = Literal["bios", "uefi"]

LAB_ADDRESS = "10.0.2.100"  # where QEMU's user network answers for the lab's own server
LAB_NAME = "lab.rigspec.internal"
ARCHIVE_KEY = "/usr/share/keyrings/rigspec-lab.asc"  # signs what archive.py serves
MARKER = "/usr/share/rigspec-lab/SIMULATED"

BASE = (
    *("systemd-sysv", "dbus", "udev", "kmod", "initramfs-tools", "zstd"),
    *("openssh-server", "sudo", "iproute2", "e2fsprogs", "less", "procps"),
    # of priority `standard` in Debian; its postinst takes 80 s under emulation
    "ca-certificates",
)
BOOT = {
    "bios": ("grub-pc",),
    "uefi": ("grub-efi-amd64", "grub-efi-amd64-signed", "shim-signed", "efibootmgr", "mokutil"),
}
KERNELS = {"cloud": "linux-image-cloud-amd64", "full": "linux-image-amd64"}

NETWORK = """[Match]
Name=en* eth*
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
UseDNS=no
"""

# docker takes plain HTTP only from 127.0.0.0/8 without being told, so the registry is there, on a
# port that no spec is likely to give a service
REGISTRY_SOCKET = """[Unit]
Description=Lab registry on this machine's loopback (forwards to the lab's server)
[Socket]
ListenStream=127.0.0.1:48555
[Install]
WantedBy=sockets.target
"""
REGISTRY_SERVICE = f"""[Unit]
Description=Lab registry forwarder
Requires=lab-registry.socket
[Service]
ExecStart=/usr/lib/systemd/systemd-socket-proxyd {LAB_ADDRESS}:80
"""

GRUB_DEFAULTS = """GRUB_TIMEOUT=0
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
GRUB_CMDLINE_LINUX="{arguments}"
GRUB_CMDLINE_LINUX_DEFAULT=""
"""
EMULATED = " ".join(
    (
        "console=ttyS0",
        # a timer that is late on a busy host would end the boot (`timer doesn't work through
        # Interrupt-remapped IO-APIC`)
        "no_timer_check",
        "panic=5",  # nobody is there to press reset
        # an emulated processor does not speculate, and kernel page-table isolation costs it a
        # flushed TLB per system call
        "mitigations=off",
    )
)
KERNEL_ARGUMENTS = {
    "cloud": EMULATED,
    # the full kernel's nouveau would bind to a card whose registers are not there, and oops
    "full": f"{EMULATED} modprobe.blacklist=nouveau",
}

# Nobody logs in at this machine's console or looks after its file systems. Under emulation each
# unit of a boot takes half a second, and each generator and subscriber of systemd's signals its
# part of every `daemon-reload`: a converged rig on two slow cores took 120 s from a reboot to ssh
# and 6.7 s for a `daemon-reload` with these, 88 and 4.2 s without
GENERATORS_LEFT_OUT = (
    *("cryptsetup", "debug", "getty", "gpt-auto", "hibernate-resume", "integritysetup", "rc-local"),
    *("run", "ssh", "system-update", "sysv", "tpm2", "veritysetup"),
)
UNITS_LEFT_OUT = (
    *("getty.target", "systemd-logind.service", "systemd-ask-password-wall.path"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "grub-common.service"),
    *(f"modprobe@{module}.service" for module in ("configfs", "drm", "efi_pstore", "fuse")),
    *("sys-kernel-config.mount", "sys-fs-fuse-connections.mount", "systemd-pstore.service"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("dev-hugepages.mount", "dev-mqueue.mount"),
    *("systemd-network-generator.service", "systemd-networkd-persistent-storage.service"),
    # nothing waits for the network here, and waiting only delays the boot
    "systemd-networkd-wait-online.service",
    *("systemd-random-seed.service", "systemd-udev-load-credentials.service"),
)

SETUP = f"""set -eu
useradd -m -s /bin/bash -G sudo rig
for home in /root /home/rig; do
  install -d -m 700 "$home/.ssh"
  install -m 600 /etc/rigspec-lab-key.pub "$home/.ssh/authorized_keys"
done
chown -R rig:rig /home/rig/.ssh
rm /etc/rigspec-lab-key.pub
rm -f /etc/ssh/ssh_host_*
ssh-keygen -A
rm -f /etc/apt/sources.list /etc/apt/apt.conf.d/99mmdebstrap
systemctl enable -q systemd-networkd.service lab-registry.socket
systemctl mask -q {" ".join(UNITS_LEFT_OUT)}
mkdir -p /etc/systemd/system-generators
for name in {" ".join(GENERATORS_LEFT_OUT)}; do
  ln -s /dev/null "/etc/systemd/system-generators/systemd-$name-generator"
done
echo uninitialized > /etc/machine-id
"""

# package lists and apt's caches of them, as the installer's own apt leaves them behind: 33 s less
# for the first stage of each blank rig under emulation (74 s before). The lab's server is the
# proxy, so that they are lists of the address that the rig will know.
LISTS = """chroot "$1" sh -ec '
rm -rf /var/lib/apt/lists/*
apt-get -q -o Acquire::http::Proxy=http://127.0.0.1:{port}/ -o APT::Update::Error-Mode=any update
# the tar file has no time later than its beginning, and apt trusts no cache of newer files
touch -r /etc/debian_version /var/lib/apt/lists/*_* /var/lib/dpkg/status
apt-cache gencaches
'"""


@dataclass(frozen=True)
class Installation:
    """Which Debian, with which kernel and boot firmware."""

    suite: Suite = "trixie"
    kernel: Kernel = "cloud"
    firmware: Firmware = "bios"

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages asked for; their dependencies come with them."""
        return (KERNELS[self.kernel], *BASE, *BOOT[self.firmware])

    @property
    def files(self) -> dict[str, str]:
        """Files by their path on the guest, without the ones that name a disk."""
        suite = self.suite
        sources = (
            f"Types: deb\nURIs: http://{LAB_NAME}/debian\nSuites: {suite} {suite}-updates\n"
            "Components: main non-free-firmware\n"
            "Check-Valid-Until: no\n"  # the host's mirror may lag behind
            f"Signed-By: {ARCHIVE_KEY}\n"
        )
        units = "/etc/systemd/system"
        return {
            "/etc/hostname": "rig\n",
            "/etc/hosts": f"127.0.0.1 localhost rig\n{LAB_ADDRESS} {LAB_NAME}\n",
            "/etc/resolv.conf": "# the lab has no name server\n",
            "/etc/systemd/network/10-lab.network": NETWORK,
            f"{units}/lab-registry.socket": REGISTRY_SOCKET,
            f"{units}/lab-registry.service": REGISTRY_SERVICE,
            "/etc/default/grub.d/00-lab.cfg": GRUB_DEFAULTS.format(
                arguments=KERNEL_ARGUMENTS[self.kernel]
            ),
            # 20 s less per update-initramfs under emulation; the content is the same
            "/etc/initramfs-tools/conf.d/lab": "COMPRESS=zstd\nCOMPRESSLEVEL=1\n",
            "/etc/ssh/sshd_config.d/10-lab.conf": "UseDNS no\nPasswordAuthentication no\n",
            "/etc/sudoers.d/rig": "rig ALL=(ALL) NOPASSWD:ALL\n",
            "/etc/apt/sources.list.d/debian.sources": sources,
            ARCHIVE_KEY: public_key().decode(),
            # 35 MB of translated descriptions to unpack and index at each update
            "/etc/apt/apt.conf.d/10-lab": 'Acquire::Languages "none";\n',
            MARKER: "this machine is a virtual rig of rigspec's lab: its GPUs are simulated\n",
        }

    @property
    def recipe(self) -> dict[str, object]:
        """Everything that decides what the tree is, for the name of the cache entry."""
        return {
            "suite": self.suite,
            "packages": self.packages,
            "files": self.files,
            "setup": SETUP,
            "lists": (LISTS, CUT),
            "key": ssh_key().with_suffix(".pub").read_text(),
        }


def make_tree(installation: Installation, extra: dict[str, str], target: Path) -> None:
    """Bootstrap the installation as a tar file; `extra` are more files by path."""
    key = ssh_key().with_suffix(".pub").read_text()
    files = {**installation.files, **extra, "/etc/rigspec-lab-key.pub": key}
    debian = {"debian": Archive(lab_home() / "apt").answer}
    with tempfile.TemporaryDirectory() as scratch, serving(debian) as port:
        overlay = Path(scratch) / "overlay.tar"
        _pack(files, overlay)
        setup = Path(scratch) / "setup.sh"
        setup.write_text(SETUP)
        Path(scratch).chmod(0o755)  # an unshared mmdebstrap reads it as another user
        hooks = (f"tar-in {overlay} /", f'chroot "$1" sh < {setup}', LISTS.format(port=port))
        kept = ("cleanup/apt/lists", "cleanup/apt/cache")
        bootstrap((installation.suite,), installation.packages, target, hooks=hooks, skip=kept)


def _pack(files: dict[str, str], target: Path) -> None:
    with tarfile.open(target, "w") as archive:
        for path, text in sorted(files.items()):
            data = text.encode()
            member = tarfile.TarInfo("." + path)
            member.size = len(data)
            member.mode = 0o440 if path.startswith("/etc/sudoers.d/") else 0o644
            archive.addfile(member, io.BytesIO(data))
