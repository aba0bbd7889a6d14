"""The NVIDIA driver from a signed repository, pinned and held."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.driver(current_plan())
