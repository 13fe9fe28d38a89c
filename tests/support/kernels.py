"""Compile a kernel by itself and run it, by the default rule or by every tile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
from hypothesis import Phase, settings
from tvm import IRModule, te
from tvm.s_tir import Schedule

from adaspring.backends.kernels.isa import VECTOR, InstructionSet
from adaspring.backends.schedule.contraction import contraction_shape, tiles
from adaspring.backends.schedule.default import schedule_cpu
from adaspring.backends.schedule.winograd import apply_template

from .boards import HOST

# Every example is compiled: few of them, and none to shrink a failure with.
FEW = settings(
    max_examples=8, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)


RANDOM = np.random.default_rng(0)


def values(dtype: str, *shape: int) -> np.ndarray:
    """Normal values, or any bytes."""
    if dtype == "int8":
        return RANDOM.integers(-128, 128, shape).astype(np.int8)
    return RANDOM.normal(size=shape).astype(dtype)


def whole(channels: int) -> int:
    """So many, up to whole vectors of a GPU's."""
    return -(-channels // VECTOR) * VECTOR


def run_kernel(
    kernel: Callable[..., te.Tensor],
    arrays: list[np.ndarray],
    isa: InstructionSet,
    every_tile: bool = False,
    **attributes: object,
) -> list[np.ndarray]:
    """The outputs of a kernel, by the default rule or by each tile, compiled for this machine."""
    inputs = [te.placeholder(array.shape, str(array.dtype)) for array in arrays]
    output = kernel(*inputs, **attributes)
    function = te.create_prim_func([*inputs, output])
    if every_tile:
        module = _by_every_tile(function, isa)
    else:
        module = schedule_cpu(
            IRModule({"f0": function.with_attr("global_symbol", "f0")}), isa, None
        )
    compiled = tvm.compile(module, target=tvm.target.Target(dict(HOST.target)))
    found = []
    for var in module.get_global_vars():
        shape = [int(extent) for extent in output.shape]
        result = tvm.runtime.tensor(np.full(shape, 77, str(output.dtype)))
        compiled[var.name_hint](*(tvm.runtime.tensor(array) for array in arrays), result)
        found.append(result.numpy())
    return found


def _by_every_tile(function, isa: InstructionSet) -> IRModule:
    shape = contraction_shape(function, isa)
    assert shape is not None
    scheduled = {}
    for index, tile in enumerate(tiles(shape, isa)):
        sch = Schedule(IRModule({"main": function}))
        apply_template(sch, tile, isa)
        name = f"f{index}"
        scheduled[name] = sch.mod["main"].with_attr("global_symbol", name)
    assert scheduled
    return IRModule(scheduled)
