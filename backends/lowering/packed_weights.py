"""Weights in 4 bits or with scales for groups of features, out of their form in the IR.

The network unpacks them by operators (`ir/stored_weights.py`); the kernels read them packed.
"""

from __future__ import annotations

import math

import numpy as np
from tvm import relax

from ...ir.graph import Graph
from ...ir.layers import layers
from ...ir.model import Model
from ...ir.stored_weights import levels_of
from .values import Static


def packed_weights(model: Model) -> dict[relax.Var, Static]:
    """Read levels and scales of such weights; gives what layers read, by its variable."""
    graph, found = Graph.of(model), {}
    for layer in layers(model):
        scale = model.weights.get(f"{layer.weight}_scale")
        known = layer.kind in ("conv2d", "dense") and layer.output_axis == 0
        if not layer.packed or scale is None or not known:
            continue
        stored, (outputs, *rest) = model.weights[layer.weight], layer.weight_shape
        grouped, bits = scale.size > outputs, 4 if stored.dtype == np.uint8 else 8
        if bits == 8 and not grouped:
            continue
        value = graph.producers[layer.call].args[1]
        flipped = graph.call(value, "relax.permute_dims")
        levels = levels_of(stored, outputs, math.prod(rest))
        size = levels_of(stored, scale.size, stored.size).shape[1] if grouped else None
        if size:
            spread = np.repeat(scale.reshape(outputs, -1), size, axis=1)
            scale = spread[:, : levels.shape[1]].reshape(layer.weight_shape)
        found[graph.origin(value if flipped is None else flipped.args[0])] = Static(
            levels.reshape(layer.weight_shape),
            layer.weight,
            scale=scale,
            group_size=size,
            bits=bits,
        )
    return found
