"""Forms of a piece that take or give 8-bit levels where it takes or gives floats.

Before  f(crossing float32) = … dequantize(quantize(crossing, s, z), s, z) …
After   f(crossing uint8)   = … dequantize(crossing, s, z) …

A piece that gives levels quantizes its output as the one behind it would: so what two pieces
compute one after the other is the same, whichever crosses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from ..graph import Graph, is_call, shape_of
from ..model import Model
from ..rewrite import Body, rebuild
from .segments import CROSSING

_LOWEST = {"uint8": 0, "int8": -128}


@dataclass(frozen=True, kw_only=True)
class Levels:
    """How 8-bit levels stand for floats: (level − zero_point) · scale; `scale` is a float32."""

    scale: float
    zero_point: int
    dtype: str

    def of_type(self, dtype: str) -> Levels:
        """The same levels in the other 8-bit type: all of them 128 more, or less."""
        offset = _LOWEST[dtype] - _LOWEST[self.dtype]
        return replace(self, zero_point=self.zero_point + offset, dtype=dtype)

    @property
    def arguments(self) -> tuple[relax.Constant, relax.Constant]:
        """Scale and zero point as quantize and dequantize take them."""
        zero = np.array(self.zero_point, self.dtype)
        return relax.const(np.float32(self.scale), "float32"), relax.const(zero, self.dtype)


@dataclass(frozen=True, kw_only=True)
class Form:
    """A piece that takes and gives what it says: levels, or what the piece itself does (None)."""

    model: Model
    takes: Levels | None = None
    gives: Levels | None = None


def forms(piece: Model, gives: Iterable[Levels], dtype: str) -> tuple[Form, ...]:
    """Return every form of a piece but itself: its levels taken or not, each of `gives` or none.

    Levels are of type `dtype`, that of the board's integer kernels.
    """
    taken = levels_taken(piece)
    takes = (None,) if taken is None else (None, taken.of_type(dtype))
    given = (None, *dict.fromkeys(levels.of_type(dtype) for levels in gives))
    return tuple(
        Form(model=_form(piece, one, other), takes=one, gives=other)
        for one, other in product(takes, given)
        if one is not None or other is not None
    )


def _form(piece: Model, takes: Levels | None, gives: Levels | None) -> Model:
    taking = piece if takes is None else take_levels(piece, takes.dtype)
    return taking if gives is None else give_levels(taking, gives)


def levels_taken(piece: Model) -> Levels | None:
    """As what a piece reads all that crosses to it; None where it does not, or not always alike."""
    found = _head(piece)
    return None if found is None else _levels_of(found[1])


def _head(piece: Model) -> tuple[relax.Var, relax.Call] | None:
    """The one binding that reads what crosses, where it quantizes it and is then dequantized."""
    if [spec.name for spec in piece.inputs] != [CROSSING]:
        return None
    graph, crossing = Graph.of(piece), piece.function.params[0]
    readers = graph.consumers.get(crossing, ())
    if len(readers) != 1 or crossing in graph.outputs():
        return None
    (var,) = readers
    value = graph.producers[var]
    if not is_call(value, "relax.quantize") or not value.args[0].same_as(crossing):
        return None
    levels = _levels_of(value)
    reads = [graph.producers[reader] for reader in graph.consumers.get(var, ())]
    alike = all(is_call(read, "relax.dequantize") and _levels_of(read) == levels for read in reads)
    return (var, value) if levels is not None and alike and var not in graph.outputs() else None


def _levels_of(call: relax.Call) -> Levels | None:
    """The levels of a quantize or dequantize that has one scale, known when it is compiled."""
    _, scale, zero = call.args
    if not (isinstance(scale, GenericConst) and isinstance(zero, GenericConst)):
        return None
    dtype, sizes = str(zero.ty.dtype), {shape_of(scale), shape_of(zero)}
    if sizes != {()} or dtype not in _LOWEST:
        return None
    if is_call(call, "relax.quantize") and str(call.attrs.out_dtype) != dtype:
        return None
    value, point = float(scale.value.numpy()), int(zero.value.numpy())
    return Levels(scale=value, zero_point=point, dtype=dtype)


def take_levels(piece: Model, dtype: str) -> Model:
    """Return the piece that takes its levels (`levels_taken`, not None), in an 8-bit type."""
    found, levels = _head(piece), levels_taken(piece)
    assert found is not None, "the piece quantizes what it takes"
    assert levels is not None, "the piece quantizes what it takes by one scale"
    quantized, levels = found[0], levels.of_type(dtype)
    given = relax.Var(CROSSING, relax.TensorType(piece.inputs[0].shape, dtype))

    def rewrite(body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if var.same_as(quantized):
            body.bind(var, given)
            return None
        if is_call(value, "relax.dequantize") and value.args[0].same_as(quantized):
            return relax.op.dequantize(given, *levels.arguments)
        return body.of(value)

    made = rebuild(piece, piece.weights, rewrite, inputs=[given])
    return replace(made, inputs=(replace(piece.inputs[0], dtype=dtype),))


def give_levels(piece: Model, levels: Levels) -> Model:
    """Return the piece that gives levels of its one output, which is floats."""
    result = Graph.of(piece).result
    assert [spec.name for spec in piece.outputs] == [CROSSING], "another piece follows"

    def rewrite(body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if not var.same_as(result):
            return body.of(value)
        floats = body.emit(body.of(value), f"{var.name}_float")
        return relax.op.quantize(floats, *levels.arguments, out_dtype=levels.dtype)

    made = rebuild(piece, piece.weights, rewrite)
    return replace(made, outputs=(replace(piece.outputs[0], dtype=levels.dtype),))
