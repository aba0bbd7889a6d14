"""`board`: what is known of the mainboard."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.catalog.boards import BoardModel, find_board, nearest_boards
from rigspec.finding import Finding, Path, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig, members

FULL = 16
"""Lanes of the widest slot."""


def _model(rig: Rig, facts: CheckContext) -> BoardModel | None:
    return find_board(rig.board.model, facts.catalog) if rig.board else None


def board_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Whether the catalog knows the board's habits."""
    if rig.board is not None and _model(rig, facts) is None:
        near = nearest_boards(rig.board.model, facts.catalog)
        yield note(
            "board.board-known",
            ("board", "model"),
            f"`{rig.board.model}` is not in the catalog: nothing is known of its habits",
            hint=f"did you mean `{near[0]}`?" if near else "add it in `catalog/boards.yaml`",
        )


def other_cpu(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The board takes CPUs of the vendor that `host` names."""
    board = _model(rig, facts)
    if board is not None and board.cpu != rig.host.cpu:
        yield error(
            "board.other-cpu",
            ("host", "cpu"),
            f"`cpu: {rig.host.cpu}`, but the {board.name} takes {board.cpu} CPUs",
            why="the words for the IOMMU differ between the two",
            hint=f"set `cpu: {board.cpu}`",
        )


def warm_reboot_fails(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A board that is known to lose GPUs at a warm reboot."""
    board = _model(rig, facts)
    if board is None or board.warm_reboot != "fails" or rig.board is None:
        return
    if not rig.board.cold_boot_only:
        yield warning(
            "board.warm-reboot-fails",
            ("board", "model"),
            f"a {board.name} is known to lose GPUs or to hang at a warm reboot",
            why="a deploy that reboots it from afar may leave it dead until somebody comes",
            hint="set `cold_boot_only: true`: the deploy then stops and asks for a power cycle",
        )


def cold_boot_only(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A board that must not be rebooted from afar."""
    if rig.board is not None and rig.board.cold_boot_only:
        yield note(
            "board.cold-boot-only",
            ("board", "cold_boot_only"),
            "a deploy that needs a reboot will stop and ask for a power cycle by hand",
            why="a warm reboot of this board loses GPUs or hangs until the plug is pulled",
        )


def slower_than_links(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """No link to the CPU is expected to be faster than the board's slots."""
    board = _model(rig, facts)
    if board is None:
        return
    for i, direct in enumerate(rig.pcie.direct):
        generation = direct.generation or rig.pcie.generation
        if generation > board.generation:
            given = direct.generation is not None
            yield error(
                "board.slower-than-links",
                ("pcie", "direct", i, "generation") if given else ("pcie", "generation"),
                f"Gen{generation} is expected of slots of the {board.name}, which are "
                f"Gen{board.generation}",
                why="verify would call a healthy link slow",
                hint=f"expect Gen{board.generation} there",
            )


def more_wide_links_than_slots(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """No more full-width links to the CPU are expected than the board has slots wired for."""
    board = _model(rig, facts)
    if board is None or board.x16_slots is None:
        return
    cards = sum(
        len(members(rig.gpus, direct.gpus))
        for direct in rig.pcie.direct
        if (direct.width or rig.pcie.width) == FULL
    )
    links = cards + sum(switch.upstream_width == FULL for switch in rig.pcie.switches)
    if links > board.x16_slots:
        wired = [quirk for quirk in board.quirks if "x8" in quirk or "x4" in quirk]
        slots = "slot" if board.x16_slots == 1 else "slots"
        yield warning(
            "board.more-wide-links-than-slots",
            _widest(rig),
            f"{links} links of x16 are expected of the {board.name}, which has "
            f"{board.x16_slots} {slots} wired so",
            why="verify would call a healthy link narrow"
            + "".join(f"; {quirk}" for quirk in wired),
            hint="expect the lanes that each slot has: `width` in `pcie` or in its entry of "
            "`direct`, `upstream_width` of a switch",
        )


def _widest(rig: Rig) -> Path:
    """Where the width that is too much was said, or where it can be."""
    for i, direct in enumerate(rig.pcie.direct):
        if direct.width == FULL:
            return ("pcie", "direct", i, "width")
    if "width" in rig.pcie.model_fields_set or not rig.pcie.switches:
        return ("pcie", "width")
    return ("pcie", "switches", 0, "upstream_width")
