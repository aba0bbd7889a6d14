"""The checkpoint that a published run loaded: its config, its quantization, its sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.sizing_gpus import NamedCards
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_keys import Keys
from rigspec.catalog.model_parts import Vision
from rigspec.catalog.model_quant import UNKNOWN_FORMAT, Quantization, Scheme
from rigspec.catalog.model_sizes import SizeTable
from rigspec.catalog.model_words import (
    GGUF_BITS,
    WIDTH,
    Words,
    apply_words,
    gguf_words,
    head_words,
    scheme_words,
)
from rigspec.catalog.models import load_model_facts, saved_facts
from rigspec.sizing.matrices import matrices
from rigspec.sizing.stored import formula_doubt
from rigspec.units import GB, GIB


@dataclass(frozen=True)
class Models:
    """Where configs are looked for, and the sizes beside them."""

    folder: Path
    sizes: SizeTable


def find_facts(keys: Keys, models: Models, named: NamedCards) -> tuple[ModelFacts | None, str]:
    name, stem = keys.text("model") or "", (keys.text("config") or "").removesuffix(".json")
    tried = [text for text in (stem.replace("__", "/"), Path(stem).name, name) if text]
    facts = None
    for candidate in tried:
        try:
            facts = saved_facts(candidate, [models.folder])
        except (ValueError, OSError) as broken:
            return None, f"the config of {candidate} cannot be read: {broken}"
        if facts is not None:
            break
    if facts is None and name:
        facts = _namesake(models.folder, name)
    if facts is None:
        where = f"config `{stem}.json`" if stem else "no config"
        return None, f"{where} for model `{name or 'not named'}` that states its dimensions"
    facts = replace(facts, name=name or facts.name)
    return _as_run(facts, keys, models, named), ""


_SUFFIXES = re.compile(
    r"[-_.](nvfp4|fp8|fp16|bf16|awq|gptq|int4|int8|gguf|it|instruct|chat|base|mtp|w4a16|w8a8|4bit|"
    r"8bit|autoround|dynamic|qat|quantized)(?=$|[-_.])"
)


def base_name(name: str) -> str:
    """A model's name without owner and without words for its format."""
    text = name.lower().replace("__", "/").rpartition("/")[2]
    while (shorter := _SUFFIXES.sub("", text)) != text:
        text = shorter
    return text


def _namesake(folder: Path, name: str) -> ModelFacts | None:
    """Facts of another format of the same model, for its dimensions."""
    if "/" not in name:
        return None
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith("hf_quant_config.json"):
            continue
        if base_name(path.stem) == base_name(name):
            try:
                found = load_model_facts(path)
            except (ValueError, OSError):
                continue
            if found is not None:
                return replace(found, quantization=Quantization())
    return None


def _as_run(facts: ModelFacts, keys: Keys, models: Models, named: NamedCards) -> ModelFacts:
    """The facts of the checkpoint that ran: its quantization and its sizes."""
    words = _words(keys)
    if words is not None and words.dtype_bytes:
        facts = replace(facts, dtype_bytes=words.dtype_bytes)
    unknown = words is None and _names_unknown_format(facts, keys)
    if words is None and not (unknown and _printed_file(keys)) and _is_packed(facts, keys, named):
        words = Words(Scheme.INT4)
    converted = words is not None and words.bits == GGUF_BITS["NVFP4"] and facts.has_states
    if words is not None:
        words = replace(words, bits=CONVERTED) if converted else words
        quantization = apply_words(
            facts.quantization,
            words,
            keys.text("quantization") or "",
            has_experts=facts.has_experts,
            has_states=facts.has_states,
        )
        if head := head_words(f"{keys.text('quantization')} {keys.text('model')}", words.scheme):
            quantization = replace(quantization, head_scheme=head)
        facts = replace(facts, quantization=quantization)
    elif unknown:
        doubts = (*facts.doubts, "the format of the weights is not known")
        facts = replace(facts, quantization=UNKNOWN, weights_doubt=UNKNOWN_FORMAT, doubts=doubts)
    if formula_doubt(facts) > TOLD and (printed := _printed_file(keys)):
        facts = replace(facts, sizes=printed)
    elif facts.quantization.scheme is Scheme.GGUF and facts.quantization.bits_per_weight < NARROW:
        facts = replace(facts, weights_doubt=max(facts.weights_doubt, NARROW_DOUBT))
    elif converted:
        facts = replace(facts, weights_doubt=max(facts.weights_doubt, CONVERTED_DOUBT))
    size = _size_at_hand(facts, keys, models.sizes)
    return _with_remarks(replace(facts, sizes=size) if size else facts, keys)


def _size_at_hand(facts: ModelFacts, keys: Keys, sizes: SizeTable) -> ExactSizes | None:
    """What the table says of the checkpoint that ran."""
    if facts.quantization.scheme is Scheme.GGUF:
        return _file_of(keys, sizes)
    row = sizes.find(facts.name)
    return row[1] if row is not None and _belongs(facts, row[1]) else None


TOLD = 0.02
"""Doubt of the dimensions up to which a page's rounded size tells nothing more."""
NARROW, NARROW_DOUBT = 4.0, 0.09
"""Bits of a GGUF type below which what it keeps wider, the same in a small model and in a large
one, moves its average: IQ3_XXS is 3.25 bits of an 8B and 3.0 of a 35B (16 GB hold it)."""
CONVERTED, CONVERTED_DOUBT = 6.5, 0.3
"""Bits per weight of an NVFP4 GGUF beside recurrent states: converted from a mixed checkpoint, it
keeps that one's parts in 8 or 16 bits (27B 5.4 to 8.2, 35B-A3B 5.6; Gemma 4 31B has 4.9)."""
UNKNOWN = Quantization(Scheme.INT8, 0)
_FOREIGN = re.compile(r"(?i)\bexl[23]\b|\baqlm\b|\bquip|\bvptq\b|\bhqq\b")
"""Formats of other engines and of plugins, whose widths their names do not tell."""


def _names_unknown_format(facts: ModelFacts, keys: Keys) -> bool:
    """Whether a format is named that nobody here knows, of which the config tells nothing."""
    stated = keys.text("quantization") or ""
    if _FOREIGN.search(stated):
        return True  # whatever the config's own record says: another file ran
    vague = re.search(r"(?i)not stated|\b16.?bit|none|unquantized|original|native", stated)
    return bool(stated) and not vague and facts.quantization.scheme is Scheme.PLAIN


_FILE = re.compile(
    r"checkpoint (?:of )?~?(\d+(?:\.\d+)?) ?(GiB|GB)\b"
    r"|(\d+(?:\.\d+)?) ?(GiB|GB) (?:file|on disk|on the hub)"
)
"""The size of files that a text speaks of: what was loaded is a figure to predict, not to read."""
DECIMAL = 0.04
"""A rounded `GB` is 10^9 bytes more often than 2^30."""


def _printed_file(keys: Keys) -> ExactSizes | None:
    """The size of the files that the run states beside their type, as `llama-bench` or `ls` print
    it, or a page; what follows a `draft` is of another file."""
    text = (keys.text("quantization") or "").partition("; draft")[0]
    whole = re.search(r"(\d{1,3}(?:,\d{3}){2,}) bytes", text)
    if whole:
        return ExactSizes(int(whole[1].replace(",", "")), "printed file size", None, 0.01)
    bare = re.search(r"(\d+\.\d+|\d+(?= GB)) (GiB|GB)\b", text) if "GGUF" in text else None
    found = _FILE.search(text) or bare
    if found is None:
        return None
    number, unit = (part for part in found.groups() if part)
    decimal = unit == "GB"
    size = float(number) * (GB if decimal else GIB)
    return ExactSizes(int(size), "printed file size", None, DECIMAL if decimal else 0.01)


_TYPE = re.compile(r"(?i)(?<![a-z0-9])((?:UD-)?I?Q\d_[A-Z0-9_]+)(?![a-z0-9])")


def _file_of(keys: Keys, sizes: SizeTable) -> ExactSizes | None:
    """The bytes of the very GGUF that ran: a row names its repository, or the model, and its type;
    a repository holds one file of each."""
    run = f"{keys.text('model')} {keys.text('quantization')}".lower()
    types, words = set(_TYPE.findall(run)), set(re.split(r"[\s(),;]+", run))
    for row, found in (*sizes.exact.items(), *sizes.rounded.items()):
        own = _TYPE.findall(row)
        if len(own) == 1 and types == set(own) and row.split()[0] in words:
            return found
    return None


def _is_packed(facts: ModelFacts, keys: Keys, named: NamedCards) -> bool:
    """No quantization is named, and the unquantized weights exceed all cards together."""
    largest = max((gpu.memory_mib * 2**20 for gpu in named.gpus), default=0)
    stated = max(keys.number("gpu_total_gib") or 0.0, named.memory_gb or 0.0)
    card = max(largest, stated * GIB)
    if facts.quantization.scheme is not Scheme.PLAIN or not card:
        return False
    room = max(keys.whole("gpu_count") or 1, len(named.gpus)) * card
    return sum(matrix.stored_bytes for matrix in matrices(facts)) > 0.9 * room


def _belongs(facts: ModelFacts, sizes: ExactSizes) -> bool:
    """Whether a size can be that of the checkpoint that ran.

    A run that quantizes at load, or a sibling in another format, is far from its namesake's bytes.
    """
    formula = sum(matrix.stored_bytes for matrix in matrices(facts))
    copy = facts.vocab * facts.hidden * facts.dtype_bytes if facts.tied else 0
    return 0.7 * formula < sizes.total_bytes < 1.6 * (formula + copy)


SIBLINGS = (0.9, 1.12)
"""By which factors an NVFP4 checkpoint is less and more than the config of another packer's says:
what one leaves in 16 bits, the other packs (four loads of Qwen3.6, 0.93 to 1.11)."""


_SIBLING = re.compile(r"sibling|\b(an)?other (quantizer|packer)|\bof the same base\b")


def _as_sibling(facts: ModelFacts) -> ModelFacts:
    """The facts of an NVFP4 checkpoint of which nothing but a sibling's record is known; it may be
    that its own packer left nothing out."""
    quantization = facts.quantization
    if facts.sizes is not None or quantization.scheme is not Scheme.NVFP4:
        return facts
    bare = replace(quantization, keeps=None, per_layer=None, mixer_scheme=None, experts_only=False)
    packed = sum(m.stored_bytes for m in matrices(replace(facts, quantization=bare)))
    least = packed / sum(matrix.stored_bytes for matrix in matrices(facts))
    return replace(facts, weights_span=(min(SIBLINGS[0], least), SIBLINGS[1]))


UNREAD_TOWER = "the config lacks the vision tower that ran, and what its images take"
TOWER = 500_000_000
"""Weights of a vision tower that a run speaks of and its config lacks: 0.4 to 0.7 billion."""


def _with_remarks(facts: ModelFacts, keys: Keys) -> ModelFacts:
    """Doubts that the case itself states about its config."""
    note = (keys.text("config_note") or "").lower()
    if "pruned" in note:
        remark = "experts were pruned from this checkpoint"
        facts = replace(facts, doubts=(*facts.doubts, remark), weights_doubt=0.4)
    if _SIBLING.search(note):
        facts = _as_sibling(facts)
    said = f"{keys.text('quantization')} {keys.text('model')}".lower()
    told = re.search(r"\bmixed\b", said) or WIDTH.search(said)
    if told and facts.quantization.per_layer is None and facts.sizes is None:
        # one format is named of several: the rest of the layers may be twice as wide, or half
        facts = replace(facts, weights_doubt=max(facts.weights_doubt, 0.25))
    if facts.vision is not None and re.search(r"\btext[- ]only\b|-text-(?!embed)", said):
        facts = replace(facts, vision=None)
    towered = "vlm" in (keys.text("arch_note") or "") or "vision tower" in note
    if towered and facts.vision is None:
        tower = Vision(elements=TOWER, replicated=False, stated=False)
        facts = replace(facts, vision=tower, weights_doubt=max(facts.weights_doubt, 0.04))
        if "vision tower" in note:  # nobody knows how large its images are
            facts = replace(facts, doubts=(*facts.doubts, UNREAD_TOWER))
    return facts


def _words(keys: Keys) -> Words | None:
    """The quantization a case names, in the text nearest to the checkpoint."""
    stated = keys.text("quantization") or ""
    compose = re.sub(
        r"(?i)(int8|fp8)(?!\s*wts)[-_ ]*(per|pth|mtp|kv|\.yml|e[45]m)?",
        " ",
        keys.text("compose") or "",
    )
    texts = (stated, keys.text("model") or "", compose)
    wants_gguf = "llama" in (keys.text("engine_family") or "").lower()
    if stated.lower().startswith("native"):
        return None
    for text in texts:
        found = gguf_words(text) if wants_gguf or "gguf" in text.lower() else None
        found = found or (scheme_words(text) if not wants_gguf else None)
        if found is not None:
            return found
    return Words(Scheme.GGUF, bits=4.9) if wants_gguf else None
