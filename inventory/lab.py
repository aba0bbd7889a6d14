"""The same specs on running virtual rigs: pyinfra inventory/lab.py deploys/rig.py"""

from rigspec.lab.inventory import lab_hosts

rigs = lab_hosts()
