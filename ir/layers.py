"""The convolutions and dense layers of a network, found by following its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from tvm import relax

from . import recurrent
from .convolutions import is_convolution, is_transposed, kind_of
from .graph import Graph, is_call, shape_of, variables
from .model import Model
from .stored_weights import FLOAT32, StoredForm, form_of

MATMUL = "relax.matmul"


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One convolution or dense layer of the network.

    `kind` is "dense", "depthwise", "grouped", or the operator of a convolution that is neither:
    "conv1d", "conv2d", "conv3d_transpose", …. `weight_shape` is (c_out, c_in / groups, *kernel) for
    convolutions, (c_in, c_out / groups, *kernel) for transposed ones (`spreads`), the kernel of one
    to three axes; for dense layers it is (n, k) where `transposed` (the weight is read through
    permute_dims) and (k, n) where not. `call` is the variable of the bare convolution or matmul,
    `output` the one after the bias (the same without a bias). `stored` is the form in which the
    weight is stored. `macs_count` counts one multiply-add as one.
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
    spreads: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def quantized(self) -> bool:
        """Whether the weight is read through dequantize."""
        return self.stored.quantized

    @property
    def output_axis(self) -> int:
        """The weight's axis that counts output channels; those of one group, where it spreads."""
        if self.kind == "dense":
            return 0 if self.transposed else 1
        return 1 if self.spreads and self.kind != "depthwise" else 0

    @property
    def outputs(self) -> int:
        """How many output channels there are."""
        return self.output_shape[-1 if self.kind == "dense" else 1]

    @property
    def features(self) -> int:
        """How many values each output is a sum over."""
        if self.kind == "dense":
            return self.input_shape[-1]
        return self.input_shape[1] // self.groups * prod(self.weight_shape[2:])

    @property
    def scales_by_output(self) -> bool:
        """Whether each output channel is one index along `output_axis` of the weight."""
        return self.weight_shape[self.output_axis] == self.outputs


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
    if is_convolution(value):
        moved = value.args[0] if is_transposed(value) else value
        return prod(shape_of(moved)) * prod(shape_of(value.args[1])[1:])
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
    if is_convolution(value):
        read, kind, transposed = value.args[1], kind_of(value), False
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
        spreads=is_transposed(value),
        output_padding=_ints(attrs.output_padding) if attrs and is_transposed(value) else (),
    )


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
