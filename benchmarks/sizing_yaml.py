"""YAML files of the benchmark: plain YAML 1.1 data, read with the C loader."""

from __future__ import annotations

from pathlib import Path

import yaml


def read_yaml(path: Path) -> object:
    """The data of a file; an empty mapping when it is not there."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as stream:
        loader = yaml.CSafeLoader(stream)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
