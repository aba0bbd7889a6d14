"""YAML files of the benchmark: plain YAML 1.1 data, read with the C loader."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import yaml
from typing_extensions import override

from rigspec.catalog.data_file import not_yaml


class _Loader(yaml.CSafeLoader):
    """Reads a version without quotes as it is written: 0.30 is not 0.3."""

    @override
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, value in node.value:
            if key.value == "engine_version" and value.tag in _NUMBERS:
                value.tag = "tag:yaml.org,2002:str"
        super().flatten_mapping(node)


_NUMBERS = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int")


def read_yaml(path: Path) -> object:
    """The data of a file; an empty mapping when it is not there. Ends with 2 when it is no YAML."""
    if not path.is_file():
        return {}
    try:
        data = path.read_bytes()
    except OSError as problem:
        stop(f"{path} cannot be read: {problem.strerror}")
    loader = _Loader(data)
    try:
        return loader.get_single_data()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as problem:
        stop(not_yaml(path, problem))
    finally:
        loader.dispose()


def stop(said: str) -> NoReturn:
    """One line on what cannot be used, and the end: 2."""
    print(said, file=sys.stderr)
    sys.exit(2)
