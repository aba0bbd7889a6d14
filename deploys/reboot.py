"""One reboot, only if the running system differs from what the stages before have set."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.reboot(current_plan())
