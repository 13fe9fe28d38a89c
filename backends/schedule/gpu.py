"""Schedules for GPUs: tuned where a record exists, else our template, else TVM's rules (DLight).

A product for one row alone is left to DLight where threads go in warps, over which it spreads sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TypeVar

from tvm import IRModule, s_tir
from tvm.s_tir import Schedule, dlight, renew_defs
from tvm.s_tir.schedule import ScheduleError
from tvm.target import Target
from tvm.tirx import PrimFunc

from ...errors import BuildError
from ..kernels.isa import InstructionSet
from .contraction import is_handwritten, new_schedule
from .default import SCHEDULED, Best, apply_tuned, replace_functions, restore_attributes
from .gpu_contraction import gpu_shape, gpu_tiles, schedule_gpu_contraction
from .gpu_product import product_of, warp_tiles
from .gpu_tensor_cores import schedule_tensor_cores

Tile = TypeVar("Tile")
_LEAST_PIXELS = 4
_RULES = (
    dlight.gpu.Matmul(),
    dlight.gpu.GEMV(),
    dlight.gpu.Reduction(),
    dlight.gpu.GeneralReduction(),
    dlight.gpu.Fallback(),
)


def schedule_gpu(
    module: IRModule, isa: InstructionSet, target: Target, best: Best | None
) -> IRModule:
    """Schedule every function for a GPU, by `best` where it knows one."""
    functions = {}
    for var, function in module.functions_items():
        if not isinstance(function, PrimFunc):
            continue
        if SCHEDULED not in function.attrs and not is_handwritten(function):
            function = apply_tuned(function, best) or restore_attributes(
                default_gpu_schedule(function, isa, target), function
            )
        functions[var] = function.with_attr(SCHEDULED, True)
    return replace_functions(module, functions)


def default_gpu_schedule(function: PrimFunc, isa: InstructionSet, target: Target) -> Schedule:
    """How a function runs where nothing was tuned; BuildError where no rule fits."""
    shape = gpu_shape(new_schedule(function))
    alone = shape is not None and shape.images * shape.rows * shape.columns < _LEAST_PIXELS
    spreads_sums = int(target.attrs.get("thread_warp_size", 1)) > 1
    templates = () if alone and spreads_sums else template_schedules(function, isa, target)
    sch = next(chain(templates, rule_schedules(function, target)), None)
    if sch is None:
        raise BuildError(
            "no GPU schedule fits an operator of the network; build it for a CPU board"
        )
    return sch


def template_schedules(
    function: PrimFunc, isa: InstructionSet, target: Target
) -> Iterator[Schedule]:
    """A contraction by each tile of our templates, the most promising first."""
    product = product_of(new_schedule(function)) if isa.tensor_cores else None
    if product:
        # TVM has no one error for what does not fit
        unfit = (ScheduleError, RuntimeError, AssertionError)
        yield from _by_tiles(function, warp_tiles(product), schedule_tensor_cores, unfit)
    shape = gpu_shape(new_schedule(function))
    if shape:
        tiles = gpu_tiles(shape, int(target.attrs["max_threads_per_block"]))
        schedule = partial(schedule_gpu_contraction, isa=isa)
        yield from _by_tiles(function, tiles, schedule, (ScheduleError,))


def _by_tiles(
    function: PrimFunc,
    tiles: Iterable[Tile],
    schedule: Callable[[Schedule, Tile], None],
    unfit: tuple[type[Exception], ...],
) -> Iterator[Schedule]:
    """By each tile; none any more where what is fused behind the contraction does not fit one."""
    for tile in tiles:
        sch = new_schedule(function)
        try:
            schedule(sch, tile)
        except unfit:
            return
        yield sch


def rule_schedules(function: PrimFunc, target: Target) -> Iterator[Schedule]:
    """The function by each of DLight's rules that fits it."""
    for rule in _RULES:
        try:
            with target:
                sch = rule.apply(renew_defs(function), target, False)
                if sch is None:
                    continue
                s_tir.transform.LowerCrossThreadReduction()(sch.mod)
        except (RuntimeError, ValueError, AssertionError):
            # DLight's rules recognise more than they can schedule (a broadcast behind a
            # reduction, a grouped convolution); the next is plainer, the last right for anything.
            continue
        yield sch
