"""Names of matrices as quantization records list them: plain, as globs, as `re:` expressions."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable


def normalise(name: str) -> str:
    """A module name from `layers.` on, in one family's words."""
    text = name.removesuffix(".weight")
    at = text.find("layers.")
    if at > 0 and "mtp" not in text[:at]:
        text = text[at:]
    for theirs, ours in (
        ("block_sparse_moe", "mlp"),
        (".ffn.", ".mlp."),
        (".attn.", ".self_attn."),
        (".shared_expert.", ".shared_experts."),
        (".router", ".gate"),
    ):
        text = text.replace(theirs, ours)
    return text.removeprefix("model.").removeprefix("language_model.").removeprefix("model.")


def any_of(names: Iterable[str]) -> re.Pattern[str] | None:
    """One expression for a list of names, globs and `re:` expressions; None when it is empty."""
    parts = []
    for name in names:
        if name.startswith("re:"):
            parts.append(rf"(?:{name[3:]})(?:\..*)?")
        elif name.startswith("("):
            continue  # "(shortened)": a copy's remark, not a name
        else:
            plain = normalise(name)
            glob = fnmatch.translate(plain).removesuffix(r"\Z").removesuffix(r"\z")
            anywhere = "" if "." in plain else r"(?:.*\.)?"
            parts.append(rf"{anywhere}(?:{glob})(?:\..*)?")
    try:
        return re.compile("|".join(parts)) if parts else None
    except re.error:
        return None
