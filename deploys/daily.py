"""The daily look of the host at itself, where the spec asks for it."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.daily(current_plan())
