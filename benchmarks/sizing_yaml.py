"""YAML files of the benchmark: plain YAML 1.1 data, read with the C loader."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import yaml

from rigspec.catalog.data_file import not_yaml


def read_yaml(path: Path) -> object:
    """The data of a file; an empty mapping when it is not there. Ends with 2 when it is no YAML."""
    if not path.is_file():
        return {}
    try:
        data = path.read_bytes()
    except OSError as problem:
        stop(f"{path} cannot be read: {problem.strerror}")
    loader = yaml.CSafeLoader(data)
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
