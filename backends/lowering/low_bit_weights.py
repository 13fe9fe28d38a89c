"""Weights in 4 bits or with scales for groups of features, out of their form in the IR.

The network unpacks them by operators (`ir/stored_weights.py`); the kernels read them packed.
"""

from __future__ import annotations

from tvm import relax

from ...ir.graph import Graph
from ...ir.layers import layers
from ...ir.model import Model
from ...ir.stored_weights import decode, decode_scales
from .values import Static


def low_bit_weights(model: Model) -> dict[relax.Var, Static]:
    """Decode such weights and their scales; gives what layers read, by its variable."""
    graph, found = Graph.of(model), {}
    for layer in layers(model):
        form, shape = layer.stored, layer.weight_shape
        known = layer.groups == 1 and layer.output_axis == 0
        if not form.by_rows or form.grid is None or form.scale is None or not known:
            continue
        value = graph.producers[layer.call].args[1]
        flipped = graph.call(value, "relax.permute_dims")
        found[graph.origin(value if flipped is None else flipped.args[0])] = Static(
            decode(model.weights[layer.weight], form, shape),
            layer.weight,
            scale=decode_scales(model.weights[form.scale], form, shape),
            group_size=form.grid.group_size,
            bits=form.grid.bits,
        )
    return found
