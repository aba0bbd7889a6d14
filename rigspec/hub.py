"""Facts of a model, read once: from the hub (headers only, no weights) or from files at hand.

What is read is `config.json`, `hf_quant_config.json`, and the sizes in the headers of the weight
files; `rigspec.catalog.models.saved_file` turns it into the small file beside a rig.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rigspec.catalog.model_config import facts_of_config, lacking
from rigspec.catalog.model_facts import ExactSizes
from rigspec.catalog.model_faults import UnusableModel
from rigspec.catalog.model_files import holds_file, json_object, object_of
from rigspec.catalog.model_gguf import (
    gguf_keys,
    in_its_keys,
    open_gguf,
    part_number,
    parts_of,
    read_parts,
    refuse_later_part,
    with_gguf_sizes,
)
from rigspec.catalog.model_headers import sizes_of_folder, sizes_of_headers
from rigspec.catalog.models import NOT_HERE, file_stem, names_file, saved_file
from rigspec.errors import RigspecError
from rigspec.frozen import dataclass
from rigspec.letters import as_name
from rigspec.sizing.unknown import doubts_of
from rigspec.units import text_gib

HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_NAME = re.compile(r"([\w-][\w.-]*/)?[\w-][\w.+@= -]*", re.ASCII)
"""What a spec may look a model up by: its `hub`, or the last part of its `path`."""
CONFIG, MODELOPT = "config.json", "hf_quant_config.json"
BROKEN = "no engine could load it either: fetch the file again, or take another revision"
_GGUF_START, _GGUF_MOST = 16 << 20, 256 << 20
"""First bytes of a GGUF file that hold its header: 5 to 20 MB, most of it the vocabulary."""
_LIBRARIES = ("huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3")


@dataclass(frozen=True)
class Found:
    """What a model's own files say."""

    name: str
    revision: str | None
    config: Mapping[str, object]
    modelopt: Mapping[str, object] | None
    sizes: ExactSizes | None
    gguf: bool = False


def read(source: str, file: str | None = None) -> Found:
    """A folder or file that is here, else a repository of the hub."""
    try:
        return _read(source, file)
    except UnusableModel as problem:
        raise RigspecError(f"{source}: {problem}", hint=BROKEN) from problem


def _read(source: str, file: str | None) -> Found:
    if os.path.lexists(source):
        return read_local(Path(source), file)
    elsewhere = (
        "weights on the rig's own disk are read there, or from the hub with --as FOLDER-NAME"
    )
    if names_file(source):
        hint = f"{NOT_HERE}; {elsewhere}"
        raise RigspecError(f"no such folder or file: `{source}`", hint=hint)
    match = HUB_ID.fullmatch(source)
    if match is None:
        raise RigspecError(
            f"`{source}` is neither a file or folder here nor a hub repository",
            hint=f"write ORG/NAME or ORG/NAME@REVISION; {elsewhere}",
        )
    return read_hub(match["name"], match["revision"], file=file)


def save(found: Found, name: str | None, folder: Path) -> str:
    """Write the small file beside the rigs; a sentence about what is in it."""
    if name is not None and _NAME.fullmatch(name) is None:
        raise RigspecError(
            f"--as `{as_name(name)}` is no name that a spec can look up",
            hint="write ORG/NAME as in its `hub`, or the last part of its `path`",
        )
    known = name or found.name
    text = saved_file(
        known, found.config, found.sizes, revision=found.revision, modelopt=found.modelopt,
        gguf=found.gguf,
    )  # fmt: skip
    try:
        with gguf_keys(found.config) if found.gguf else nullcontext():
            facts = facts_of_config(known, found.config, found.modelopt)
    except UnusableModel as problem:
        raise RigspecError(f"the config of {known}: {problem}", hint=BROKEN) from problem
    if facts is None:
        keys = lacking(found.config)
        keys = in_its_keys(keys, str(found.config.get("model_type"))) if found.gguf else keys
        raise RigspecError(
            f"the config of {known} states no {keys}", hint="is this a language model?"
        )
    path = folder / f"{file_stem(known)}.json"
    try:
        if folder.exists() and not folder.is_dir():
            raise RigspecError(f"cannot write {path}: {folder} is a file, not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise RigspecError(f"cannot write {path}: {problem.strerror}") from problem
    size = f"{text_gib(found.sizes.total_bytes)} of weights" if found.sizes else UNSIZED
    pinned = f", revision {found.revision}" if found.revision else ""
    if found.sizes is not None:
        facts = with_gguf_sizes(facts, found.sizes) if found.gguf else facts.with_sizes(found.sizes)
    doubts = "".join(f"\nnot understood: {doubt}" for doubt in doubts_of(facts))
    return f"{path}: {len(facts.layers)} layers, {size}{pinned}{doubts}"


UNSIZED = "no file tells their sizes: weights are reckoned from the dimensions, with a wider band"


def read_local(path: Path, file: str | None = None) -> Found:
    """A checkpoint folder or a GGUF file on this machine; a config beside nothing but GGUF files is
    that of the checkpoint they were made of."""
    # a link by its own name, as a spec's `path` has it; `.` and `..` have none
    name = path.name if path.name not in ("", "..") else path.resolve().name
    names = [str(found.relative_to(path)) for found in sorted(path.rglob("*.gguf"))]
    lone = not any(path.glob("*.safetensors")) and bool(names)
    if path.is_dir() and file is None and holds_file(path / CONFIG) and not lone:
        modelopt = path / MODELOPT
        return Found(
            name=name,
            revision=None,
            config=json_object(path / CONFIG),
            modelopt=json_object(modelopt) if holds_file(modelopt) else None,
            sizes=sizes_of_folder(path),
        )
    if path.is_dir():
        path = path / _chosen(names, file, str(path), has_config=(path / CONFIG).is_file())
    if holds_file(path) and path.suffix != ".gguf":
        raise RigspecError(
            f"{path} is neither a checkpoint folder nor a GGUF file",
            hint="give the folder that holds config.json",
        )
    refuse_later_part(path.name)
    parts = [path.with_name(part) for part in parts_of(path.name)]
    return _of_gguf(name, None, parts)


def read_hub(
    name: str, revision: str | None, *, file: str | None = None, endpoint: str | None = None
) -> Found:
    """A repository of the hub, pinned to the commit that `revision` (or its main branch) means."""
    api = _api(endpoint)
    with _plain_errors(name, revision):
        info = api.model_info(name, revision=revision, files_metadata=True)
        files = {sibling.rfilename: sibling.size for sibling in info.siblings or []}
        with tempfile.TemporaryDirectory(prefix="rigspec-") as scratch:
            ggufs = sorted(f for f in files if f.endswith(".gguf"))
            lone = bool(ggufs) and not any(f.endswith(".safetensors") for f in files)
            if CONFIG in files and file is None and not lone:
                return _of_safetensors(api, name, info.sha, files, Path(scratch))
            first = _chosen(ggufs, file, name, has_config=CONFIG in files)
            parts = [
                _header_only(api, name, info.sha, part, files.get(part) or 0, Path(scratch))
                for part in parts_of(first)
            ]
            return _of_gguf(name, info.sha, parts)


def _api(endpoint: str | None) -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError as problem:
        raise RigspecError(
            "`huggingface_hub` is not installed",
            hint="`pip install 'rigspec[models]'`, or give a folder that is already here",
        ) from problem
    return HfApi(endpoint=endpoint)


def _of_safetensors(
    api: Any, name: str, commit: str, files: Mapping[str, int | None], scratch: Path
) -> Found:
    def fetched(path: str) -> Mapping[str, object]:
        local = api.hf_hub_download(name, path, revision=commit, cache_dir=scratch)
        return object_of(Path(local).read_bytes(), path)

    return Found(
        name=name,
        revision=commit,
        config=fetched(CONFIG),
        modelopt=fetched(MODELOPT) if MODELOPT in files else None,
        sizes=_header_sizes(api, name, commit, files),
    )


def _header_sizes(
    api: Any, name: str, commit: str, files: Mapping[str, int | None]
) -> ExactSizes | None:
    """Bytes by the headers of every weight file the index names; None when there are none."""
    if "model.safetensors" in files or "model.safetensors.index.json" in files:
        found = list(api.get_safetensors_metadata(name, revision=commit).files_metadata.values())
    else:
        wanted = [f for f in files if f.endswith(".safetensors") and "/" not in f]
        found = [api.parse_safetensors_file_metadata(name, f, revision=commit) for f in wanted]
    headers = (
        {
            key: {"data_offsets": list(info.data_offsets), "shape": list(info.shape)}
            for key, info in each.tensors.items()
        }
        for each in found
    )
    return sizes_of_headers(headers, f"headers of {len(found)} files")


def _of_gguf(name: str, revision: str | None, parts: Sequence[Path]) -> Found:
    config, sizes = read_parts(parts)
    return Found(name, revision, config, None, sizes, gguf=True)


def _chosen(names: Sequence[str], file: str | None, where: str, *, has_config: bool) -> str:
    """The GGUF file asked for, or the only one; the first part of a split one."""
    if file is not None and file in names:
        refuse_later_part(file)
        return file
    firsts = [name for name in names if part_number(name) == 1]
    if file is None and len(firsts) == 1:
        return firsts[0]
    if not firsts and file is not None and has_config:
        raise RigspecError(
            f"{where} has no file `{file}`, nor any other GGUF file",
            hint="leave out --file: its config.json is read then",
        )
    if not firsts:
        raise RigspecError(
            f"{where} holds neither config.json nor a GGUF file", hint="is this a model?"
        )
    listed = ", ".join(firsts[:12]) + (" …" if len(firsts) > 12 else "")
    said = f"has no file `{file}`" if file else f"holds {len(firsts)} GGUF files"
    raise RigspecError(f"{where} {said}", hint=f"choose one with --file: {listed}")


def _header_only(api: Any, name: str, commit: str, path: str, size: int, scratch: Path) -> Path:
    """A sparse file of full size that holds only the first bytes: enough to read the header."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(name, path, revision=commit, endpoint=api.endpoint)
    file = scratch / Path(path).name
    length = _GGUF_START
    while True:
        end = min(length, size) - 1
        headers = {**build_hf_headers(), "range": f"bytes=0-{end}"}
        reply = get_session().get(url, headers=headers, timeout=60)
        hf_raise_for_status(reply)
        with file.open("wb") as stream:
            stream.write(reply.content[: end + 1])
            stream.truncate(size)
        if end + 1 >= size or length >= _GGUF_MOST or _holds_header(file, end + 1):
            return file
        length *= 4


def _holds_header(file: Path, fetched: int) -> bool:
    try:
        return int(open_gguf(file).data_offset) <= fetched
    except UnusableModel:
        return False  # zeros where the rest of the header belongs


@contextmanager
def _plain_errors(name: str, revision: str | None) -> Iterator[None]:
    """What the hub or the network refuses, in one sentence; our own errors pass.

    Which HTTP library raises depends on huggingface_hub's version, so it is known by its name.
    """
    try:
        yield
    except RigspecError:
        raise
    except UnusableModel as problem:
        raise RigspecError(f"{name}: {problem}", hint=BROKEN) from problem
    except Exception as problem:
        library = type(problem).__module__.partition(".")[0]
        if library not in _LIBRARIES and not isinstance(problem, OSError):
            raise
        wanted = f"{name}@{revision}" if revision else name
        reason = str(problem).strip().partition("\n")[0] or type(problem).__name__
        raise RigspecError(
            f"cannot read {wanted} from the hub: {reason}",
            hint="gated models need HF_TOKEN; without network give a folder that is already here",
        ) from problem
