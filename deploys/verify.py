"""Observe, judge, print; a host that is not as planned fails."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.verify(current_plan())
