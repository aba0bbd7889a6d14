"""ACS off on the bridges between GPU pairs, at every boot, read back."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.pcie(current_plan())
