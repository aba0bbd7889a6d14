"""The healthy rigs that faults are seeded in.

`home`   what the virtual rig of `rigs/home.yaml` printed, converged (`CAPTURE`)
`metal`  the same text where the lab leaves something out that a real machine prints, and with the
         features that `rigs/home.yaml` does not use (`full.yaml`)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from rigspec.catalog.routes import routes_of
from rigspec.facts.observe import all_probes
from rigspec.lab.rehearse import Surroundings, rehearse
from rigspec.lab.topology import MachineTree
from rigspec.plan.relied import mounted_paths, secret_paths
from rigspec.plan.rig import PLAN_FILE, all_files, plan_rig, to_json
from rigspec.plan.sections import Plan
from rigspec.rules.run import check_file
from rigspec.spec.driver import Repository
from rigspec.spec.rig import Rig
from rigspec.verify.files import sha256

from .loads import loaded
from .raw import Raw

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = ROOT / "tests/captures/virtual-rig-home"
SPEC = ROOT / "rigs/home.yaml"
FULL = ROOT / "tests/mutation/full.yaml"
NAME = "seen-home"
"""Name of the virtual rig that was captured, so that it is nobody else's."""
ASKED, END = "# asked: ", "\n"
WITH_ANOTHER = "with another"
"""Instead of a question, for a section that is printed by another section's probe."""


@dataclass(frozen=True)
class Healthy:
    """A plan, and what a rig that is as planned prints."""

    plan: Plan
    raw: Raw


def renamed(spec: Path) -> Rig:
    """The rig of a spec file under the captured rig's name; it must pass `check`."""
    rig = check_file(str(spec)).rig
    assert rig is not None, spec
    return rig.model_copy(update={"name": NAME})


def plan_of(spec: Path) -> Plan:
    """The plan of a spec, rehearsed in the surroundings that the capture was made in."""
    around = json.loads((CAPTURE / "surroundings.json").read_text())
    lab = Surroundings(
        ssh_port=22,
        ssh_key="",
        known_hosts="",
        nvidia_repository=Repository(**around["nvidia_repository"]),
        toolkit_repository=Repository(**around["toolkit_repository"]),
        hub_url=around["hub_url"],
        engine_images=around["engine_images"],
    )
    return plan_rig(rehearse(renamed(spec), MachineTree(), lab))


def question(text: str) -> str:
    """A probe's text as the capture remembers it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def asked(plan: Plan) -> dict[str, str]:
    """What verify asks for a plan now, by section."""
    return {probe.name: question(probe.text) for probe in all_probes(plan)}


@cache
def captured() -> tuple[Raw, dict[str, str]]:
    """The sections of the capture, and what was asked for each of them."""
    texts, questions = {}, {}
    for file in sorted(CAPTURE.glob("*.txt")):
        first, _, text = file.read_text().partition(END)
        asked_as = first.removeprefix(ASKED)
        if asked_as != WITH_ANOTHER:
            questions[file.stem] = asked_as
        texts[file.stem] = text.removesuffix("\n")
    return Raw(texts), questions


@cache
def home() -> Healthy:
    """The virtual rig as it was."""
    return Healthy(plan_of(SPEC), captured()[0])


@cache
def metal() -> Healthy:
    """As a real machine would print it, with the plan of `full.yaml`.

    Constructed, not captured: the lab's marker is dropped, the driver's files in /proc, the module
    option, BARs and trained links are written as real machines print them (tests/captures).
    """
    plan, raw = bridged(plan_of(FULL)), captured()[0]
    version = raw.text("smi").split(", ")[6]
    raw = raw.drop("machine", "^simulated$").sub("machine", "^key .*", "key enrolled")
    raw = raw.sub("host", "^rig_virt=.*", "rig_virt=none")
    raw = raw.put("secure-boot", "uefi yes\nefivar 06 00 00 00 01\nlockdown none [integrity]")
    raw = raw.put(
        "nvidia-proc",
        f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build\n"
        "ResmanDebugLevel: 4294967295\n",
    )
    raw = raw.append("modules", "/sys/module/nvidia_uvm/parameters/uvm_disable_hmm:Y")
    for slot, member in zip(raw.slots, plan.preflight.gpus, strict=True):
        size = (member.bar1_mib or 0) << 20
        raw = raw.sub(
            "pci",
            rf"^({slot} .*\bbar2=)(0x[0-9a-f]+),0x[0-9a-f]+,",
            rf"\g<1>{size:#018x},{2 * size - 1:#018x},",
        )
    for card in range(len(raw.slots)):
        raw = raw.cell("clocks.current.sm", "2100", card=card)
        raw = raw.cell("ecc.errors.uncorrected.volatile.total", "0", card=card)
        for field in ("remapped_rows.pending", "remapped_rows.failure", "retired_pages.pending"):
            raw = raw.cell(field, "No", card=card, section="smi-extra")
    raw = raw.put("models", "there glm\ncomplete glm\nthere transcribe")
    raw = raw.put("nokey-glm", '{"error":"Unauthorized"}\n##RIG-HTTP 401 0.001')
    return Healthy(plan, loaded(proved(raw, plan), plan))


def proved(raw: Raw, plan: Plan) -> Raw:
    """With what `full.yaml` adds to the proof: its address, its key behind every route, its files
    as written, and the context that a real vLLM names."""
    glm = plan.services[0]
    word = "".join(f"{int(part):02X}" for part in reversed(glm.listen_address.split(".")))
    raw = raw.put("listeners", f"   0: {word}:{glm.listen_port:04X} 00000000:0000 0A 0 0 0")
    named = f'"object":"model","max_model_len":{glm.context_length}'
    raw = raw.sub("models-glm", r'"object": ?"model"', named, count=0)
    routes = [(r, 200 if r.path == "/health" else 401) for r in routes_of(glm.engine)]
    said = "\n".join(f"route {status} {r.method} {r.path}" for r, status in routes)
    raw = raw.put("routes-glm", said)
    secrets = "\n".join(
        f"file {path} 600 root:root\nsearched {path}" for path in secret_paths(plan)
    )
    raw = raw.put("mounted", "\n".join(f"there {path}" for path in mounted_paths(plan)))
    raw = raw.put("topology", topology(len(plan.preflight.gpus)))
    return raw.put("secrets", secrets).put("files", "\n".join(_written(plan)))


def bridged(plan: Plan) -> Plan:
    """With NVLink bridges, which the cards of the captured rig do not take."""
    gpus = plan.preflight.gpus
    pairs = (replace(gpu, nvlink_peer=gpus[at ^ 1].member) for at, gpu in enumerate(gpus))
    return replace(plan, preflight=replace(plan.preflight, gpus=tuple(pairs)))


def topology(cards: int) -> str:
    """`nvidia-smi topo -m` of cards that bridges of four links join in pairs."""
    names = [f"GPU{n}" for n in range(cards)]
    rows = (
        "\t".join((name, *(_word(at, n) for n in range(cards)), "0-31", "0", "N/A"))
        for at, name in enumerate(names)
    )
    head = "\t".join(("", *names, "CPU Affinity", "NUMA Affinity", "GPU NUMA ID"))
    return "\n".join((head, *rows))


def _word(one: int, other: int) -> str:
    return " X " if one == other else "NV4" if one == other ^ 1 else "PIX"


def _written(plan: Plan) -> Iterator[str]:
    """The section `files` of a host to which the plan was just given."""
    texts = {file.dest: (file.content, file.mode) for file in all_files(plan)}
    texts[PLAN_FILE] = (to_json(plan), "644")
    for path, (text, mode) in texts.items():
        yield f"stat {mode} root root {len(text.encode())} regular file {path}"
    for path, (text, _) in texts.items():
        yield f"{sha256(text)}  {path}"


RIGS = {"home": home, "metal": metal}
