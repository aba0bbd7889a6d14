"""The draft of a host that rigspec keeps: its own copy of the spec, put right by what is so now."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from rigspec.discover.capture import masked
from rigspec.discover.cards import Card, cards_of
from rigspec.discover.draft_host import iommu_now, other_words, running_driver
from rigspec.discover.lines import owner, remark
from rigspec.discover.planned import PLAN_FILE, Planned
from rigspec.discover.seen import Seen
from rigspec.discover.yaml_lines import Path, yaml_lines
from rigspec.frozen import dataclass
from rigspec.observed.record import known
from rigspec.plan.kernel import plan_kernel
from rigspec.spec.gpus import GpuGroup
from rigspec.spec.kernel import Kernel
from rigspec.spec.rig import Rig

Way = Mapping[str, str | int | bool]
"""How the host was reached, as fields of `host`."""


@dataclass
class _Draft:
    """The spec as it will be written; remarks stand above it."""

    data: dict[str, Any]
    comments: dict[Path, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def put(self, path: Path, value: object, said: str, default: object = None) -> None:
        """What is so now, where it is not as planned, or where the plan agrees.

        The plan leaves values out that are the `default`: it says them all the same.
        """
        at = self.data
        for key in path[:-1]:
            at = at.setdefault(key, {})
        before = at.get(path[-1], default)
        at[path[-1]] = value
        if before != value:
            was = "nothing" if before is None else f"`{before}`"
            said = f"owner: {said}; {PLAN_FILE} says {was}"
        self.comments[path] = said


def managed_draft(seen: Seen, planned: Planned, rig: Rig, name: str, way: Way) -> str:
    """The YAML text; `way` is how the host was reached (fields of `host`)."""
    draft = _Draft(copy.deepcopy(dict(planned.spec)))
    draft.data["name"] = name
    draft.data["host"] = {**way, **draft.data["host"]}
    _see_cards(draft, seen, rig)
    _see_kernel(draft, seen, rig)
    _see_driver(draft, seen, rig)
    head = [
        f"# Draft by `rigspec discover`: the spec in {PLAN_FILE}, which rigspec left on the host,",
        "# with what was read now beside it. `rigspec verify` judges the host by it in detail.",
        *(["# SIMULATED: read off a virtual rig, GPUs and driver are stand-ins."] * seen.simulated),
        *draft.remarks,
    ]
    body = list(yaml_lines(draft.data, draft.comments))
    spaced = [f"\n{line}" if line[0].isalpha() and n > 1 else line for n, line in enumerate(body)]
    return "\n".join([*head, *spaced]) + "\n"


def _see_cards(draft: _Draft, seen: Seen, rig: Rig) -> None:
    """Numbers and caps, where one group alone has the SKU."""
    cards, origin = cards_of(seen), seen.where("cards")
    if not cards:
        draft.remarks.append(owner(0, "no GPU was seen now"))
        return
    skus = [group.sku for group in rig.gpus.values()]
    for name, group in rig.gpus.items():
        own = [card for card in cards if card.sku == group.sku]
        if skus.count(group.sku) == 1:
            found = len(own)
            draft.put(("gpus", name, "count"), found, f"{origin}: GPUs of this kind")
            _see_caps(draft, name, group, own, origin)
    for sku in sorted({card.sku for card in cards} - set(skus)):
        at = ", ".join(card.address for card in cards if card.sku == sku)
        draft.remarks.append(owner(0, f"a card that the plan does not name: {sku} at {at}"))


def _see_caps(draft: _Draft, name: str, group: GpuGroup, own: list[Card], origin: str) -> None:
    readings = [card.reading for card in own if card.reading]
    limits = {round(w) for r in readings if (w := known(r.power_limit_w)) is not None}
    defaults = {round(w) for r in readings if (w := known(r.power_default_w)) is not None}
    path = ("gpus", name, "power_limit_w")
    if len(limits) == 1:
        (now,) = limits
        if group.power_limit_w is not None or now not in defaults:
            draft.put(path, now, f"{origin}: every card's cap")
    elif limits:
        shown = ", ".join(str(watts) for watts in sorted(limits))
        draft.remarks.append(owner(0, f"gpus.{name}: the cards have different caps: {shown} W"))


def _see_kernel(draft: _Draft, seen: Seen, rig: Rig) -> None:
    words, origin = known(seen.cmdline), seen.where("cmdline")
    if words is None:
        draft.remarks.append(owner(0, "/proc/cmdline was not read: `kernel` is as planned"))
        return
    iommu, said = iommu_now(seen, words)
    if not said.startswith("owner:") and (iommu != rig.kernel.iommu or "kernel" in draft.data):
        draft.put(("kernel", "iommu"), iommu, said, default=Kernel().iommu)
    wanted = plan_kernel(rig).arguments
    for word in (word for word in wanted if word not in words):
        draft.remarks.append(owner(0, f"`{word}` is planned, but not on the command line"))
    draft.remarks += [
        remark(0, f"{origin}: `{masked(word)}` is on the command line without rigspec: left alone")
        for word in other_words(words)
        if word not in wanted
    ]


def _see_driver(draft: _Draft, seen: Seen, rig: Rig) -> None:
    version, origin = running_driver(seen)
    if version is None:
        draft.remarks.append(owner(0, "the driver's version was not read: `driver` is as planned"))
        return
    said = f"{origin}: {version} runs now"
    draft.put(("driver", "branch"), int(version.partition(".")[0]), said)
    if rig.driver.version is not None:
        draft.put(("driver", "version"), version, said)
