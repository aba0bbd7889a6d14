"""The plan that rigspec itself left on a host: its copy of the spec, when it has one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property

from rigspec.frozen import dataclass
from rigspec.observed.record import NOT_ASKED, Reading, Record, Unknown
from rigspec.observed.sections import section
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig

PLAN_FILE = "/etc/rigspec/plan.json"
_LINE = re.compile(r'^\s*"(rig|digest|spec)": (".*"),?\s*$')


@dataclass(frozen=True)
class Planned(Record):
    """What `/etc/rigspec/plan.json` says of the spec that the host was last given."""

    name: str
    digest: str
    spec: Mapping[str, object]
    """Nested mappings, lists and scalars, values that are the default left out."""

    @cached_property
    def rig(self) -> Rig | None:
        """The spec as our format has it; None where this version does not understand it."""
        return load_text(PLAN_FILE, json.dumps(self.spec)).rig


def parse_planned_probe(sections: Mapping[str, Sequence[str]]) -> Reading[Planned]:
    """The section `planned`; Unknown where rigspec has left no plan, or an older one."""
    if "planned" not in sections:
        return NOT_ASKED
    lines = section(sections, "planned")
    if isinstance(lines, Unknown):
        return lines
    found: dict[str, str] = {}
    for line in lines:
        match = _LINE.match(line)
        if match:
            try:
                found[match.group(1)] = json.loads(match.group(2))
            except ValueError:
                return Unknown("a line of plan.json is broken", line[:120])
    if "spec" not in found:
        return Unknown("the host has no plan with its spec in it")
    try:
        spec = json.loads(found["spec"])
    except ValueError:
        return Unknown("the spec in plan.json is broken", found["spec"][:120])
    if not isinstance(spec, dict):
        return Unknown("the spec in plan.json is no mapping", found["spec"][:120])
    planned = Planned(found.get("rig", ""), found.get("digest", ""), spec)
    return planned if planned.rig else Unknown("this version does not understand the host's spec")
