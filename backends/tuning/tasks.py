"""What there is to tune: the functions of all variants, each distinct one once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import tvm_ffi
from tvm import IRModule, relax
from tvm.tirx import PrimFunc

from ..isa import InstructionSet
from ..kernels.schedule import Shape, contraction_shape
from ..schedule import task_module


@dataclass(frozen=True)
class Task:
    """One function to tune; `weight` counts its calls over all variants."""

    name: str
    module: IRModule
    shape: Shape
    weight: int


def tasks_of(modules: Iterable[IRModule], isa: InstructionSet) -> tuple[Task, ...]:
    """The tasks of fused modules that a template fits, heaviest use first."""
    found: dict[int, Task] = {}
    for module in modules:
        calls = _call_counts(module)
        for var, function in module.functions_items():
            if not isinstance(function, PrimFunc):
                continue
            shape = contraction_shape(function, isa)
            if shape is None:
                continue
            task = task_module(function)
            key = tvm_ffi.structural_hash(task)
            weight = calls[var.name_hint] + (found[key].weight if key in found else 0)
            found[key] = Task(var.name_hint, task, shape, weight)
    return tuple(sorted(found.values(), key=lambda task: -task.weight))


def _call_counts(module: IRModule) -> Counter[str]:
    counts: Counter[str] = Counter()

    def visit(expr: relax.Expr) -> None:
        if isinstance(expr, relax.Call) and getattr(expr.op, "name", "") == "relax.call_tir":
            counts[expr.args[0].name_hint] += 1

    relax.analysis.post_order_visit(module["main"], visit)
    return counts
