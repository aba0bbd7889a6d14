"""`rigs/NAME.proof.json`: the accepted run beside the spec, in the owner's repository."""

from __future__ import annotations

import json

from rigspec.observed.record import plain
from rigspec.verify.from_json import WrongShape, read_as
from rigspec.verify.proof import Proof

FORMAT, VERSION = "rigspec-proof", 1
_AGAIN = "accept the rig again: `rigspec accept SPEC`"


def proof_to_json(proof: Proof) -> str:
    """The text of the file: the same proof is the same text, sorted, one value a line."""
    data = {"format": FORMAT, "version": VERSION} | plain(proof)
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def proof_from_json(text: str, rig: str) -> Proof:
    """The proof of `rig` read back; WrongShape says what is wrong with the file."""
    try:
        data = json.loads(text)
    except ValueError as problem:
        raise WrongShape(f"the proof is no JSON: {problem}", hint=_AGAIN) from problem
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise WrongShape("this file is no proof of a rig", hint=_AGAIN)
    if data.get("version") != VERSION:
        raise WrongShape(
            f"the proof has version {data.get('version')} of the format, this rigspec reads "
            f"{VERSION}",
            hint=_AGAIN,
        )
    try:
        found = read_as(Proof, {k: v for k, v in data.items() if k not in {"format", "version"}})
    except WrongShape as problem:
        raise WrongShape(f"the proof is damaged: {problem.message}", hint=_AGAIN) from problem
    assert isinstance(found, Proof)  # noqa: S101 - for the type checker
    if found.rig != rig:
        raise WrongShape(
            f"this is the proof of the rig `{found.rig}`, the spec is that of `{rig}`",
            hint="give the spec that was accepted there, or accept this rig",
        )
    return found
