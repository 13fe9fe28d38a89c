"""From a model to what a board runs: channels last, layers as packed kernels, weights packed.

Walks the network once. Each value is kept channels last where it came from a convolution or a
pooling and nobody asked otherwise, so no transposes stand between neighbours. Convolutions and
dense layers become our kernels; a layer that reads `dequantize(...)` of 8-bit activations and
weights becomes an integer kernel; every other operator is left to TVM.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from tvm import IRModule, relax

from ...ir.graph import Graph, variables
from ...ir.model import Model, TensorSpec
from ..kernels.isa import InstructionSet
from . import (
    layer_rules,
    layout,
    layout_rules,
    legalization,
    precision_rules,
    recurrent_rules,
    transposed_rules,
)
from .low_bit_weights import low_bit_weights
from .values import Dynamic, Static
from .walk import Walk


@dataclass(frozen=True)
class Lowered:
    """A module whose `main` takes the inputs, then every packed weight in order.

    `direct` names the weights of direct convolutions that Winograd's filtering could do.
    """

    module: IRModule
    weights: dict[str, np.ndarray]
    direct: frozenset[str]


def lower(
    model: Model, isa: InstructionSet, winograd: Mapping[str, int] = MappingProxyType({})
) -> Lowered:
    """Lower `model` for an instruction set; `model` is left as it is.

    `winograd` gives the tile, 2 or 4, of each weight whose convolutions are done by Winograd's
    filtering, those of them that can be. Inputs and outputs that the model declares channels last
    are taken and given as images.
    """
    layers = layer_rules.RULES | transposed_rules.RULES | recurrent_rules.RULES
    rules = legalization.guarded(layout_rules.RULES | precision_rules.RULES | layers)
    walk = Walk(model, isa, rules, winograd)
    function = model.function
    inputs = [_input(spec) for spec in model.inputs]
    for old, new, spec in zip(function.params, inputs, model.inputs, strict=False):
        walk.values[old] = Dynamic(new, spec.channels_last)
    for name, var in model.weight_vars().items():
        walk.values[var] = Static(model.weights[name], name)
    walk.values |= low_bit_weights(model)
    needed = _needed(model, walk.values.keys())
    builder = walk.builder
    with builder.function("main", attrs={"num_input": len(inputs)}):
        with builder.dataflow():
            for block in function.body.blocks:
                for binding in block.bindings:
                    if binding.var in needed:
                        walk.values[binding.var] = walk.lower_value(binding.value)
            result = builder.emit_output(_result(walk, model))
        builder.emit_func_output(result, params=[*inputs, *walk.weights.vars])
    return Lowered(builder.get(), walk.weights.arrays, frozenset(walk.could_be_winograd))


def _input(spec: TensorSpec) -> relax.Var:
    shape = layout.image_shape(spec.shape) if spec.channels_last else spec.shape
    return relax.Var(spec.name, relax.TensorType(shape, spec.dtype))


def _result(walk: Walk, model: Model) -> relax.Expr:
    """What is returned: in the source's layout, but for an image that goes on to another piece."""
    result = model.function.body.body
    if any(spec.channels_last for spec in model.outputs):
        return walk.channels_last(result)
    return walk.plain(result)


def _needed(model: Model, known: Set[relax.Var]) -> set[relax.Var]:
    """The variables that the result is computed from, as far back as what is known."""
    graph = Graph.of(model)
    needed = set(variables(graph.result))
    for var, value in reversed(graph.bindings):
        if var in needed and var not in known:
            needed.update(variables(value))
    return needed - known
