"""An imported quantized network in the IR's form: docs/architecture.md, "a quantized layer".

Before  conv2d(dequantize(q, s, z), dequantize(w, sw, zw))   q int8 or uint8, w int8 or uint8
After   conv2d(dequantize(q', s, z'), dequantize(w', NAME_scale, 0))   q' uint8, w' int8 (weights)
Before  dequantize(max_pool2d(q), s, z)
After   dequantize(quantize(max_pool2d(dequantize(q, s, z)), s, z), s, z)

All of it is exact: an int8 value and the uint8 one 128 above dequantize to the same number, and so
does a weight's integer minus its zero point. What is not a layer's weight (a bias, a constant to be
added) becomes float32. Equal quantizations of one tensor are merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from ..errors import UnsupportedOperator
from ..ir.convolutions import is_convolution, output_axis
from ..ir.edit import EditableGraph, op_name, reads, substitute, with_args
from .constants import digest
from .quantization import QuantParams

# These only select or move values, so they may as well work on the dequantized ones.
_SELECTS = ("nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d")
_MOVES = ("reshape", "flatten", "permute_dims", "squeeze", "expand_dims", "strided_slice")
_SUFFIX = "_quantized"  # what ONNX Runtime appends to a weight's name


@dataclass(frozen=True)
class _Stored:
    """An array that is known at import, and the source's name for it."""

    array: np.ndarray
    name: str


def normalize_qdq(graph: EditableGraph, names: Mapping[bytes, str]) -> None:
    """Rewrite every quantize and dequantize; `names` gives the source's names by `digest`."""
    if not any(op_name(value) in ("quantize", "dequantize") for _, value in graph.bindings):
        return
    walk = _Walk(graph, names)
    for var, value in graph.bindings:
        walk.visit(var, substitute(value, walk.replacements))
    graph.bindings = walk.bindings
    graph.output = substitute(graph.output, walk.replacements)


class _Walk:
    """One walk over the bindings: which of them are quantized, and what replaces each.

    `shifted` are int8 tensors that replacements uint8; all that read them are dequantizations.
    """

    def __init__(self, graph: EditableGraph, names: Mapping[bytes, str]) -> None:
        self.graph, self.names = graph, dict(names)
        self.bindings: list[tuple[relax.Var, relax.Expr]] = []
        self.replacements: dict[relax.Var, relax.Expr] = {}
        self.params: dict[relax.Expr, QuantParams] = {}
        self.shifted: set[relax.Expr] = set()
        self.known: dict[Any, relax.Expr] = {}
        self.readers: dict[relax.Expr, list[tuple[relax.Var, relax.Expr]]] = {}
        for var, value in graph.bindings:
            for read in set(reads(value)):
                self.readers.setdefault(read, []).append((var, value))
        self.returned = set(reads(graph.output))

    def visit(self, var: relax.Var, value: relax.Expr) -> None:
        name = op_name(value)
        if name == "quantize":
            self._quantize(var, value.args[0], QuantParams.from_call(value))
        elif name == "dequantize":
            self._dequantize(var, value.args[0], QuantParams.from_call(value))
        elif not self._rewrite_move(var, name, value):
            self.bindings.append((var, value))

    def _rewrite_move(self, var: relax.Var, name: str, value: relax.Expr) -> bool:
        """Where an operator only moves values, let it move the dequantized ones."""
        params = self.params.get(value.args[0]) if name in (*_MOVES, *_SELECTS) else None
        if params is None or not _keeps_params(name, params):
            return False
        x = self._emit_once(params.dequantize, value.args[0], params, "dequantize")
        moved = self._emit(with_args(value, [x, *value.args[1:]]))
        self._activation(var, moved, params, value.args[0] in self.shifted)
        return True

    def _quantize(self, var: relax.Var, x: relax.Expr, params: QuantParams) -> None:
        source = self._known_array(x)
        if source is not None:
            array = params.quantize_array(source.array)
            self.replacements[var] = relax.const(array, params.dtype)
            self.names[digest(array)] = source.name
            return
        shifts = params.dtype == "int8" and self._is_only_dequantized(var, params)
        self._activation(var, x, params.to_uint8() if shifts else params, shifts)

    def _activation(
        self, var: relax.Var, x: relax.Expr, params: QuantParams, shifted: bool
    ) -> None:
        made = self._emit_once(params.quantize, x, params, "quantize")
        self.replacements[var], self.params[made] = made, params
        if shifted:
            self.shifted.add(made)

    def _dequantize(self, var: relax.Var, x: relax.Expr, params: QuantParams) -> None:
        if isinstance(x, GenericConst):
            self._constant(var, self._stored_array(x), params)
            return
        params = params.to_uint8() if x in self.shifted else params
        self.replacements[var] = self._emit_once(params.dequantize, x, params, "dequantize")

    def _constant(self, var: relax.Var, stored: _Stored, params: QuantParams) -> None:
        axis = self._output_axis(var)
        if axis is None or params.dtype == "int32":
            value = params.dequantize_array(stored.array).astype(np.float32)
            made = self._weight(stored, value) if value.ndim else relax.const(value)
            self.replacements[var], self.readers[made] = made, self.readers.get(var, [])
            return
        key = ("weight", digest(stored.array), params.key, axis)
        if key not in self.known:
            self.known[key] = self._integer_weight(stored, params, axis)
        self.replacements[var] = self.known[key]

    def _integer_weight(self, stored: _Stored, params: QuantParams, axis: int) -> relax.Expr:
        """The weight as symmetric int8, with one scale per output channel."""
        array = stored.array.astype(np.int32)
        array = array - params.broadcast(params.zero_point.astype(np.int32), array.ndim)
        limits = np.iinfo(np.int8)
        if array.min() < limits.min or array.max() > limits.max:
            raise UnsupportedOperator(
                f"the quantized values of {stored.name} minus their zero points range from "
                f"{array.min()} to {array.max()}, which int8 does not hold; quantize weights "
                "symmetrically "
                "(onnxruntime: weight_type=QuantType.QInt8)"
            )
        if params.scale.ndim == 0:
            scale = np.full(array.shape[axis], params.scale)
        else:
            scale, axis = params.scale, params.axis
        weight = self._weight(stored, array.astype(np.int8))
        scales = self.graph.add_weight(f"{self.graph.weights[weight].name}_scale", scale)
        zero = relax.const(0, "int8")
        return self._emit(relax.op.dequantize(weight, scales, zero, axis))

    def _weight(self, stored: _Stored, array: np.ndarray) -> relax.Var:
        plain = stored.name.removesuffix(_SUFFIX)
        return self.graph.add_weight(plain, array, dtype=str(array.dtype))

    def _emit_once(self, make: Any, x: relax.Expr, params: QuantParams, kind: str) -> relax.Expr:
        key = (kind, x, params.key)
        if key not in self.known:
            self.known[key] = self._emit(make(x))
        return self.known[key]

    def _emit(self, value: relax.Expr) -> relax.Var:
        normal = relax.BlockBuilder().normalize(value)
        var = relax.Var("lv", normal.ty)
        self.bindings.append((var, normal))
        return var

    def _known_array(self, x: relax.Expr) -> _Stored | None:
        """A weight or a constant that the network quantizes, which is done at import instead."""
        if isinstance(x, GenericConst):
            return self._stored_array(x)
        weight = self.graph.weights.get(x)
        if weight is None:
            return None
        if len(self.readers[x]) == 1:
            self.graph.names.discard(weight.name)
        return _Stored(weight.value, weight.name)

    def _stored_array(self, x: GenericConst) -> _Stored:
        array = x.value.numpy()
        return _Stored(array, self.names.get(digest(array), "constant"))

    def _is_only_dequantized(self, var: relax.Var, params: QuantParams) -> bool:
        """Whether nothing reads the integers themselves."""
        found = self.readers.get(var, [])
        return var not in self.returned and all(
            op_name(value) == "dequantize"
            or (_keeps_params(op_name(value), params) and self._is_only_dequantized(reader, params))
            for reader, value in found
        )

    def _output_axis(self, var: relax.Var) -> int | None:
        """The axis of output channels, where every reader is a layer that has this as weight."""
        axes = {self._axis_in(*reader, var) for reader in self.readers.get(var, [])}
        return axes.pop() if len(axes) == 1 and var not in self.returned else None

    def _axis_in(self, reader: relax.Var, value: relax.Expr, var: relax.Var) -> int | None:
        name = op_name(value)
        if name == "permute_dims" and var.ty.ndim == 2:
            axis = self._output_axis(reader)
            return None if axis is None else 1 - axis
        convolves = is_convolution(value)
        if not (convolves or name == "matmul") or list(value.args).count(var) != 1:
            return None
        if not value.args[1].same_as(var) or (name == "matmul" and var.ty.ndim != 2):
            return None
        return output_axis(value) if convolves else 1


def _keeps_params(name: str, params: QuantParams) -> bool:
    """Whether scale and zero point still hold after an operator; channels must stay in place."""
    return name in _SELECTS or (name in _MOVES and params.scale.ndim == 0)
