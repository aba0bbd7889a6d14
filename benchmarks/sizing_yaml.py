"""YAML files of the benchmark: plain YAML 1.1 data, read with the C loader."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml


def read_yaml(path: Path) -> object:
    """The data of a file; an empty mapping when it is not there. Ends with 2 when it is no YAML."""
    if not path.is_file():
        return {}
    with path.open("rb") as stream:
        loader = yaml.CSafeLoader(stream)
        try:
            return loader.get_single_data()
        except (yaml.YAMLError, ValueError, RecursionError) as problem:
            print(f"{path} is not YAML: {problem}", file=sys.stderr)
            sys.exit(2)
        finally:
            loader.dispose()
