"""Real faults for a converged virtual rig: how to seed and heal each, which rows turn red."""

from __future__ import annotations

from dataclasses import dataclass

from player import Player


@dataclass(frozen=True)
class Seed:
    """A fault seeded over ssh; `rows` are the ids that it alone must turn red."""

    title: str
    seed: str
    heal: str
    rows: tuple[str, ...]


OTHER_CARD = "GPU-5eed0000-0042-4000-8000-000000000042"
PORT = "$(basename $(dirname $(readlink -f /sys/bus/pci/devices/$SLOT)))"
"""The bridge above a card; SLOT is set by `slot_of`."""


def slot_of(member: str) -> str:
    """Shell text that sets SLOT to the address a member's card is bound at."""
    return f"SLOT=$(awk '$1 == \"{member}\" {{print $3}}' /etc/rigspec/gpus.tsv)"


WITHOUT_REBOOT = (
    Seed(
        "isolation written after boot, on one bridge",
        f"{slot_of('main.1')}; setpci -s {PORT} ECAP_ACS+6.w=1d:1d",
        f"{slot_of('main.1')}; setpci -s {PORT} ECAP_ACS+6.w=0:1d",
        ("pcie.acs", "pcie.groups"),
    ),
    Seed(
        "ASPM switched on again at one end",
        f"{slot_of('main.2')}; setpci -s {PORT} CAP_EXP+10.w=2:2",
        f"{slot_of('main.2')}; setpci -s {PORT} CAP_EXP+10.w=0:2",
        ("pcie.aspm",),
    ),
    Seed(
        "another writer changed a cap",
        "nvidia-smi -i $(nvidia-smi -L | sed -n '1s/.*UUID: \\(.*\\))/\\1/p') -pl 400",
        "systemctl reload rigspec-power",
        ("power.limit.main.0",),
    ),
    Seed(
        "a unit was disabled",
        "systemctl disable rigspec-power",
        "systemctl enable rigspec-power",
        ("units.rigspec-power.service",),
    ),
    Seed(
        "a drop-in edits a unit",
        "mkdir -p /etc/systemd/system/rigspec-acs.service.d && "
        "printf '[Unit]\\nDescription=edited\\n' > /etc/systemd/system/rigspec-acs.service.d/x.conf"
        " && systemctl daemon-reload",
        "rm -r /etc/systemd/system/rigspec-acs.service.d && systemctl daemon-reload",
        ("units.rigspec-acs.service",),
    ),
    Seed(
        "a stale CDI file lies beside the fresh one",
        "mkdir -p /etc/cdi && printf 'cdiVersion: 0.5.0\\nkind: nvidia.com/gpu\\ndevices:\\n"
        f'- name: "{OTHER_CARD}"\\n  containerEdits:\\n    deviceNodes:\\n'
        "    - path: /dev/nvidia9\\n' > /etc/cdi/nvidia.yaml",
        "rm /etc/cdi/nvidia.yaml",
        ("containers.cdi", "containers.cdi-files"),
    ),
    Seed(
        "a hold was lifted",
        # Debian's own daily update may have the lock soon after a boot
        "timeout 300 sh -c 'until apt-mark unhold nvidia-driver-cuda; do sleep 2; done'",
        "timeout 300 sh -c 'until apt-mark hold nvidia-driver-cuda; do sleep 2; done'",
        ("driver.hold",),
    ),
    Seed(
        "a card in the kernel log fell off the bus",
        f'{slot_of("main.3")}; echo "<3>NVRM: Xid (PCI:${{SLOT%.*}}): 79, GPU has fallen off the '
        'bus." > /dev/kmsg',
        "true",  # only a reboot clears the log
        ("gpus.xid",),
    ),
    Seed(
        "the engine is frozen, its port open",
        "docker top rigspec-glm -eo pid | tail -n +2 | xargs kill -STOP",
        "docker top rigspec-glm -eo pid | tail -n +2 | xargs kill -CONT",
        ("service.models.glm", "service.completion.glm"),
    ),
    Seed(
        "a managed file was edited",
        "echo '# edited by hand' >> /etc/rigspec/power.tsv",
        "sed -i '$d' /etc/rigspec/power.tsv",
        ("files.managed./etc/rigspec/power.tsv",),
    ),
    Seed(
        "a second door to the server",
        "systemd-run --unit=second-door --socket-property=ListenStream=127.0.0.2:5000 "
        "/usr/lib/systemd/systemd-socket-proxyd 127.0.0.1:5000",
        "systemctl stop second-door.socket; systemctl stop second-door.service; true",
        ("service.bind.glm",),
    ),
)
LEFT_BEHIND = {"gpus.xid"}
"""Rows that stay red until a reboot."""


def seed(player: Player, seeds: tuple[Seed, ...]) -> set[str]:
    """Seed all of them; gives the rows that must turn red."""
    for fault in seeds:
        player.said(fault.seed)
    return {row for fault in seeds for row in fault.rows}


def heal(player: Player, seeds: tuple[Seed, ...]) -> None:
    """Undo all of them."""
    for fault in seeds:
        player.said(fault.heal)
