"""One reboot, when the running system differs from what the plan and the disk say.

Boot ids are compared, never uptimes, and the old link is never trusted again: it may hang. The
reasons are read off the host, so an interrupted run finds them again.
"""

from __future__ import annotations

import time
from collections.abc import Generator

from paramiko import SSHException
from pyinfra import host as current_host
from pyinfra.api import FunctionCommand, StringCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State

from rigspec.facts.boot import Boot, BootState
from rigspec.operations.shell import UNREADABLE, refuse, run_on, say, shell
from rigspec.plan.sections import KernelPlan

POLL_S = 2.0
SETTLE_S = 180
"""How long the units of a fresh boot may take before the run goes on regardless."""

_ACS = ("pci=disable_acs_redir=", "pci=config_acs=")


def reasons(plan: KernelPlan, seen: BootState) -> tuple[str, ...]:
    """Why a reboot is due: how the running system differs from the plan; empty if it does not."""
    found = [f"`{arg}` is not on the running kernel line" for arg in plan.arguments]
    found = [
        text for text, arg in zip(found, plan.arguments, strict=True) if arg not in seen.cmdline
    ]
    found += [
        f"`{arg}` is still on the running kernel line"
        for arg in plan.should_not_exist
        if arg in seen.cmdline and arg not in (seen.grub or ())
    ]
    found += _acs_reasons(seen)
    found += _module_reasons(plan, seen)
    return tuple(dict.fromkeys([*found, *seen.owed]))


def _acs_reasons(seen: BootState) -> list[str]:
    planned = {arg for arg in seen.grub or () if arg.startswith(_ACS)}
    running = {arg for arg in seen.cmdline if arg.startswith(_ACS)}
    if seen.grub is None or planned == running:
        return []
    return ["the running kernel line names other ACS bridges than the next boot would"]


def _module_reasons(plan: KernelPlan, seen: BootState) -> list[str]:
    found = []
    if seen.nouveau and "nouveau" in plan.blacklist:
        found.append("nouveau is loaded")
    if seen.driver_installed and seen.driver_loaded != seen.driver_installed:
        running = f"driver {seen.driver_loaded} runs" if seen.driver_loaded else "no driver runs"
        found.append(f"{running}, {seen.driver_installed} is installed")
    elif seen.smi:
        found.append(f"the driver does not answer: {seen.smi}")
    for module, option, wanted in plan.module_options:
        value = seen.parameters.get(f"{module}.{option}")
        if value is not None and _same(value) != _same(wanted):
            found.append(f"{module} runs with {option}={value} instead of {wanted}")
    return found


def _same(value: str) -> str:
    return {"Y": "1", "N": "0"}.get(value, value)


def boot_id(host: Host) -> str | None:
    """The boot id, None while the host does not answer."""
    try:
        done, output = run_on(host, StringCommand("cat /proc/sys/kernel/random/boot_id"), 10)
    except (TimeoutError, OSError, SSHException, EOFError):
        return None
    return (output.stdout.strip() or None) if done else None


def _remember(state: State, host: Host, before: list[str], why: tuple[str, ...]) -> bool:
    say(host, ["rebooting once, because", *(f"    {reason}" for reason in why)])
    found = boot_id(host)
    before.extend([found] if found else [])
    return bool(before)


def _reconnect(host: Host) -> None:
    client = getattr(host.connector, "client", None)
    if client is not None:
        client.close()  # never talk over the old link: it may hang
    host.disconnect()
    host.connect(show_errors=False)


def _wait_for_new_boot(state: State, host: Host, before: list[str], timeout_s: float) -> bool:
    begun = time.monotonic()
    while time.monotonic() - begun < timeout_s:
        time.sleep(POLL_S)
        _reconnect(host)
        if host.connected and boot_id(host) not in {None, before[0]}:
            say(host, [f"back after {time.monotonic() - begun:.0f} s"], colour="green")
            _settle(host)
            return True
    message = (
        f"no new boot after {timeout_s:.0f} s (kernel.reboot_timeout_s)\n"
        "look at its console or BMC; the entry before it in the GRUB menu, or editing the line "
        "with `e`, boots without the new arguments"
    )
    say(host, message.splitlines(), colour="red")
    return False


def _settle(host: Host) -> None:
    """Wait until the boot has started its units, so that the next stages read a quiet host."""
    deadline = time.monotonic() + SETTLE_S
    command = StringCommand("systemctl is-system-running || true")
    while time.monotonic() < deadline:
        try:
            _, output = run_on(host, command, 30)
        except (TimeoutError, OSError, SSHException, EOFError):
            return
        if output.stdout.strip() not in {"initializing", "starting"}:
            return
        time.sleep(POLL_S)


def by_hand(why: tuple[str, ...]) -> str:
    """What a board that must be power cycled needs."""
    listed = "\n".join(f"    {reason}" for reason in why)
    return (
        f"a power cycle by hand is needed, because\n{listed}\n"
        "this board loses GPUs or hangs on a warm reboot (board.cold_boot_only): switch the rig "
        "off and on, then run the same command again; it goes on from here"
    )


def _still(why: tuple[str, ...]) -> str:
    listed = "\n".join(f"    {reason}" for reason in why)
    return (
        f"the rig has rebooted, and still\n{listed}\n"
        "look at /proc/cmdline and the default entry in /boot/grub/grub.cfg; for a driver that "
        "does not load: dmesg | grep -i -e nvrm -e nvidia"
    )


@operation()
def booted_as_planned(
    *, plan: KernelPlan
) -> Generator[FunctionCommand | StringCommand, None, None]:
    """The running kernel, its modules and the driver are the planned ones: at most one reboot."""
    parameters = tuple((module, option) for module, option, _ in plan.module_options)
    seen = current_host.get_fact(Boot, parameters=parameters)
    if seen is None:
        yield refuse(UNREADABLE)
        return
    why = reasons(plan, seen)
    if not why:
        current_host.noop("the running kernel, modules and driver are as planned")
        return
    if plan.reboot_by_hand:
        yield refuse(by_hand(why))
        return
    before: list[str] = []
    yield FunctionCommand(_remember, (before, why), {})
    yield shell("sync; ( sleep 1; systemctl reboot || reboot ) </dev/null >/dev/null 2>&1 &")
    yield FunctionCommand(_wait_for_new_boot, (before, float(plan.reboot_timeout_s)), {})
    after = current_host.get_fact(Boot, parameters=parameters)
    left = reasons(plan, after) if after is not None else (UNREADABLE,)
    if left:
        yield refuse(_still(left))
