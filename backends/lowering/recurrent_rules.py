"""Recurrent layers: the loop over time becomes one kernel, its weight packed."""

from __future__ import annotations

from tvm import relax

from ...errors import BuildError
from ...ir import recurrent as ir
from ..kernels import pack, recurrent
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
    weight = weight.as_float()
    packed = pack.pack_recurrent(weight.array, ir.GATES[cell], walk.isa.float_lanes)
    hidden_state, cell_state, *_ = [*(walk.plain(state) for state in states), None, None]
    result = walk.kernel(
        recurrent.recurrent,
        walk.plain(projected),
        walk.weights.var(weight.name, packed),
        hidden_state,
        cell_state,
        None if bias is None else walk.plain(bias),
        None,
        cell=cell,
        hidden=shape_of(read)[1],
        is_reversed=bool(call.attrs["is_reversed"]),
        register_count=walk.isa.register_count,
    )
    return Dynamic(result)


RULES: dict[str, Rule] = {ir.NAME: loop}
