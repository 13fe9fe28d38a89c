"""A part of a network as a network of its own, so that it can be compressed, built and timed."""

from __future__ import annotations

from collections.abc import Mapping

from tvm import relax

from ..graph import Graph, shape_of, variables
from ..layers import Layer
from ..model import Model, TensorSpec
from ..rewrite import Body


def extract_layer(model: Model, layer: Layer) -> Model:
    """Return the network that gives the layer's output, bias included, for the layer's input."""
    return extract(model, layer.name, {layer.input: "x"}, {layer.output: "y"})


def extract(
    model: Model, name: str, given: Mapping[relax.Var, str], wanted: Mapping[relax.Var, str]
) -> Model:
    """Return the network that computes some of a network's variables from others of them.

    `given` and `wanted` name its inputs and outputs; tensors all. It has the weights that it reads.
    """
    graph = Graph.of(model)
    reached, needed = set(wanted), []
    for var, value in reversed(graph.bindings):
        if var in reached and var not in given:
            needed.append((var, value))
            reached |= set(variables(value))
    read = {key: var for key, var in model.weight_vars().items() if var in reached}
    inputs = [relax.Var(key, var.ty) for var, key in given.items()]
    params = {key: relax.Var(var.name, var.ty) for key, var in read.items()}
    builder = relax.BlockBuilder()
    body = Body(builder, params)
    for old, new in zip((*given, *read.values()), (*inputs, *params.values()), strict=True):
        body.bind(old, new)
    attributes = {"num_input": len(inputs)}
    with builder.function("main", [*inputs, *params.values()], attrs=attributes):
        with builder.dataflow():
            for var, value in reversed(needed):
                emit = builder.emit_output if var in wanted else builder.emit
                body.bind(var, emit(body.of(value), var.name))
            results = [body.of(var) for var in wanted]
        builder.emit_func_output(results[0] if len(results) == 1 else relax.Tuple(results))
    return Model(
        name=name,
        module=builder.get(),
        weights={key: model.weights[key] for key in read},
        inputs=tuple(_spec(key, var) for var, key in given.items()),
        outputs=tuple(_spec(key, var) for var, key in wanted.items()),
    )


def _spec(name: str, var: relax.Var) -> TensorSpec:
    return TensorSpec(name=name, shape=shape_of(var), dtype=str(var.ty.dtype))
