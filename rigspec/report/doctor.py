"""Causes as an owner reads them, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rigspec.doctor.diagnose import Diagnosis, is_cause

NO_GPU = (
    "no NVIDIA GPU is in these texts: neither PCI nor the driver shows one\n"
    "hint: is the card in its slot and powered? Else save `lspci -vvvnn` (as root) or "
    "`nvidia-smi -q` beside them, or run the probe\n"
)
"""Said first: without a card most of the table cannot be judged."""
NOT_SHOWN = (
    "which NVIDIA GPUs the host has is not in these texts: PCI and the driver list nothing here\n"
    "hint: save `lspci -vvvnn` (as root) or `nvidia-smi -q` beside them, or run the probe\n"
)
"""Said first where no text could have shown a card: that is no reason to look for it."""
_BEYOND_TEXTS = (
    "; whether its servers answer is judged by `rigspec verify`; the plan's edited files, secrets, "
    "weights and next boot by `rigspec verify` and `rigspec drift`"
)


def as_text(found: Sequence[Diagnosis], *, planned: bool = False) -> str:
    """Every cause with its evidence and cure, then what is harmless.

    `planned`: the host carries a plan, of which texts show a part only.
    """
    causes = [diagnosis for diagnosis in found if is_cause(diagnosis)]
    harmless = [diagnosis for diagnosis in found if not is_cause(diagnosis)]
    head = ["SIMULATED: read off a virtual rig, GPUs are stand-ins"] * any(
        diagnosis.simulated for diagnosis in found
    )
    blocks = ["\n".join(_block(n, diagnosis)) for n, diagnosis in enumerate(causes, 1)]
    blocks += ["\n".join(_harmless(diagnosis)) for diagnosis in harmless]
    count = len(causes)
    last = f"{count} cause{'s' if count != 1 else ''} found" if count else "no known cause found"
    last += "; what was not captured was not judged"
    return "\n\n".join([*head, *blocks, last + _BEYOND_TEXTS * planned])


def _block(number: int, diagnosis: Diagnosis) -> Iterator[str]:
    symptom = diagnosis.symptom
    yield f"{number}. {symptom.likelihood}: {symptom.title}  [{symptom.id}, {_row(diagnosis)}]"
    yield from (f"   seen:   {place}" for place in diagnosis.evidence)
    yield f"   do:     {diagnosis.do}"
    if diagnosis.setting:
        yield f"   BIOS:   {diagnosis.setting}"
    yield f"   worked: {diagnosis.proof}"
    yield f"   source: {symptom.source}"


def _row(diagnosis: Diagnosis) -> str:
    """The row of docs/doctor.md, behind the Xid that was seen where that is another number."""
    row = diagnosis.symptom.row
    seen = " and ".join(str(number) for number in diagnosis.xids)
    return row if not seen or row == f"Xid {seen}" else f"Xid {seen}, row {row}"


def _harmless(diagnosis: Diagnosis) -> Iterator[str]:
    symptom = diagnosis.symptom
    yield f"-  harmless: {symptom.title}  [{symptom.id}, {_row(diagnosis)}]"
    yield f"   seen:   {diagnosis.evidence[0]}"


def as_json(found: Sequence[Diagnosis]) -> str:
    """The same as a list of records."""
    records = [
        {
            "id": d.symptom.id,
            "row": d.symptom.row,
            "xids": list(d.xids),
            "title": d.symptom.title,
            "likelihood": d.symptom.likelihood.value,
            "evidence": [{"file": p.file, "line": p.line, "text": p.text} for p in d.evidence],
            "do": d.do,
            "bios": d.setting,
            "proof": d.proof,
            "source": d.symptom.source,
            "simulated": d.simulated,
        }
        for d in found
    ]
    return json.dumps(records, indent=2, ensure_ascii=False)
