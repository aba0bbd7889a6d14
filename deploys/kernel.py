"""Kernel arguments, module options and initramfs of the next boot."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.kernel(current_plan())
