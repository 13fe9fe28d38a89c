"""The convolutions and dense layers of a network, found by following its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from tvm import relax

from . import recurrent
from .graph import Graph, is_call, shape_of, variables
from .model import Model
from .stored_weights import FLOAT32, StoredForm, form_of

CONV2D, MATMUL = "relax.nn.conv2d", "relax.matmul"


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One convolution or dense layer of the network.

    `kind` is "conv2d", "depthwise", "grouped" or "dense". `weight_shape` is (c_out, c_in / groups,
    kh, kw) for convolutions; for dense layers it is (n, k) where `transposed` (the weight is read
    through permute_dims) and (k, n) where not. `call` is the variable of the bare convolution or
    matmul, `output` the one after the bias (the same without a bias). `stored` is the form in
    which the weight is stored. `macs_count` counts one multiply-add as one.
    """

    name: str
    kind: str
    weight: str
    weight_shape: tuple[int, ...]
    bias: str | None
    input: relax.Var
    call: relax.Var
    output: relax.Var
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs_count: int
    stored: StoredForm = FLOAT32
    transposed: bool = False
    strides: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    @property
    def quantized(self) -> bool:
        """Whether the weight is read through dequantize."""
        return self.stored.quantized

    @property
    def output_axis(self) -> int:
        """The weight's axis that counts output channels."""
        return 0 if self.kind != "dense" or self.transposed else 1


def layers(model: Model) -> tuple[Layer, ...]:
    """Every layer of the network, in the order of computation."""
    return layers_of(Graph.of(model), model.weight_names())


def layers_of(graph: Graph, names: Mapping[relax.Var, str]) -> tuple[Layer, ...]:
    """Every layer of a network that was read already; `names` are its weights'.

    What multiplies weights alone, the same in every run, is none.
    """
    found = (_layer(graph, names, var, value) for var, value in graph.bindings)
    same = _same_in_every_run(graph, names)
    return tuple(layer for layer in found if layer is not None and layer.input not in same)


def _same_in_every_run(graph: Graph, names: Mapping[relax.Var, str]) -> set[relax.Var]:
    """Weights, and what is computed of weights and constants alone."""
    same = set(names)
    for var, value in graph.bindings:
        if same.issuperset(variables(value)):
            same.add(var)
    return same


def shared_weights(model: Model) -> frozenset[str]:
    """Name the weights that more than one call reads (permute_dims aside)."""
    graph, found = Graph.of(model), set()
    for name, var in model.weight_vars().items():
        readers = list(graph.consumers.get(var, ()))
        while len(readers) == 1 and is_call(graph.producers[readers[0]], "relax.permute_dims"):
            readers = list(graph.consumers.get(readers[0], ()))
        if len(readers) > 1:
            found.add(name)
    return frozenset(found)


def read_both_ways(model: Model) -> frozenset[str]:
    """Name the weights whose output channels lie along one axis for one layer, not for another."""
    axes: dict[str, set[int]] = {}
    for layer in layers(model):
        axes.setdefault(layer.weight, set()).add(layer.output_axis)
    return frozenset(name for name, found in axes.items() if len(found) > 1)


def macs_count(model: Model) -> int:
    """Count one run's multiply-adds: layers, products of two activations, attention, loops."""
    return sum(_macs(value) for _, value in Graph.of(model).bindings)


def weight_bytes(model: Model) -> int:
    """Bytes of all weights as they are stored."""
    return sum(array.nbytes for array in model.weights.values())


def _macs(value: relax.Expr) -> int:
    if is_call(value, CONV2D):
        return prod(shape_of(value)) * prod(shape_of(value.args[1])[1:])
    if is_call(value, MATMUL):
        return prod(shape_of(value)) * shape_of(value.args[0])[-1]
    if is_call(value, "relax.nn.attention") or is_call(value, "relax.nn.attention_bias"):
        query, key = shape_of(value.args[0]), shape_of(value.args[1])
        return prod(query[:3]) * key[1] * (query[3] + shape_of(value)[3])
    if is_call(value, recurrent.NAME):
        return prod(shape_of(value.args[0])) * shape_of(value.args[1])[1]
    return 0


def _layer(
    graph: Graph, names: Mapping[relax.Var, str], var: relax.Var, value: relax.Expr
) -> Layer | None:
    if is_call(value, CONV2D):
        read, kind, transposed = value.args[1], _conv_kind(value), False
    elif is_call(value, MATMUL):
        flipped = graph.call(value.args[1], "relax.permute_dims")
        read = flipped.args[0] if flipped is not None else value.args[1]
        kind, transposed = "dense", flipped is not None
        if len(shape_of(value.args[1])) != 2:
            return None
    else:
        return None
    found = form_of(graph, names, read)
    if found is None:
        return None
    weight, form = found
    bias, output = _bias(graph, names, var, kind)
    attrs = value.attrs if kind != "dense" else None
    return Layer(
        name=weight.removesuffix(".weight"),
        kind=kind,
        weight=weight,
        weight_shape=shape_of(read),
        bias=bias,
        input=graph.origin(value.args[0]),
        call=var,
        output=output,
        input_shape=shape_of(value.args[0]),
        output_shape=shape_of(value),
        macs_count=_macs(value),
        stored=form,
        transposed=transposed,
        strides=_ints(attrs.strides) if attrs is not None else (),
        padding=_ints(attrs.padding) if attrs is not None else (),
        dilation=_ints(attrs.dilation) if attrs is not None else (),
        groups=int(attrs.groups) if attrs is not None else 1,
    )


def _conv_kind(call: relax.Call) -> str:
    groups, per_group = int(call.attrs.groups), shape_of(call.args[1])[1]
    if groups == 1:
        return "conv2d"
    return "depthwise" if per_group == 1 else "grouped"


def _bias(
    graph: Graph, names: Mapping[relax.Var, str], var: relax.Var, kind: str
) -> tuple[str | None, relax.Var]:
    """Find the bias added to a layer's bare output, and the variable after it."""
    readers = graph.consumers.get(var, ())
    if len(readers) != 1 or var in graph.outputs():
        return None, var
    if not is_call(graph.producers[readers[0]], "relax.add"):
        return None, var
    for arg in graph.producers[readers[0]].args:
        shaped = graph.call(arg, "relax.reshape") if kind != "dense" else None
        source = graph.origin(shaped.args[0] if shaped is not None else arg)
        wanted = source in names and len(shape_of(source)) == 1
        if wanted and (kind == "dense" or shaped is not None):
            return names[source], readers[0]
    return None, var


def _ints(values: object) -> tuple[int, ...]:
    return tuple(int(value) for value in values)  # type: ignore[attr-defined]
