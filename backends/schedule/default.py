"""Schedules for every function of a lowered module: tuned where a record exists, else by rule.

For CPUs: our contraction template with its first tile, and a plain rule for the rest
(`gpu.py` is for GPUs). Nothing is left as the naive loops that an operator is written as.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import tvm_ffi
from tvm import IRModule, relax
from tvm.ir import GlobalVar, TensorLoad
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import SBlockRV, ScheduleError, Trace
from tvm.target import Target
from tvm.tirx import IterVar, PrimFunc

from ..kernels.isa import InstructionSet
from .contraction import (
    contraction_shape,
    is_handwritten,
    is_small,
    new_schedule,
    schedule_spatial,
    tiles,
)
from .outputs import own_outputs
from .winograd import apply_template

SCHEDULED = "tirx.is_scheduled"
_LONGEST_NAME = 100

# Loads in one expression: x * tanh(x) doubles them each time that it follows itself.
_LARGEST_INLINED = 16

# The fastest known schedule of a task, or None: what a tuning log answers.
Best = Callable[[IRModule], Trace | None]


def fuse_operators(module: IRModule, tvm_target: Target) -> IRModule:
    """Operators as loops, fused: each function of the result is one tuning task."""
    steps = (
        relax.backend.DispatchSortScan(),
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.RewriteDataflowReshape(),
        relax.transform.DeadCodeElimination(),
    )
    with tvm_target:
        for step in steps:
            module = step(module)
    return _shorten_names(own_outputs(module))


def _shorten_names(module: IRModule) -> IRModule:
    """Cut the names of functions, which list every operator fused, and number them."""
    short: dict[GlobalVar, GlobalVar] = {}
    for var in module.get_global_vars():
        if len(var.name_hint) > _LONGEST_NAME:
            name = f"{var.name_hint[:_LONGEST_NAME]}_cut{len(short)}"
            short[var] = GlobalVar(name)
            relax.expr._update_type(short[var], var.ty)
    if not short:
        return module
    functions = {
        short.get(var, var): tvm_ffi.structural_map(
            function, (GlobalVar, lambda read: short.get(read, read))
        )
        for var, function in module.functions_items()
    }
    return IRModule(functions, attrs=module.attrs)


def schedule_cpu(module: IRModule, isa: InstructionSet, best: Best | None) -> IRModule:
    """Schedule every function for a CPU, by `best` where it knows one."""
    functions = {}
    for var, function in module.functions_items():
        if isinstance(function, PrimFunc):
            function = apply_tuned(function, best) or _apply_rule(function, isa)
            functions[var] = function.with_attr(SCHEDULED, True)
    return replace_functions(module, functions)


def calls_of(module: IRModule) -> list[relax.Call]:
    """Every call of a function in `main`: arguments are the function and its tensors."""
    found = []

    def visit(expr: relax.Expr) -> None:
        if isinstance(expr, relax.Call) and getattr(expr.op, "name", "") == "relax.call_tir":
            found.append(expr)

    relax.analysis.post_order_visit(module["main"], visit)
    return found


def weights_of(module: IRModule, names: Collection[str]) -> dict[relax.Var, str]:
    """The weights of `main`, its last parameters, each with its name."""
    parameters = module["main"].params
    return dict(zip(parameters[len(parameters) - len(names) :], names, strict=True))


def task_module(function: PrimFunc) -> IRModule:
    """A function as a tuning task: what the database keys a record by."""
    return new_schedule(function).mod


def replay(function: PrimFunc, trace: Trace) -> Schedule:
    """The schedule of `function` that `trace` describes."""
    sch = new_schedule(function)
    trace.apply_to_schedule(sch, remove_postproc=False)
    return sch


def apply_tuned(function: PrimFunc, best: Best | None) -> PrimFunc | None:
    """The function by the schedule that `best` knows, or None."""
    trace = best(task_module(function)) if best and not is_handwritten(function) else None
    return None if trace is None else restore_attributes(replay(function, trace), function)


def _apply_rule(function: PrimFunc, isa: InstructionSet) -> PrimFunc:
    if is_handwritten(function):
        return function
    return restore_attributes(default_schedule(function, isa), function)


def default_schedule(function: PrimFunc, isa: InstructionSet) -> Schedule:
    """How a function runs where nothing was tuned: our template's first tile, or a plain rule."""
    shape = contraction_shape(function, isa)
    if shape is not None:
        sch = new_schedule(function)
        try:
            apply_template(sch, tiles(shape, isa)[0], isa)
        except ScheduleError:
            # What is fused behind the contraction does not fit its tile (a broadcast to a higher
            # rank); the plain rule below is right for anything.
            pass
        else:
            return sch
    sch = new_schedule(function)
    _schedule_by_rule(sch, isa)
    return sch


def _schedule_by_rule(sch: Schedule, isa: InstructionSet) -> None:
    """Inline what can be, run outer loops in parallel, vectorise the innermost spatial one."""
    sizes: dict[object, int] = {}
    for block in sch.get_child_blocks(sch.get_sblock("root"))[:-1]:
        size = _inlined_size(sch, block, sizes)
        if not _reductions(sch, block) and size <= _LARGEST_INLINED:
            written = [region.source for region in sch.get(block).writes]
            try:
                sch.compute_inline(block)
            except ScheduleError:
                continue  # read by more than a plain copy could serve; it stays a loop of its own
            sizes |= dict.fromkeys(written, size)
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        loops = sch.get_loops(block)
        kinds = [var.iter_type for var in sch.get(block).iter_vars]
        if len(loops) != len(kinds) or not loops:
            continue  # an opaque block (an extern call): runs as it is written
        if not _reductions(sch, block):
            if all(kind == IterVar.DataPar for kind in kinds):
                schedule_spatial(sch, block, isa.float_lanes)
            continue
        _schedule_reduction(sch, block, isa)


def _inlined_size(sch: Schedule, block: SBlockRV, sizes: Mapping[object, int]) -> int:
    """How many loads a block has, each counted as those of what was inlined in its place."""
    count = 0

    def add(load: TensorLoad) -> None:
        nonlocal count
        count += sizes.get(load.source, 1)

    tvm_ffi.structural_walk(sch.get(block).body, (TensorLoad, add))
    return count


def _schedule_reduction(sch: Schedule, block: SBlockRV, isa: InstructionSet) -> None:
    kinds = [var.iter_type for var in sch.get(block).iter_vars]
    loops = sch.get_loops(block)
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == IterVar.DataPar]
    reduction = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != IterVar.DataPar]
    if not spatial:
        return
    *outer, last = spatial
    extent = int(sch.get(last).extent)
    width = math.gcd(extent, isa.float_lanes)
    vector = None
    if width > 1:
        last, vector = sch.split(last, [None, width])
    order = [*outer, last, *reduction] + ([vector] if vector is not None else [])
    sch.reorder(*order)
    if vector is not None:
        sch.vectorize(vector)
    if not is_small(sch, block):
        sch.parallel(sch.fuse(*outer, last))
    sch.decompose_reduction(block, reduction[0])


def _reductions(sch: Schedule, block: SBlockRV) -> bool:
    return any(var.iter_type == IterVar.CommReduce for var in sch.get(block).iter_vars)


def restore_attributes(sch: Schedule, original: PrimFunc) -> PrimFunc:
    """The scheduled function with the original's attributes."""
    function = sch.mod["main"].without_attr("global_symbol")
    symbol = original.attrs.get("global_symbol") if original.attrs else None
    return function if symbol is None else function.with_attr("global_symbol", symbol)


def replace_functions(module: IRModule, functions: Mapping[GlobalVar, PrimFunc]) -> IRModule:
    """The module with other functions of the same names."""
    result = module.clone()
    for var, function in functions.items():
        result.update_func(var, function)
    return result


__all__ = [
    "calls_of",
    "default_schedule",
    "fuse_operators",
    "replay",
    "schedule_cpu",
    "task_module",
    "weights_of",
]
