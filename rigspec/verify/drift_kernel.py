"""Drift of the kernel: its arguments, now and at the next boot; another kernel, now or waiting."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.record import Unknown, known
from rigspec.plan.sections import Plan
from rigspec.verify.advice import run_stage, take_out
from rigspec.verify.change import ACCEPT, Change
from rigspec.verify.kernel import mend_next_boot, running_fault
from rigspec.verify.kernel_line import LineFault, fault_of
from rigspec.verify.observation import Observation
from rigspec.verify.proof import Proof


def arguments(plan: Plan, seen: Observation) -> Iterator[Change]:
    """Words of the running line and of the next boot's: they explain settings, so they go first."""
    now = running_fault(plan.kernel, seen)
    if now.lacking:
        yield Change(
            "kernel-arguments", "kernel", "the running kernel was started without planned "
            "arguments: another boot entry, or the boot loader's files were edited",
            _said(now), "; ".join([*([take_out(now.against)] if now.against else []), _AGAIN]),
        )  # fmt: skip
    elif now.against:
        yield Change(
            "kernel-arguments", "kernel", "the running kernel was started with arguments that undo "
            "planned ones: somebody has put them on the kernel line",
            _said(now), f"{take_out(now.against)}; reboot",
        )  # fmt: skip
    if isinstance(seen.next_boot, Unknown):
        return
    later = fault_of(plan.kernel, seen.next_boot)
    later = LineFault(
        tuple(word for word in later.lacking if word not in now.lacking),
        tuple(word for word in later.against if word not in now.against),
    )
    if later.lacking or later.against:
        yield Change(
            "next-boot", "kernel", "the kernel line of the next boot is not as planned: GRUB's "
            "files were edited, and a reboot would lose what is in effect now",
            _said(later), mend_next_boot(later),
        )  # fmt: skip


_AGAIN = f"{run_stage('kernel', 'reboot')}, which write the boot entry again and reboot once"


def _said(fault: LineFault) -> tuple[str, ...]:
    lacking = (f"missing: {word}" for word in fault.lacking)
    return (*lacking, *(f"set: {word}" for word in fault.against))


def kernel(seen: Observation, proof: Proof | None) -> Iterator[Change]:
    """Another kernel runs, or will run."""
    host = known(seen.host)
    if host is None:
        return
    release = known(host.release)
    if proof is not None and proof.kernel and release and release != proof.kernel:
        yield Change(
            "kernel-update", "kernel", "another kernel runs than was accepted: an update came in "
            "and the machine was booted since, or an older boot entry was chosen",
            (f"accepted {proof.kernel}, running {release}",), ACCEPT,
        )  # fmt: skip
    yield from _next_kernel(seen, release, reboot=known(host.reboot_required) is True)


def _next_kernel(seen: Observation, release: str | None, *, reboot: bool) -> Iterator[Change]:
    installed = known(seen.upkeep.kernels) or ()
    newest = installed[-1] if installed else None
    if newest is not None and not newest.has_initrd:
        yield Change(
            "initramfs", "kernel", f"the kernel {newest.release} has no initramfs: the next boot "
            "may not find its disk",
            (f"/boot/initrd.img-{newest.release} is absent or empty",),
            f"look at: df -h /boot; update-initramfs -c -k {newest.release}",
        )  # fmt: skip
    if newest is not None and release and newest.release != release:
        yield Change(
            "kernel-pending", "kernel", "another kernel waits for the next boot; the driver must "
            "be built for it before that",
            (f"running {release}, newest installed {newest.release}",),
            f"look at: dkms status -k {newest.release}; then reboot when it suits",
        )  # fmt: skip
    elif reboot:
        yield Change(
            "reboot-pending", "kernel", "packages were upgraded that take effect at the next boot",
            ("/run/reboot-required is there",), "reboot when it suits, then `rigspec verify`",
        )  # fmt: skip
