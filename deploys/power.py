"""Which card is which member; caps and clock ceilings, at every boot, read back."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.power(current_plan())
