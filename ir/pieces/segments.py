"""A network cut where one tensor alone crosses, and pieces joined to a network again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from tvm import relax

from ...errors import ModelError
from ..graph import Graph, shape_of, variables
from ..layers import layers, layers_of
from ..model import Model
from ..rewrite import Body
from ..same import is_same
from .extract import extract

CROSSING = "crossing"
"""The name of the tensor that a piece takes from the one before and gives to the one behind."""

_IMAGE_RANKS = (4, 5)


@dataclass(frozen=True)
class Crossing:
    """A variable, of what is computed so far the only one that is read from here on.

    `layers_count` is how many layers are computed before it.
    """

    var: relax.Var
    layers_count: int


def crossings(model: Model) -> tuple[Crossing, ...]:
    """Find every place between two layers where a network can be cut, in order.

    Of several places between the same two layers it is the last: what has no weights goes with the
    layer that it comes behind, with which it is fused; so does a bias. None in a network that
    returns a value twice or an input as it is.
    """
    graph = Graph.of(model)
    outputs = graph.outputs()
    if len(set(outputs)) < len(outputs) or not set(outputs) <= graph.producers.keys():
        return ()
    places = {var: place for place, (var, _) in enumerate(graph.bindings)}
    layers = layers_of(graph, model.weight_names())
    calls = sorted(places[layer.call] for layer in layers)
    bare = {layer.call for layer in layers if layer.call != layer.output}
    found = {
        bisect_left(calls, places[var] + 1): var for var in _alone(model, graph) if var not in bare
    }
    return tuple(Crossing(var, count) for count, var in found.items() if 0 < count < len(calls))


def _alone(model: Model, graph: Graph) -> Iterator[relax.Var]:
    """Each tensor of floats that every way from the inputs to the outputs leads through.

    Values are in an order of computation, so nothing made before such a one is read behind it.
    """
    dynamic = set(model.function.params[: len(model.inputs)])
    last = _last_reads(graph)
    until = max(last.get(var, -1) for var in dynamic)
    for place, (var, value) in enumerate(graph.bindings):
        if dynamic.isdisjoint(variables(value)):
            continue
        dynamic.add(var)
        is_alone = until <= place
        until = max(until, last.get(var, -1))
        if is_alone and until < len(graph.bindings) and _can_cross(var, model.batch):
            yield var


def _last_reads(graph: Graph) -> dict[relax.Var, int]:
    """Where each variable is read last; what the network returns is read behind all bindings."""
    found = dict[relax.Var, int]()
    for place, (_, value) in enumerate(graph.bindings):
        found |= dict.fromkeys(variables(value), place)
    return found | dict.fromkeys(graph.outputs(), len(graph.bindings))


def _can_cross(var: relax.Var, batch: int) -> bool:
    """Whether a value is floats of which the leading axis counts a run's samples."""
    if not isinstance(var.ty, relax.TensorType) or str(var.ty.dtype) != "float32":
        return False
    return shape_of(var)[:1] == (batch,)


def cut(model: Model, at: Sequence[Crossing]) -> tuple[Model, ...]:
    """Cut a network into pieces, networks all: each takes what the one before gives.

    Images cross channels last. Each piece has the weights that it reads, under their names.
    """
    function, graph = model.function, Graph.of(model)
    inputs = function.params[: len(model.inputs)]
    given = [{var: spec.name for var, spec in zip(inputs, model.inputs, strict=True)}]
    given += [{crossing.var: CROSSING} for crossing in at]
    outputs = zip(graph.outputs(), model.outputs, strict=True)
    wanted = [*given[1:], {var: spec.name for var, spec in outputs}]
    pieces = [
        extract(model, f"{model.name}.{index}", *ends)
        for index, ends in enumerate(zip(given, wanted, strict=True))
    ]
    return tuple(map(_with_images, pieces))


def _with_images(piece: Model) -> Model:
    """The piece, its crossings as they are handed over."""
    inputs, outputs = (
        tuple(
            replace(spec, channels_last=spec.name == CROSSING and len(spec.shape) in _IMAGE_RANKS)
            for spec in specs
        )
        for specs in (piece.inputs, piece.outputs)
    )
    return replace(piece, inputs=inputs, outputs=outputs)


def crossing_vars(model: Model, pieces: Sequence[Model]) -> tuple[relax.Var, ...]:
    """Find what crosses between the pieces of a network, as variables of the whole one.

    Raises:
        ModelError: the pieces are of another network.

    """
    computed = accumulate(len(layers(piece)) for piece in pieces[:-1])
    places = {place.layers_count: place.var for place in crossings(model)}
    try:
        return tuple(places[count] for count in computed)
    except KeyError:
        raise ModelError(f"the pieces are of another network than {model.name}; cut it") from None


def join(name: str, pieces: Sequence[Model]) -> Model:
    """Join pieces to the network that computes them one after the other.

    A weight that a piece before has under the same name, of other values, gets another name.
    """
    weights, names = _joined_weights(pieces)
    first, last = pieces[0], pieces[-1]
    inputs = [relax.Var(var.name, var.ty) for var in first.function.params[: len(first.inputs)]]
    params = {
        names[index][key]: relax.Var(f"w{index}_{var.name}", var.ty)
        for index, piece in reversed(list(enumerate(pieces)))
        for key, var in piece.weight_vars().items()
    }
    ordered = [params[key] for key in weights]
    builder = relax.BlockBuilder()
    attributes = {"num_input": len(inputs)}
    with builder.function("main", [*inputs, *ordered], attrs=attributes):
        with builder.dataflow():
            values: Sequence[relax.Expr] = inputs
            for piece, own in zip(pieces, names, strict=True):
                weight_vars = {key: params[own[key]] for key in piece.weights}
                values = _inline(builder, piece, values, weight_vars)
            results = [builder.emit_output(value) for value in values]
        builder.emit_func_output(results[0] if len(results) == 1 else relax.Tuple(results))
    return Model(
        name=name,
        module=builder.get(),
        weights=weights,
        inputs=first.inputs,
        outputs=last.outputs,
    )


def _joined_weights(
    pieces: Sequence[Model],
) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    """All weights, and what each piece's are called among them."""
    weights: dict[str, np.ndarray] = {}
    names: list[dict[str, str]] = []
    for index, piece in enumerate(pieces):
        own = {}
        for key, value in piece.weights.items():
            same = key not in weights or is_same(weights[key], value)
            own[key] = key if same else f"{key}@{index}"
            weights[own[key]] = value
        names.append(own)
    return weights, names


def _inline(
    builder: relax.BlockBuilder,
    piece: Model,
    values: Sequence[relax.Expr],
    weights: Mapping[str, relax.Var],
) -> list[relax.Expr]:
    """Emit a piece's bindings on given values; return what it gives."""
    graph, body = Graph.of(piece), Body(builder, weights)
    for old, new in zip(piece.function.params, (*values, *weights.values()), strict=True):
        body.bind(old, new)
    for var, value in graph.bindings:
        body.bind(var, builder.emit(body.of(value)))
    return [body.of(value) for value in graph.outputs()]
