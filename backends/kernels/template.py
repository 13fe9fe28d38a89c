"""The hand-written schedule of a function: which one fits, with which knobs."""

from __future__ import annotations

from tvm.s_tir import Schedule

from ..isa import InstructionSet
from .schedule import Tile, schedule_contraction
from .winograd_schedule import is_winograd, schedule_winograd


def apply_template(sch: Schedule, tile: Tile, isa: InstructionSet) -> None:
    """Schedule the one function of `sch` by `tile`; raises ScheduleError where it does not fit."""
    if is_winograd(sch):
        schedule_winograd(sch, tile, isa)
    else:
        schedule_contraction(sch, tile, isa)
