"""A network that came quantized, in the contract's form: docs/architecture.md, "a quantized layer".

Before  conv2d(dequantize(q, s, z), dequantize(w, sw, zw))   q int8 or uint8, w int8 or uint8
After   conv2d(dequantize(q', s, z'), dequantize(w', NAME_scale, 0))   q' uint8, w' int8 (weights)
Before  dequantize(max_pool2d(q), s, z)
After   dequantize(quantize(max_pool2d(dequantize(q, s, z)), s, z), s, z)

All of it is exact: an int8 level and the uint8 one 128 above stand for the same real, and so does
a weight's level less its zero point. What is no layer's weight (a bias, a constant to be added)
becomes floats. Equal quantizations of one tensor are one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from ..errors import UnsupportedOperator
from ..ir.edit import EditableGraph, op_name, reads, substitute, with_args
from .constants import digest
from .levels import Levels

# These only choose or move values, so they may as well be done on the reals.
_CHOOSES = ("nn.max_pool2d",)
_MOVES = ("reshape", "flatten", "permute_dims", "squeeze", "expand_dims", "strided_slice")
_SUFFIX = "_quantized"  # what ONNX Runtime appends to a weight's name


@dataclass(frozen=True)
class _Stored:
    """Levels that are known ahead, and the source's name for them."""

    array: np.ndarray
    name: str


def settle(graph: EditableGraph, names: Mapping[bytes, str]) -> None:
    """Rewrite every quantize and dequantize; `names` gives the source's names by `digest`."""
    if not any(op_name(value) in ("quantize", "dequantize") for _, value in graph.bindings):
        return
    walk = _Walk(graph, names)
    for var, value in graph.bindings:
        walk.visit(var, substitute(value, walk.became))
    graph.bindings = walk.bindings
    graph.output = substitute(graph.output, walk.became)


class _Walk:
    """One walk over the bindings: which of them are levels, and what they became.

    `shifted` are int8 levels that became uint8 ones; all that read them are dequantizations.
    """

    def __init__(self, graph: EditableGraph, names: Mapping[bytes, str]) -> None:
        self.graph, self.names = graph, dict(names)
        self.bindings: list[tuple[relax.Var, relax.Expr]] = []
        self.became: dict[relax.Var, relax.Expr] = {}
        self.levels: dict[relax.Expr, Levels] = {}
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
            self._quantize(var, value.args[0], Levels.of(value))
        elif name == "dequantize":
            self._dequantize(var, value.args[0], Levels.of(value))
        elif not self._moved(var, name, value):
            self.bindings.append((var, value))

    def _moved(self, var: relax.Var, name: str, value: relax.Expr) -> bool:
        """Do on the reals what only moves levels, where it does."""
        levels = self.levels.get(value.args[0]) if name in (*_MOVES, *_CHOOSES) else None
        if levels is None or not _moves(name, levels):
            return False
        reals = self._once(levels.dequantize, value.args[0], levels, "dequantize")
        moved = self._emit(with_args(value, [reals, *value.args[1:]]))
        self._activation(var, moved, levels, value.args[0] in self.shifted)
        return True

    def _quantize(self, var: relax.Var, x: relax.Expr, levels: Levels) -> None:
        source = self._known_reals(x)
        if source is not None:
            array = levels.rounded(source.array)
            self.became[var] = relax.const(array, levels.dtype)
            self.names[digest(array)] = source.name
            return
        shifts = levels.dtype == "int8" and self._only_dequantized(var, levels)
        self._activation(var, x, levels.unsigned() if shifts else levels, shifts)

    def _activation(self, var: relax.Var, x: relax.Expr, levels: Levels, shifted: bool) -> None:
        made = self._once(levels.quantize, x, levels, "quantize")
        self.became[var], self.levels[made] = made, levels
        if shifted:
            self.shifted.add(made)

    def _dequantize(self, var: relax.Var, x: relax.Expr, levels: Levels) -> None:
        if isinstance(x, GenericConst):
            self._constant(var, self._named(x), levels)
            return
        levels = levels.unsigned() if x in self.shifted else levels
        self.became[var] = self._once(levels.dequantize, x, levels, "dequantize")

    def _constant(self, var: relax.Var, stored: _Stored, levels: Levels) -> None:
        axis = self._output_axis(var)
        if axis is None or levels.dtype == "int32":
            reals = levels.reals(stored.array).astype(np.float32)
            made = self._weight(stored, reals) if reals.ndim else relax.const(reals)
            self.became[var], self.readers[made] = made, self.readers.get(var, [])
            return
        key = ("weight", digest(stored.array), levels.key, axis)
        if key not in self.known:
            self.known[key] = self._integer_weight(stored, levels, axis)
        self.became[var] = self.known[key]

    def _integer_weight(self, stored: _Stored, levels: Levels, axis: int) -> relax.Expr:
        """The weight as int8 around zero, with a scale for each output channel."""
        array = stored.array.astype(np.int32)
        array = array - levels.along(levels.zero_point.astype(np.int32), array.ndim)
        limits = np.iinfo(np.int8)
        if array.min() < limits.min or array.max() > limits.max:
            raise UnsupportedOperator(
                f"the levels of {stored.name} less their zero points go from {array.min()} to "
                f"{array.max()}, which int8 does not hold; quantize weights symmetrically "
                "(onnxruntime: weight_type=QuantType.QInt8)"
            )
        if levels.scale.ndim == 0:
            scale = np.full(array.shape[axis], levels.scale)
        else:
            scale, axis = levels.scale, levels.axis
        weight = self._weight(stored, array.astype(np.int8))
        scales = self.graph.add_weight(f"{self.graph.weights[weight].name}_scale", scale)
        zero = relax.const(0, "int8")
        return self._emit(relax.op.dequantize(weight, scales, zero, axis))

    def _weight(self, stored: _Stored, array: np.ndarray) -> relax.Var:
        plain = stored.name.removesuffix(_SUFFIX)
        return self.graph.add_weight(plain, array, dtype=str(array.dtype))

    def _once(self, make: Any, x: relax.Expr, levels: Levels, kind: str) -> relax.Expr:
        key = (kind, x, levels.key)
        if key not in self.known:
            self.known[key] = self._emit(make(x))
        return self.known[key]

    def _emit(self, value: relax.Expr) -> relax.Var:
        normal = relax.BlockBuilder().normalize(value)
        var = relax.Var("lv", normal.ty)
        self.bindings.append((var, normal))
        return var

    def _known_reals(self, x: relax.Expr) -> _Stored | None:
        """A weight or a constant that is quantized, which can be done ahead."""
        if isinstance(x, GenericConst):
            return self._named(x)
        weight = self.graph.weights.get(x)
        if weight is None:
            return None
        if len(self.readers[x]) == 1:
            self.graph.names.discard(weight.name)
        return _Stored(weight.value, weight.name)

    def _named(self, x: GenericConst) -> _Stored:
        array = x.value.numpy()
        return _Stored(array, self.names.get(digest(array), "constant"))

    def _only_dequantized(self, var: relax.Var, levels: Levels) -> bool:
        """Whether nobody reads the levels as numbers."""
        found = self.readers.get(var, [])
        return var not in self.returned and all(
            op_name(value) == "dequantize"
            or (_moves(op_name(value), levels) and self._only_dequantized(reader, levels))
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
        if name not in ("nn.conv2d", "matmul") or list(value.args).count(var) != 1:
            return None
        if not value.args[1].same_as(var) or (name == "matmul" and var.ty.ndim != 2):
            return None
        return 0 if name == "nn.conv2d" else 1


def _moves(name: str, levels: Levels) -> bool:
    """Whether an operator leaves each level what it stands for; channels must stay in place."""
    return name in _CHOOSES or (name in _MOVES and levels.scale.ndim == 0)
