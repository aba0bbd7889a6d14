"""The accepted proof onto the host (`rigspec accept` runs this)."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.proof(current_plan())
