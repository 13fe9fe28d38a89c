"""One layer of a network as a network of its own, so that it can be built and timed."""

from __future__ import annotations

from tvm import relax

from .graph import Graph, shape_of, variables
from .layers import Layer
from .model import Model, TensorSpec
from .rewrite import Body


def extract_layer(model: Model, layer: Layer) -> Model:
    """Return the network that gives the layer's output, bias included, for the layer's input."""
    graph = Graph.of(model)
    wanted, needed = {layer.output}, []
    for var, value in reversed(graph.bindings):
        if var in wanted and var != layer.input:
            needed.append((var, value))
            wanted |= set(variables(value))
    read = {name: var for name, var in model.weight_vars().items() if var in wanted}
    given = relax.Var("x", layer.input.ty)
    params = {name: relax.Var(var.name, var.ty) for name, var in read.items()}
    builder = relax.BlockBuilder()
    body = Body(builder, params)
    body.bind(layer.input, given)
    for name, var in read.items():
        body.bind(var, params[name])
    with builder.function("main", [given, *params.values()], attrs={"num_input": 1}):
        with builder.dataflow():
            for var, value in reversed(needed):
                emit = builder.emit_output if var == layer.output else builder.emit
                body.bind(var, emit(body.of(value), var.name))
            result = body.of(layer.output)
        builder.emit_func_output(result)
    return Model(
        name=layer.name,
        module=builder.get(),
        weights={name: model.weights[name] for name in read},
        inputs=(_spec("x", layer.input),),
        outputs=(_spec("y", layer.output),),
    )


def _spec(name: str, var: relax.Var) -> TensorSpec:
    return TensorSpec(name=name, shape=shape_of(var), dtype=str(var.ty.dtype))
