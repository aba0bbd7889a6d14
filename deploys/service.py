"""Inference servers: started from their current files, and answering."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.service(current_plan())
