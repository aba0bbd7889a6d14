"""Every rig in rigs/ with an address: pyinfra inventory/home.py deploys/rig.py"""

from pathlib import Path

from rigspec.inventory import hosts

rigs = hosts(Path(__file__).resolve().parent.parent / "rigs")
