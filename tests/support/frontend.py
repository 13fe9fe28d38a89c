"""Imported models: run as they stand, what they are made of."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from adaspring.ir.graph import Graph, is_call
from adaspring.ir.layers import layers
from adaspring.ir.recurrent import NAME as RECURRENT
from adaspring.reference.executor import Reference


def run(model, *inputs) -> list[np.ndarray]:
    """Run through TVM alone on one CPU; loops over time, which TVM has not, in torch."""
    if any(is_call(value, RECURRENT) for _, value in Graph.of(model).bindings):
        return list(Reference(model).run(*(np.asarray(x) for x in inputs)))
    built = relax.build(model.module, tvm.target.Target({"kind": "llvm"}))
    machine = relax.VirtualMachine(built, tvm.cpu())
    values = [np.asarray(x) for x in (*inputs, *model.weights.values())]
    result = machine["main"](*(tvm.runtime.tensor(np.ascontiguousarray(v)) for v in values))
    results = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [r.numpy() for r in results]


def operators(model) -> list[str]:
    bindings = model.function.body.blocks[0].bindings
    return [b.value.op.name.removeprefix("relax.") for b in bindings if hasattr(b.value, "op")]


def assert_in_the_irs_form(model):
    """As docs/architecture.md has it: uint8 activations by tensor, int8 weights by channel."""
    view = Graph.of(model)
    for layer in layers(model):
        weight = model.weights[layer.weight]
        scale = model.weights[f"{layer.weight}_scale"]
        assert layer.quantized
        assert weight.dtype == np.int8
        assert (scale.shape, scale.dtype) == ((weight.shape[layer.output_axis],), np.float32)
        real = view.call(layer.input, "relax.dequantize")
        made = view.call(real.args[0], "relax.quantize")
        assert made.attrs.out_dtype == "uint8"
        for call in (real, made):
            assert [arg.value.numpy().shape for arg in call.args[1:]] == [(), ()]
