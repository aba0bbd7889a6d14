"""Model look-up: a folder of a checkpoint, a GGUF file, or a small file saved in the repository.

A saved file (`rigs/models/ORG__NAME.json`) is the model's own `config.json` with one more key,
`_rigspec`, that pins revision and exact bytes; a check of a spec then needs no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from rigspec.catalog.model_config import facts_of_config, lacking
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_faults import UnusableModel
from rigspec.catalog.model_files import holds_file, json_object
from rigspec.catalog.model_gguf import facts_of_gguf, part_number, with_gguf_sizes
from rigspec.catalog.model_headers import sizes_of_folder
from rigspec.catalog.model_pin import PIN, pin_of, pin_text, pinned_sizes, pinned_word
from rigspec.regular import no_file

__all__ = [
    "ExactSizes",
    "ModelFacts",
    "UnusableModel",
    "facts_of_config",
    "load_model_facts",
    "nearest_saved",
    "saved_file",
    "saved_models",
]

_Stamp = tuple[int, int, int] | None
"""What changes when a file is written: inode, time, size; None when there is no file."""


def load_model_facts(model: str | Path, folders: Iterable[Path] = ()) -> ModelFacts | None:
    """Facts of a path, or of a repository id saved in one of the folders; None when not found.

    Raises UnusableModel (a ValueError) when what is found no engine could load either.
    """
    path = Path(model)
    if path.is_dir():
        return _of_folder(path)
    if holds_file(path):
        return facts_of_gguf(path) if path.suffix == ".gguf" else _of_file(path)
    return saved_facts(str(model), folders)


def saved_facts(model: str, folders: Iterable[Path]) -> ModelFacts | None:
    """Facts of a repository id saved in one of the folders, and nowhere else; None when not found.

    Raises UnusableModel as `load_model_facts` does.
    """
    name = model.partition("@")[0]
    if name.startswith("/") or ".." in Path(name).parts:
        return None
    for folder in folders:
        saved = folder / f"{file_stem(name)}.json"
        if _is_saved(saved):
            return _saved(saved, _stamp(saved), _stamp(_record_of(saved)), name)
        if holds_file(folder / name / "config.json"):
            return _of_folder(folder / name)
    return None


def saved_models(folders: Iterable[Path]) -> tuple[tuple[str, Path], ...]:
    """Names and files of every model saved in the folders, the first folder's first.

    `ORG__NAME.json` is `ORG/NAME`; what was read from a disk goes by its folder or GGUF file.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            if not path.name.endswith(".hf_quant_config.json"):
                found.setdefault(path.stem.replace("__", "/"), path)
    return tuple(found.items())


def nearest_saved(name: str, folders: Iterable[Path]) -> tuple[str, ...]:
    """Did-you-mean: names of saved models close to `name`, else the shortest that hold it."""
    wanted = name.partition("@")[0].lower()
    known = {saved.lower(): saved for saved, _ in saved_models(folders)}
    close = get_close_matches(wanted, known, 3, 0.72)
    holding = sorted((each for each in known if wanted in each), key=len)
    return tuple(known[each] for each in close or holding[:3])


NOT_HERE = (
    "a name that begins with `.`, `/` or `~`, has two slashes or ends as a file does (`.gguf`) is "
    "a folder or file of this machine"
)
_ENDINGS = (".gguf", ".safetensors", ".json", ".bin", ".pt", ".pth", ".yaml", ".yml")


def is_place(name: str) -> bool:
    """Whether a name can only mean a folder or a file, and no repository of the hub."""
    return name.startswith((".", "/", "~"))


def names_file(name: str) -> bool:
    """Whether a name of which nothing was found means a path: the hub has one slash in a name."""
    bare = name.partition("@")[0].lower()
    return is_place(name) or bare.count("/") > 1 or bare.endswith(_ENDINGS)


def file_stem(name: str) -> str:
    """`ORG/NAME` as a file name: `ORG__NAME`."""
    return name.strip().replace("/", "__")


def saved_file(
    name: str,
    config: Mapping[str, object],
    sizes: ExactSizes | None,
    *,
    revision: str | None = None,
    modelopt: Mapping[str, object] | None = None,
    gguf: bool = False,
) -> str:
    """The text of a saved facts file: the config, the quantization record, and the pin."""
    pin = pin_text(name, revision, sizes)
    if modelopt is not None:
        pin["hf_quant_config"] = modelopt
    if gguf:
        pin["format"] = "gguf"
    return json.dumps({**config, PIN: pin}, indent=1, sort_keys=True) + "\n"


def _is_saved(path: Path) -> bool:
    """`holds_file`, with the whole path in its words: the folder of saved models is ours."""
    instead = no_file(path)
    if instead:
        raise UnusableModel(f"{path} {instead}")
    return path.is_file()


def _of_folder(folder: Path) -> ModelFacts | None:
    path = folder / "config.json"
    files = sorted(folder.glob("*.gguf"))
    if not holds_file(path) and not files:
        raise UnusableModel("the folder holds neither config.json nor a GGUF file")
    if files and not any(folder.glob("*.safetensors")):
        return facts_of_gguf(_only(files))
    config = json_object(path)
    facts = facts_of_config(folder.name, config, _modelopt(folder / "hf_quant_config.json"))
    if facts is None:
        raise UnusableModel(f"config.json states no {lacking(config)}")
    return facts.with_sizes(sizes_of_folder(folder))


def _only(files: Sequence[Path]) -> Path:
    """The one GGUF file, by its first part where it is split."""
    firsts = [file for file in files if part_number(file.name) == 1] or files[:1]
    if len(firsts) > 1:
        listed = ", ".join(file.name for file in firsts[:12]) + (" …" if len(firsts) > 12 else "")
        raise UnusableModel(f"the folder holds {len(firsts)} GGUF files, name one: {listed}")
    return firsts[0]


@lru_cache(maxsize=64)
def _saved(path: Path, written: _Stamp, record: _Stamp, name: str) -> ModelFacts:
    """Read once for many specs, again when one of the two files has changed."""
    try:
        return _of_file(path, name=name)
    except UnusableModel as problem:
        told = str(problem)
        rest = told.removeprefix(path.name) if told.startswith(path.name) else f": {told}"
        raise UnusableModel(f"{path}{rest}") from problem


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _of_file(path: Path, name: str | None = None) -> ModelFacts:
    config = json_object(path)
    pinned = pin_of(config)
    record = pinned.get("hf_quant_config")
    beside = _modelopt(_record_of(path))
    known = pinned_word(pinned, "name") or name or path.stem.replace("__", "/")
    facts = facts_of_config(known, config, record if isinstance(record, Mapping) else beside)
    if facts is None:
        raise UnusableModel(f"{path.name} states no {lacking(config)}")
    sizes = pinned_sizes(pinned)
    facts = replace(facts, revision=pinned_word(pinned, "revision"))
    if pinned.get("format") == "gguf" and sizes is not None:
        return with_gguf_sizes(facts, sizes)
    return facts.with_sizes(sizes)


def _record_of(path: Path) -> Path:
    """The quantization record beside a saved config."""
    return path.with_name(path.stem + ".hf_quant_config.json")


def _modelopt(path: Path) -> Mapping[str, object] | None:
    return json_object(path) if holds_file(path) else None
