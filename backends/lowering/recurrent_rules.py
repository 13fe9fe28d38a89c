"""Recurrent layers: the loop over time becomes one kernel, its weight packed."""

from __future__ import annotations

import numpy as np
from tvm import relax

from ...errors import BuildError
from ...ir import recurrent as ir
from ..kernels import pack, recurrent
from ..kernels.sixteen_bit import stored
from .values import Dynamic, Static, Value
from .walk import Rule, Walk, shape_of


def loop(walk: Walk, call: relax.Call) -> Value:
    """The loop as one function; BuildError for GPUs, which have none for it."""
    if walk.isa.whole_rows:
        raise BuildError("a recurrent layer's loop has no kernel for GPUs; build for a CPU board")
    cell = str(call.attrs["cell"])
    projected, read, *_ = call.args
    bias, states = ir.split_arguments(cell, call.args)
    weight = walk.value_of(read)
    assert isinstance(weight, Static), "every importer gives the loop a weight"
    packed, scales = _packed(walk, weight, ir.GATES[cell])
    hidden_state, cell_state, *_ = [*(walk.plain(state) for state in states), None, None]
    result = walk.kernel(
        recurrent.recurrent,
        walk.plain(projected),
        packed,
        hidden_state,
        cell_state,
        None if bias is None else walk.plain(bias),
        scales,
        cell=cell,
        hidden=shape_of(read)[1],
        is_reversed=bool(call.attrs["is_reversed"]),
        register_count=walk.isa.register_count,
    )
    return Dynamic(result)


def _packed(walk: Walk, weight: Static, gates: int) -> tuple[relax.Var, relax.Var | None]:
    """The weight (gates · hidden, hidden) as the kernel reads it, and the scales of int8."""
    lanes = walk.isa.float_lanes
    is_int8 = weight.array.dtype == np.int8
    if weight.group_size or (is_int8 and not weight.scaled_along(0)):
        weight, is_int8 = weight.as_float(), False
    packed = pack.pack_recurrent(stored(weight.array), gates, lanes)
    if not is_int8:
        return walk.weights.var(weight.name, packed), None
    assert weight.scale is not None
    rows = np.broadcast_to(weight.scale, weight.array.shape[:1]).astype(np.float32)
    scales = pack.pack_recurrent(rows[:, None], gates, lanes)[:, 0]
    return walk.weights.var(weight.name, packed), walk.weights.var(f"{weight.name}_scale", scales)


RULES: dict[str, Rule] = {ir.NAME: loop}
