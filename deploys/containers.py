"""Container engine, NVIDIA toolkit, cards offered through CDI."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.containers(current_plan())
