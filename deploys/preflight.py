"""Refuse before any change what cannot end well; install the small tools later stages call."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.preflight(current_plan())
