"""From a model to what a board runs: channels last, layers as packed kernels, weights packed.

Walks the network once. Each value is kept channels last where it came from a convolution or a
pooling and nobody asked otherwise, so no transposes stand between neighbours. Convolutions and
dense layers become our kernels; a layer that reads `dequantize(...)` of 8-bit activations and
weights becomes an integer kernel; every other operator is left to TVM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from tvm import IRModule, relax

from ..errors import BuildError
from ..frontend.model import Model
from ..passes.graph import layers
from . import layer_rules, layout_rules
from .isa import InstructionSet
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
    filtering, those of them that can be.
    """
    _refuse_packed(model)
    walk = Walk(model, isa, layout_rules.RULES | layer_rules.RULES, winograd)
    function = model.function
    inputs = [relax.Var(var.name, var.ty) for var in function.params[: len(model.inputs)]]
    for old, new in zip(function.params, inputs, strict=False):
        walk.values[old] = Dynamic(new)
    for name, var in model.weight_vars().items():
        walk.values[var] = Static(model.weights[name], name)
    builder = walk.builder
    with builder.function("main", attrs={"num_input": len(inputs)}):
        with builder.dataflow():
            for block in function.body.blocks:
                for binding in block.bindings:
                    walk.values[binding.var] = walk.lower_value(binding.value)
            result = builder.emit_output(walk.plain(function.body.body))
        builder.emit_func_output(result, params=[*inputs, *walk.weights.vars])
    return Lowered(builder.get(), walk.weights.arrays, frozenset(walk.could_be_winograd))


def _refuse_packed(model: Model) -> None:
    """Refuse weights that no kernel reads: they would be unpacked to floats, in full."""
    for layer in layers(model):
        scale, outputs = f"{layer.weight}_scale", layer.weight_shape[layer.output_axis]
        grouped = scale in model.weights and model.weights[scale].size > outputs
        if layer.packed and (grouped or layer.weight_dtype == "uint8"):
            raise BuildError(
                f"{layer.name} reads weights of 4 bits, or with scales for groups of inputs, which "
                "no kernel reads; build with int8 weights by output, WeightOnly(bits=8)"
            )
