"""Tokens per second of every server (`rigspec baseline` and `verify --pace` run this)."""

from rigspec.current import current_plan
from rigspec.operations import stages

stages.pace(current_plan())
