"""Batch norm, and any other scale and shift per channel, folded into the layer before it.

Before  y = batch_norm(conv2d(x, w), gamma, beta, mean, var)    w (o, i, h, w), the rest (o,)
After   y = conv2d(x, w * s) + (beta - mean * s)                s = gamma / sqrt(var + eps)
Source  B. Jacob et al., Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference, CVPR 2018, section 3.2
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from ..errors import UnsupportedOperator
from ..ir.convolutions import is_convolution, output_axis
from ..ir.edit import EditableGraph, drop_aliases, op_name, shape_of, substitute


@dataclass(frozen=True)
class Layer:
    """A convolution or dense layer whose output only one binding reads, with its bias, if any.

    `output_axis` is None where no axis of the weight counts the outputs: its scale cannot change.
    `scale` is that of each output channel where the weight is read through dequantize; `read` is
    the variable that holds the dequantized weight.
    """

    weight: relax.Var
    bias: relax.Var | None
    output_axis: int | None  # of the weight
    channel_axis: int  # of the result, counted from its end
    read: relax.Var
    scale: relax.Var | None = None


def lower_batch_norm(graph: EditableGraph) -> None:
    """Write each batch norm as a multiplication and an addition per channel."""
    norms: dict[relax.Var, relax.Var] = {}
    bindings: list[tuple[relax.Var, relax.Expr]] = []
    for var, value in graph.bindings:
        if op_name(value) == "nn.batch_norm":
            scaled, shifted = _lower_one(graph, value)
            bindings += [scaled, shifted]
            norms[var] = shifted[0]
        elif isinstance(value, relax.TupleGetItem) and value.tuple_value in norms:
            bindings.append((var, norms[value.tuple_value]))
        else:
            bindings.append((var, value))
    graph.bindings = bindings
    drop_aliases(graph)


def _lower_one(graph: EditableGraph, call: relax.Call) -> tuple[tuple[relax.Var, relax.Expr], ...]:
    x, *params = call.args
    values = [_value(graph, param) for param in params]
    if any(value is None for value in values):
        raise UnsupportedOperator(
            "batch norm with statistics that the network computes cannot be imported; "
            "export the network in eval mode"
        )
    gamma, beta, mean, variance = values
    scale = gamma / np.sqrt(variance + call.attrs.epsilon)
    shift = beta - mean * scale
    prefix = _norm_name(graph, params)
    rank, axis = x.ty.ndim, int(call.attrs.axis)
    shape = [1] * rank
    shape[axis] = scale.size
    scaled = relax.Var("scaled", x.ty)
    shifted = relax.Var("shifted", x.ty)
    scale_var = graph.add_weight(f"{prefix}.scale", scale.reshape(shape), made=True)
    shift_var = graph.add_weight(f"{prefix}.shift", shift.reshape(shape), made=True)
    return (
        (scaled, relax.op.multiply(x, scale_var)),
        (shifted, relax.op.add(scaled, shift_var)),
    )


def _norm_name(graph: EditableGraph, params: list[relax.Expr]) -> str:
    named = [graph.weights[param].name for param in params if param in graph.weights]
    return named[0].rpartition(".")[0] or named[0] if named else "batch_norm"


def _value(graph: EditableGraph, expr: relax.Expr) -> np.ndarray | None:
    if isinstance(expr, GenericConst):
        return expr.value.numpy().astype(np.float64)
    weight = graph.weights.get(expr) if isinstance(expr, relax.Var) else None
    return None if weight is None else weight.value.astype(np.float64)


def fold_affine(graph: EditableGraph) -> None:
    """Fold scales and shifts per channel into the layer before, where only they read it.

    Afterwards each layer's addition per channel is its bias, in one form: `reshape` of a vector
    for convolutions, the vector itself for dense layers.
    """
    fold = _Fold(graph)
    for var, value in graph.bindings:
        fold.visit(var, substitute(value, fold.replaced))
    graph.bindings = fold.bindings
    graph.output = substitute(graph.output, fold.replaced)


class _Fold:
    """The state of one walk over the bindings."""

    def __init__(self, graph: EditableGraph) -> None:
        self.graph = graph
        self.uses = graph.use_counts()
        self.values = graph.values()
        self.bindings: list[tuple[relax.Var, relax.Expr]] = []
        self.layers: dict[relax.Var, Layer] = {}
        self.replaced: dict[relax.Var, relax.Expr] = {}

    def visit(self, var: relax.Var, value: relax.Expr) -> None:
        name = op_name(value)
        if layer := self._layer(var, name, value):
            self.layers[var] = layer
        elif name in ("add", "subtract", "multiply", "divide"):
            found = self._operands(var, name, value)
            if found and self._fold_into(var, name, *found):
                return
        self.bindings.append((var, value))

    def _layer(self, var: relax.Var, name: str, call: relax.Expr) -> Layer | None:
        if is_convolution(call):
            return self._layer_of(call.args[1], output_axis(call), 1 - var.ty.ndim)
        if name != "matmul" or call.args[1].ty.ndim != 2:
            return None
        made = self.values.get(call.args[1])
        if made is not None and op_name(made) == "permute_dims":
            return self._layer_of(made.args[0], 0, -1)
        return self._layer_of(call.args[1], 1, -1)

    def _layer_of(self, read: relax.Expr, axis: int | None, channel_axis: int) -> Layer | None:
        if read in self.graph.weights:
            return Layer(read, None, axis, channel_axis, read)
        made = self.values.get(read)
        if made is None or op_name(made) != "dequantize" or made.args[0] not in self.graph.weights:
            return None
        scale = made.args[1] if made.attrs.axis == axis else None
        return Layer(made.args[0], None, axis, channel_axis, read, scale)

    def _operands(
        self, var: relax.Var, name: str, call: relax.Call
    ) -> tuple[relax.Var, relax.Expr] | None:
        """Find the layer's output and the other operand, where only this call reads the layer."""
        left, right = call.args
        orders = (
            [(left, right)] if name in ("subtract", "divide") else [(left, right), (right, left)]
        )
        for x, other in orders:
            if x in self.layers and self.uses[x] == 1 and shape_of(x) == shape_of(var):
                return x, other
        return None

    def _fold_into(self, var: relax.Var, name: str, x: relax.Var, other: relax.Expr) -> bool:
        layer = self.layers[x]
        vector = self._per_channel(other, x, layer)
        if vector is None:
            return False
        if name in ("add", "subtract"):
            self._shift(var, x, layer, vector if name == "add" else -vector, other)
            return True
        with np.errstate(divide="ignore", over="ignore"):
            scale = vector if name == "multiply" else 1.0 / vector
            if not np.isfinite(scale.astype(np.float32)).all():
                return False  # a sum of infinite products is not the product of the sum
        alone = self.uses[layer.weight] == 1 and self.uses[layer.read] == 1
        if not alone or layer.output_axis is None:
            return False
        if not layer.read.same_as(layer.weight) and (layer.scale is None or not (scale > 0).all()):
            return False  # the integers stay as they are, their scales positive
        self._scale(var, x, layer, scale)
        return True

    def _per_channel(self, other: relax.Expr, x: relax.Var, layer: Layer) -> np.ndarray | None:
        value = _value(self.graph, other)
        if value is None:
            return None
        rank, count = x.ty.ndim, shape_of(x)[layer.channel_axis]
        shape = (1,) * (rank - value.ndim) + value.shape
        if value.ndim > rank or value.size != shape[layer.channel_axis]:
            return None
        return np.broadcast_to(value.reshape(-1), (count,))

    def _scale(self, var: relax.Var, x: relax.Var, layer: Layer, scale: np.ndarray) -> None:
        stored = layer.weight if layer.scale is None else layer.scale
        scaled = self.graph.weights[stored]
        shape = [1] * scaled.value.ndim
        shape[(layer.output_axis or 0) if layer.scale is None else 0] = scale.size
        scaled.value = scaled.value.astype(np.float64) * scale.reshape(shape)
        if layer.bias is not None:
            bias = self.graph.weights[layer.bias]
            bias.value = bias.value * scale
        self._replace(var, x)

    def _shift(
        self, var: relax.Var, x: relax.Var, layer: Layer, shift: np.ndarray, other: relax.Expr
    ) -> None:
        if layer.bias is not None:
            bias = self.graph.weights[layer.bias]
            bias.value = bias.value + shift
            self._replace(var, x)
            return
        bias_var = self._new_bias(layer, shift, other)
        self.layers[var] = replace(layer, bias=bias_var)
        addend: relax.Expr = bias_var
        if layer.channel_axis != -1:
            shape = [1] * x.ty.ndim
            shape[layer.channel_axis] = shift.size
            addend = relax.Var("bias", relax.TensorType(shape, "float32"))
            self.bindings.append((addend, relax.op.reshape(bias_var, shape)))
        self.bindings.append((var, relax.op.add(x, addend)))

    def _new_bias(self, layer: Layer, shift: np.ndarray, other: relax.Expr) -> relax.Var:
        """Name it as the source did, or after the layer where the source had none."""
        source = self.graph.weights.get(other) if isinstance(other, relax.Var) else None
        if source is None or source.made or self.uses[other] != 1:
            layer_name = self.graph.weights[layer.weight].name.removesuffix(".weight")
            return self.graph.add_weight(f"{layer_name}.bias", shift)
        self.graph.names.discard(source.name)
        return self.graph.add_weight(source.name, shift)

    def _replace(self, var: relax.Var, x: relax.Var) -> None:
        self.replaced[var] = x
        self.uses[x] = self.uses[var]
