"""One virtual machine: disks, QEMU's arguments, start, wait, ssh, stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from rigspec.errors import LabError
from rigspec.lab import accelerator
from rigspec.lab.accelerator import Accelerator
from rigspec.lab.home import run_folder, ssh_key
from rigspec.lab.hosttools import need, run, say
from rigspec.lab.keeper import PID_FILE, KeeperPlan, start_keeper
from rigspec.lab.ports import free_port, is_free
from rigspec.lab.qemu import qemu
from rigspec.lab.qemu_args import config_edits, qemu_device_args
from rigspec.lab.rootfs import LAB_ADDRESS, Firmware
from rigspec.lab.topology import MAX_BARS_MIB, MachineTree

BOOT_LIMIT_S = 600  # 20 s on a quiet machine, 240 s seen beside other virtual rigs and tests
STOP_LIMIT_S = 90
KEEPER_LIMIT_S = 30  # it has only files to put away, on a busy machine
OVMF = Path("/usr/share/OVMF")

CPU = {"tcg": "qemu64,+ssse3,+sse4.1,+sse4.2,+x2apic", "kvm": "host"}
# what /proc/cpuinfo calls them; QEMU's own default is an AMD
VENDOR = {"amd": "AuthenticAMD", "intel": "GenuineIntel"}
ACCEL = {"tcg": "tcg,thread=multi,tb-size=512", "kvm": "kvm"}


@dataclass(frozen=True)
class MachineConfig:
    """What a machine is started with."""

    tree: MachineTree
    base_image: Path
    firmware: Firmware = "bios"
    secure_boot: bool = False
    weights: Path | None = None  # a qcow2 that is attached as second disk and kept
    server: tuple[str, ...] = ()  # argv of the lab's server, which gets its port as last word
    forwards: tuple[int, ...] = ()  # guest ports to reach on the host's loopback


class Machine:
    """A machine in run/NAME; an object is only a handle, so any process may make one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = run_folder(name)

    @property
    def state(self) -> dict[str, int]:
        """Ports on the host's loopback: `ssh`, `server`, and one per forwarded guest port."""
        try:
            ports: dict[str, int] = json.loads((self.folder / "state.json").read_text())
        except FileNotFoundError as error:
            raise LabError(f"there is no virtual rig `{self.name}`") from error
        return ports

    @property
    def is_running(self) -> bool:
        """Whether its QEMU is there."""
        return self._find_pid() is not None

    def boot(self, config: MachineConfig, *, fresh: bool) -> None:
        """Start it and wait until ssh answers; finds out whether KVM runs it where nobody knows."""
        if self.is_running:
            raise LabError(f"the virtual rig `{self.name}` is already running")
        need("qemu-img", "socat", "ssh")
        vendor = config.tree.cpu
        proven = accelerator.proven(vendor)
        if proven is None:
            works = self._boots_under_kvm(config, fresh=fresh)
            accelerator.remember(vendor, works=works)
            if works:
                return
            say(f"KVM does not run `{self.name}` here: emulating it, which is slower")
        self._start(config, proven or "tcg", fresh=fresh)
        self.wait()

    def _boots_under_kvm(self, config: MachineConfig, *, fresh: bool) -> bool:
        try:
            self._start(config, "kvm", fresh=fresh)
            self._wait_for_console(accelerator.FIRST_WORDS_S)
            self.wait(accelerator.TRIAL_S)
        except LabError:
            self.kill()
            return False
        return True

    def _wait_for_console(self, limit_s: float) -> None:
        console = self.folder / "serial.log"
        until = time.monotonic() + limit_s
        while not (console.exists() and console.stat().st_size):
            if time.monotonic() > until or not self.is_running:
                raise LabError(f"the kernel of `{self.name}` says nothing")
            time.sleep(0.2)  # QEMU writes a file: there is no event to await

    def _start(self, config: MachineConfig, accel: Accelerator, *, fresh: bool) -> None:
        # however the last machine ended: its keeper would take the new one's pid file away
        if not self.wait_stopped(KEEPER_LIMIT_S):
            raise LabError(
                f"the keeper of the last `{self.name}` has not ended",
                hint=f"end process {self._find_pid('keeper')}, then try again",
            )
        self._prepare_disks(config, fresh=fresh)
        ports = self._choose_ports(config)
        (self.folder / "state.json").write_text(json.dumps(ports))
        server = (*config.server, str(ports["server"])) if config.server else ("sleep", "infinity")
        argv = machine_argv(config, ports, accel)
        (self.folder / "serial.log").unlink(missing_ok=True)
        KeeperPlan(argv, server, config_edits(config.tree)).save(self.folder)
        start_keeper(self.folder)

    def _choose_ports(self, config: MachineConfig) -> dict[str, int]:
        """The ports it had, where they are still free, so that addresses stay as they were."""
        had = self.state if (self.folder / "state.json").exists() else {}
        names = ("ssh", "server", *(str(guest) for guest in config.forwards))
        kept = {name: had[name] for name in names if name in had and is_free(had[name])}
        return {name: kept.get(name) or free_port() for name in names}

    def wait(self, limit_s: float = BOOT_LIMIT_S) -> float:
        """Wait until ssh answers; gives the seconds it took."""
        begun = time.monotonic()
        while (spent := time.monotonic() - begun) < limit_s:
            if self.has_ssh_banner() and self.ssh("true", limit_s=20)[0] == 0:
                return time.monotonic() - begun
            if not self.is_running:
                raise LabError(f"the virtual rig `{self.name}` ended while it booted")
            time.sleep(0.3)
        raise LabError(
            f"the virtual rig `{self.name}` gave no ssh answer within {spent:.0f} s",
            hint=f"its console is in {self.folder / 'serial.log'}",
        )

    def has_ssh_banner(self) -> bool:
        """Whether sshd speaks; QEMU accepts connections long before it does."""
        try:
            with socket.create_connection(("127.0.0.1", self.state["ssh"]), 2) as link:
                link.settimeout(3)
                return link.recv(4) == b"SSH-"
        except OSError:
            return False

    def ssh_argv(self, user: str = "root") -> tuple[str, ...]:
        """The ssh command line up to the remote command."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
        words = tuple(word for option in options for word in ("-o", option))
        where = ("-p", str(self.state["ssh"]), f"{user}@127.0.0.1")
        return ("ssh", "-q", "-i", str(ssh_key()), "-o", "ConnectTimeout=5", *words, *where)

    def ssh(self, command: str, *, user: str = "root", limit_s: float = 600) -> tuple[int, str]:
        """Run a shell command; exit status (255: no connection) and stdout with stderr."""
        argv = (*self.ssh_argv(user), command)
        out, err = subprocess.PIPE, subprocess.STDOUT
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=limit_s
            )
        except subprocess.TimeoutExpired as late:
            return 255, (late.stdout or b"").decode(errors="replace")
        return done.returncode, done.stdout.decode(errors="replace")

    def reboot(self) -> float:
        """Reboot from inside and wait for the new system; gives the seconds it took."""
        begun = time.monotonic()
        read_id = "cat /proc/sys/kernel/random/boot_id"
        _, before = self.ssh(read_id)
        self.ssh("systemctl reboot", limit_s=20)
        while time.monotonic() - begun < BOOT_LIMIT_S:
            code, now = self.ssh(read_id, limit_s=20) if self.has_ssh_banner() else (255, "")
            if code == 0 and now != before:
                return time.monotonic() - begun
            time.sleep(0.3)
        raise LabError(f"the virtual rig `{self.name}` did not come back from its reboot")

    def stop(self) -> bool:
        """Power it off cleanly, or hard when it does not obey; whether it did.

        Asked from inside: who would listen to the power button is not in the image.
        """
        if self.is_running:
            self.ssh("systemctl poweroff", limit_s=20)
            if not self.wait_stopped(STOP_LIMIT_S):
                self.kill()
                return False
        return True

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if (pid := self._find_pid()) is not None:
            os.kill(pid, signal.SIGKILL)
            self.wait_stopped(10)

    def wait_stopped(self, limit_s: float) -> bool:
        """Whether it ends within the limit, and its keeper with it."""
        until = time.monotonic() + limit_s
        while self.is_running or self._find_pid("keeper") is not None:
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True

    def remove(self) -> None:
        """Delete its folder with its disks; it must not run."""
        # the keeper takes its own files away at the same moment
        for _ in range(10):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(0.2)
        raise LabError(f"{self.folder} cannot be deleted", hint="is it open elsewhere?")

    def _prepare_disks(self, config: MachineConfig, *, fresh: bool) -> None:
        disk, variables = self.folder / "disk.qcow2", self.folder / "vars.fd"
        if fresh or not disk.exists():
            make_overlay(config.base_image, disk)
            variables.unlink(missing_ok=True)
        if config.firmware == "uefi" and not variables.exists():
            source = "OVMF_VARS_4M.ms.fd" if config.secure_boot else "OVMF_VARS_4M.fd"
            shutil.copyfile(OVMF / source, variables)

    def _find_pid(self, process: str = "qemu") -> int | None:
        try:
            pid: int = json.loads((self.folder / PID_FILE).read_text())[process]
            return pid if Path(f"/proc/{pid}/cwd").readlink() == self.folder else None
        except (OSError, ValueError, KeyError):
            return None


def make_overlay(base: Path, disk: Path) -> None:
    """A disk that begins as `base` and keeps its own changes (7 ms)."""
    disk.unlink(missing_ok=True)
    argv = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk)
    run(argv, doing="making the OS disk")


def machine_argv(
    config: MachineConfig, ports: dict[str, int], accel: Accelerator = "tcg"
) -> tuple[str, ...]:
    """QEMU's whole command line; paths are relative to the machine's folder."""
    secure = config.firmware == "uefi" and config.secure_boot
    machine = "q35" + (",kernel-irqchip=split" if accel == "kvm" else "")
    machine += ",smm=on" if secure else ""
    return (
        *(str(qemu()), "-nodefaults", "-no-user-config", "-S", "-display", "none"),
        *("-machine", machine, "-accel", ACCEL[accel]),
        *("-cpu", f"{CPU[accel]},vendor={VENDOR[config.tree.cpu]}"),
        *("-serial", "file:serial.log"),
        *("-qmp", "unix:keep.sock,server=on,wait=off"),
        *qemu_device_args(config.tree),
        *_drive_args("disk.qcow2", "os", 4, "bootindex=1"),
        *(_drive_args(str(config.weights), "weights", 7) if config.weights else ()),
        *_network_args(config, ports),
        *("-object", "rng-random,id=rng0,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=rng0,bus=pcie.0,addr=0x6"),
        *(_firmware_args(secure=secure) if config.firmware == "uefi" else ()),
    )


def _drive_args(path: str, name: str, slot: int, extra: str = "") -> tuple[str, ...]:
    drive = f"file={path.replace(',', ',,')},if=none,id={name},cache=unsafe,discard=unmap"
    device = f"virtio-blk-pci,drive={name},serial={name},bus=pcie.0,addr={slot:#x}"
    return ("-drive", drive, "-device", f"{device},{extra}" if extra else device)


def _network_args(config: MachineConfig, ports: dict[str, int]) -> tuple[str, ...]:
    """A network with nothing behind it but the lab's own server; ssh comes in from the host."""
    inward = {"ssh": 22} | {str(guest): guest for guest in config.forwards}
    rules = [f"hostfwd=tcp:127.0.0.1:{ports[name]}-:{guest}" for name, guest in inward.items()]
    if config.server:
        rules.append(f"guestfwd=tcp:{LAB_ADDRESS}:80-cmd:socat - TCP:127.0.0.1:{ports['server']}")
    user = ",".join(("user,id=net0,restrict=on", *rules))
    return ("-netdev", user, "-device", "virtio-net-pci,netdev=net0,bus=pcie.0,addr=0x5,romfile=")


def _firmware_args(*, secure: bool) -> tuple[str, ...]:
    code = OVMF / ("OVMF_CODE_4M.ms.fd" if secure else "OVMF_CODE_4M.fd")
    drives = (
        *("-drive", f"if=pflash,format=raw,readonly=on,file={code}"),
        *("-drive", "if=pflash,format=raw,file=vars.fd"),
        # OVMF keeps 32 GiB for 64-bit BARs, and starts no boot loader when they do not fit
        *("-fw_cfg", f"name=opt/ovmf/X-PciMmio64Mb,string={2 * MAX_BARS_MIB}"),
    )
    lock = ("-global", "driver=cfi.pflash01,property=secure,value=on") if secure else ()
    return (*drives, *lock)
