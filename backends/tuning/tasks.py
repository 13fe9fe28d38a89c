"""What there is to tune: the functions of all variants, each distinct one once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import tvm_ffi
from tvm import IRModule
from tvm.s_tir import Schedule
from tvm.tirx import IterVar, PrimFunc

from ..isa import InstructionSet
from ..kernels.schedule import Shape, contraction_shape, is_handwritten
from ..schedule import calls_of, task_module


@dataclass(frozen=True)
class Task:
    """One function to tune; `weight` counts its calls over all variants.

    `shape` is what the template's knobs depend on, or None where no template fits; `integer` says
    that its sums are 32-bit integers.
    """

    name: str
    module: IRModule
    shape: Shape | None
    weight: int
    integer: bool


def tasks_of(modules: Iterable[IRModule], isa: InstructionSet) -> tuple[Task, ...]:
    """The tasks of fused modules, heaviest use first: every function that sums over something.

    What only moves or maps values runs at the speed of memory by its plain schedule.
    """
    found: dict[int, Task] = {}
    for module in modules:
        calls = _call_counts(module)
        for var, function in module.functions_items():
            if not isinstance(function, PrimFunc) or is_handwritten(function):
                continue
            task = task_module(function)
            sums = _sum_types(Schedule(task))
            if not sums:
                continue
            key = tvm_ffi.structural_hash(task)
            weight = calls[var.name_hint] + (found[key].weight if key in found else 0)
            shape = contraction_shape(function, isa)
            found[key] = Task(var.name_hint, task, shape, weight, "int32" in sums)
    return tuple(sorted(found.values(), key=lambda task: -task.weight))


def _sum_types(sch: Schedule) -> set[str]:
    """The types of what the function's reductions write."""
    blocks = [sch.get(rv) for rv in sch.get_child_blocks(sch.get_sblock("root"))]
    return {
        str(block.writes[0].source.dtype)
        for block in blocks
        if any(var.iter_type == IterVar.CommReduce for var in block.iter_vars)
    }


def _call_counts(module: IRModule) -> Counter[str]:
    return Counter(call.args[0].name_hint for call in calls_of(module))
