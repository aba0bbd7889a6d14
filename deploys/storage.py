"""Folders for weights, mounted where they have a disk of their own."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.storage(current_plan())
