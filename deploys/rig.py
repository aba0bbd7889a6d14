"""All stages in order; each of them also runs alone: pyinfra inventory/home.py deploys/rig.py"""

from rigspec.current import current_plan
from rigspec.operations import stages

plan = current_plan()
stages.preflight(plan)
stages.kernel(plan)
stages.driver(plan)
stages.reboot(plan)
stages.pcie(plan)
stages.power(plan)
stages.containers(plan)
stages.storage(plan)
stages.model(plan)
stages.service(plan)
stages.daily(plan)
stages.verify(plan)
