"""What there is to tune: the functions of all variants, each distinct one once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import IRModule
from tvm.s_tir import SBlock, Schedule
from tvm.tirx import IterVar, PrimFunc

from ..kernels.isa import InstructionSet
from ..kernels.sixteen_bit import BITS
from ..schedule.contraction import Shape, contraction_shape, is_handwritten
from ..schedule.default import calls_of, task_module


@dataclass(frozen=True)
class Task:
    """One function to tune; `weight` counts its calls over all variants.

    `shape` is what the template's knobs depend on, or None where no template fits; `dot_dtype` is
    the stored type of what it multiplies: "int8", the bits of bfloat16, or None for float32.
    """

    name: str
    module: IRModule
    shape: Shape | None
    weight: int
    dot_dtype: str | None


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
            sums = _sums(Schedule(task))
            if not sums:
                continue
            key = tvm_ffi.structural_hash(task)
            weight = calls[var.name_hint] + (found[key].weight if key in found else 0)
            shape = contraction_shape(function, isa)
            found[key] = Task(var.name_hint, task, shape, weight, _dot_dtype(sums))
    return tuple(sorted(found.values(), key=lambda task: -task.weight))


def _sums(sch: Schedule) -> list[SBlock]:
    """The function's reductions."""
    blocks = [sch.get(rv) for rv in sch.get_child_blocks(sch.get_sblock("root"))]
    return [
        block
        for block in blocks
        if any(var.iter_type == IterVar.CommReduce for var in block.iter_vars)
    ]


def _dot_dtype(sums: Sequence[SBlock]) -> str | None:
    if any(str(block.writes[0].source.dtype) == "int32" for block in sums):
        return "int8"
    read = {str(region.source.dtype) for block in sums for region in block.reads}
    return BITS if BITS in read else None


def _call_counts(module: IRModule) -> Counter[str]:
    return Counter(call.args[0].name_hint for call in calls_of(module))
