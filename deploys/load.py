"""Load, no part of a deploy: RIGSPEC_LOAD="fabric", "burn 10", "… --stop-services", "weights"."""

import os

from rigspec.current import current_plan
from rigspec.operations import stages

stages.load(current_plan(), os.environ.get("RIGSPEC_LOAD", "fabric"))
