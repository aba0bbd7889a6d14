"""Fact: what the storage and model stages compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyinfra.api import StringCommand
from typing_extensions import override

from rigspec.facts.base import RigFact, Sections, one_script
from rigspec.facts.managed import (
    FileState,
    UnitState,
    files_probe,
    lines_of,
    parse_files,
    parse_units,
    units_probe,
    words,
)
from rigspec.frozen import dataclass
from rigspec.observed.host_probes import STORAGE
from rigspec.observed.probes import Probe
from rigspec.observed.record import Record
from rigspec.observed.storage import Storage, parse_storage_probe
from rigspec.plan.sections import ModelPlan

ModelQuestion = tuple[str, str, tuple[str, ...]]
"""Name, path that must exist, and the fetch command (empty for weights brought by hand)."""


def weights_path(model: ModelPlan) -> str:
    """What must exist: the GGUF file, or the folder."""
    return f"{model.directory.rstrip('/')}/{model.file}" if model.file else model.directory


def model_questions(models: Iterable[ModelPlan]) -> tuple[ModelQuestion, ...]:
    """What is asked about each model."""
    return tuple((model.name, weights_path(model), model.fetch_argv) for model in models)


@dataclass(frozen=True)
class ModelState(Record):
    """One set of weights."""

    exists: bool
    complete: bool
    """Whether `fetch-model --check` found every file in its size; always so without a hub."""
    lacks: tuple[str, ...] = ()
    """What it said of files that are missing or damaged, one sentence each, the first few; of
    weights brought by hand what their own index names and the folder does not hold."""

    @property
    def is_whole(self) -> bool:
        """Whether weights brought by hand are there with all that their index names."""
        return self.exists and not self.lacks


@dataclass(frozen=True)
class StorageState(Record):
    """Files, units, mounts and model folders."""

    files: Mapping[str, FileState]
    units: Mapping[str, UnitState]
    storage: Storage
    models: Mapping[str, ModelState]


_NAMED = 6
"""Files that a look names; a model whose disk is not mounted would name hundreds."""
_BY_HAND = f"""\
rig_weights() {{ # NAME PATH
  [ -d "$2" ] || {{ [ ! -e "$2" ] || [ -s "$2" ] || echo "lacks $1 $2 is empty"; return 0; }}
  [ -n "$(find -L "$2" -maxdepth 2 -type f -size +0 \\( -name '*.safetensors' -o -name '*.gguf' \
    -o -name '*.bin' -o -name '*.pt' -o -name '*.pth' \\) | head -n 1)" ] ||
    {{ echo "lacks $1 no weight files in $2"; return 0; }}
  for i in model.safetensors consolidated.safetensors pytorch_model.bin; do
    [ ! -s "$2/$i" ] || return 0
    [ -f "$2/$i.index.json" ] || continue
    grep -oE '"[^"]+[.](safetensors|bin)"' "$2/$i.index.json" | tr -d '"' | sort -u |
    while IFS= read -r f; do [ -s "$2/$f" ] || echo "lacks $1 $f is missing"; done |
    head -n {_NAMED}
    return 0
  done
}}
"""
"""What weights that no hub lists lack by their own index: of several the one that engines prefer,
for owners fetch one format and keep the index of another. An index may name no shard at all."""


def models_probe(questions: tuple[ModelQuestion, ...]) -> Probe:
    """Each model: is its path there, and what the fetch script says about its files."""
    text = [_BY_HAND] if any(not argv for _, _, argv in questions) else []
    for name, path, argv in questions:
        text.append(f"[ ! -e {words([path])} ] || echo there {name}")
        if argv:
            text.append(
                f"if rig_said=$({words(argv)} --check 2>/dev/null)\n"
                f"then echo complete {name}; else\n"
                f"  printf '%s\\n' \"$rig_said\" | head -n {_NAMED} |\n"
                f"  sed -n 's/^fetch-model: /lacks {name} /p'; fi"
            )
        else:
            text.append(f"rig_weights {words([name, path])}")
    return Probe("models", "\n".join([*text, "true"]))


def parse_models(sections: Sections, names: tuple[str, ...] = ()) -> dict[str, ModelState]:
    """States by name; a model with no line is missing."""
    said = [line.split(maxsplit=2) for line in lines_of(sections, "models")]
    found = {word[1] for word in said if len(word) > 1} | set(names)
    return {
        name: ModelState(
            ["there", name] in said,
            ["complete", name] in said,
            tuple(word[2] for word in said if word[:2] == ["lacks", name] and len(word) == 3),
        )
        for name in found
    }


class StorageStage(RigFact[StorageState]):
    """Mounts, free space and weights in one round trip."""

    @override
    def command(
        self,
        paths: tuple[str, ...] = (),
        units: tuple[str, ...] = (),
        models: tuple[ModelQuestion, ...] = (),
    ) -> StringCommand:
        return one_script([files_probe(paths), units_probe(units), *STORAGE, models_probe(models)])

    @override
    def parse(self, sections: Sections) -> StorageState:
        return StorageState(
            files=parse_files(sections),
            units=parse_units(sections),
            storage=parse_storage_probe(sections),
            models=parse_models(sections),
        )
