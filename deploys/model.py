"""Weights: there, complete, pinned; fetched where they are not."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.model(current_plan())
