"""The walk over a network that is being lowered: what became of each value, in which layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from tvm import relax, te, topi
from tvm.ir import GenericConst
from tvm.tirx import IntImm

from ...ir.model import Model
from ..kernels import elementwise
from ..kernels.isa import InstructionSet
from . import layout
from .values import (
    Dequantized,
    Dynamic,
    Fields,
    LoweredWeights,
    Quantized,
    SixteenBitValue,
    Static,
    Value,
)

# What the names of a quantized activation's scale and zero point begin with.
QUANTIZATION = "levels."
_INJECTIVE, _OPAQUE = 2, 8  # OpPatternKind: kInjective; kOpaque, fused with nothing

Rule = Callable[["Walk", relax.Call], Value | None]


class Walk:
    """One walk; `values` maps each source variable to what became of it.

    `rules` lower the operators that they name; one that gives None leaves the call to TVM.
    `winograd` gives the tile of each weight whose convolution is done by Winograd's filtering.
    """

    def __init__(
        self,
        model: Model,
        isa: InstructionSet,
        rules: dict[str, Rule],
        winograd: Mapping[str, int],
    ) -> None:
        self.model = model
        self.isa = isa
        self.rules = rules
        self.winograd = winograd
        self.could_be_winograd: set[str] = set()
        self.builder = relax.BlockBuilder()
        self.weights = LoweredWeights()
        self.values: dict[relax.Var, Value] = {}
        self.transposes: dict[tuple[relax.Expr, tuple[int, ...]], relax.Expr] = {}

    def lower_value(self, value: relax.Expr) -> Value:
        """Lower the right side of a binding."""
        if isinstance(value, relax.Var):
            return self.values[value]
        if isinstance(value, GenericConst):
            return Static(value.value.numpy(), "constant")
        if isinstance(value, relax.TupleGetItem):
            fields = self.value_of(value.tuple_value)
            if isinstance(fields, Fields):
                return fields.values[value.index]
        if not isinstance(value, relax.Call):
            return Dynamic(self.emit(self.rebuilt(value)))
        rule = self.rules.get(value.op.name)
        lowered = rule(self, value) if rule else None
        return lowered if lowered is not None else self.opaque(value)

    def emit(self, expr: relax.Expr) -> relax.Var:
        """Bind `expr` to a variable, each of the same name.

        TVM names the blocks of a reduction after what it reads, and schedules find blocks by name:
        a number in it would make another task of an equal function in every network.
        """
        value = self.builder.normalize(expr)
        var = relax.DataflowVar("lv", value.ty)
        self.builder.emit_normalized(relax.VarBinding(var, value))
        return var

    def opaque(self, call: relax.Call) -> Value:
        """An operator left to TVM, in the source's layout."""
        args = [self.plain(arg) for arg in call.args]
        return Dynamic(self.emit(relax.Call(call.op, args, call.attrs)))

    def value_of(self, expr: relax.Expr) -> Value:
        """What became of an argument."""
        return self.values[expr] if isinstance(expr, relax.Var) else self.lower_value(expr)

    def plain(self, expr: relax.Expr) -> relax.Expr:
        """`expr` in the source's own layout."""
        if not isinstance(expr, relax.Var | GenericConst):
            return self.rebuilt(expr)
        value = self.value_of(expr)
        if isinstance(value, Fields):
            parts = zip(value.values, expr.ty.fields, strict=True)
            return relax.Tuple([self._channels_first(*part) for part in parts])
        return self._channels_first(value, expr.ty)

    def _channels_first(self, value: Value, ty: relax.TensorType) -> relax.Expr:
        """A value in the source's own layout, there of type `ty`."""
        if isinstance(value, Static):
            return self.stored_weight(value.as_float())
        dynamic = self.as_float(value)
        if not dynamic.channels_last:
            return dynamic.expr
        return self.moved(dynamic.expr, shape_of_type(ty))

    def stored_weight(self, value: Static) -> relax.Expr:
        """Give a weight as an argument; a scalar is written into the code."""
        if value.array.ndim == 0:
            return relax.const(value.array, str(value.array.dtype))
        return self.weights.var(value.name, value.array)

    def rebuilt(self, expr: relax.Expr) -> relax.Expr:
        """A tuple, tuple item, shape or attribute value around values that were lowered."""
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.plain(field) for field in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self.plain(expr.tuple_value), expr.index)
        return expr

    def as_float(self, value: Value) -> Dynamic:
        """A value as floats, dequantized where need be."""
        if isinstance(value, Dequantized):
            return Dynamic(self.dequantize(value.source), value.channels_last)
        if isinstance(value, Quantized):
            return Dynamic(self.quantized_values(value), value.channels_last)
        if isinstance(value, SixteenBitValue):
            own = relax.op.astype(self.dequantize(value), value.dtype)
            return Dynamic(self.emit(own), value.channels_last)
        if isinstance(value, Static):
            return Dynamic(self.stored_weight(value.as_float()))
        if isinstance(value, Fields):
            raise TypeError("a tuple is no tensor; its fields are")
        return value

    def dequantize(self, source: Quantized | SixteenBitValue) -> relax.Var:
        """What a low-precision activation stands for, computed."""
        if isinstance(source, SixteenBitValue):
            return self.kernel(elementwise.widened, source.expr)
        scale = source.scale
        if isinstance(scale, float):
            scale = self.weights.var(f"{QUANTIZATION}scale", np.array(scale, np.float32))
        return self.kernel(elementwise.dequantize, source.expr, scale, self.zero_point(source))

    def zero_point(self, value: Quantized) -> relax.Var:
        """The quantized value that stands for 0, as an argument."""
        stored = np.array(value.zero_point, self.isa.int8.activation_dtype)
        return self.weights.var(f"{QUANTIZATION}zero_point", stored)

    def stored(
        self, value: Quantized | SixteenBitValue, shape: tuple[int, ...], channels_last: bool
    ) -> relax.Expr:
        """What is stored of an activation of low precision and of this shape, in a layout."""
        if value.channels_last == channels_last:
            return value.expr
        return self.as_image(value.expr) if channels_last else self.moved(value.expr, shape)

    def quantized_values(self, value: Quantized) -> relax.Expr:
        """Give the quantized values as the network has them."""
        if not value.offset:
            return value.expr
        settings = {"offset": -value.offset, "dtype": value.dtype}
        return self.kernel(elementwise.shift_levels, value.expr, **settings)

    def channels_last(self, expr: relax.Expr) -> relax.Expr:
        """An activation as an image, channels last."""
        dynamic = self.as_float(self.value_of(expr))
        return dynamic.expr if dynamic.channels_last else self.as_image(dynamic.expr)

    def as_image(self, expr: relax.Expr) -> relax.Expr:
        """(n, c, *places) as the image that is kept of it, channels last."""
        shape = shape_of(expr)
        last = self.transposed(expr, layout.channels_last(len(shape)))
        return self.reshaped(last, layout.image_shape(shape))

    def moved(self, image: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
        """The image that is kept of a value of this shape, channels first again."""
        whole = self.reshaped(image, layout.whole_shape(shape))
        return self.transposed(whole, layout.channels_first(len(shape)))

    def reshaped(self, expr: relax.Expr, shape: Sequence[int]) -> relax.Expr:
        """The same memory in another shape."""
        if tuple(shape) == shape_of(expr):
            return expr
        return self.emit(relax.op.reshape(expr, list(shape)))

    def transposed(self, expr: relax.Expr, axes: tuple[int, ...]) -> relax.Expr:
        """Transpose once, as a reshape (which costs nothing) where only unit axes move."""
        if (expr, axes) not in self.transposes:
            shape = shape_of(expr)
            moved = [axis for axis in axes if shape[axis] != 1]
            if moved == sorted(moved):
                new = relax.op.reshape(expr, [shape[axis] for axis in axes])
            else:
                new = relax.op.permute_dims(expr, axes)
            self.transposes[expr, axes] = self.emit(new)
        return self.transposes[expr, axes]

    def kernel(
        self, function: Callable[..., te.Tensor], *args: relax.Expr, **settings
    ) -> relax.Var:
        """Emit a call of one of our kernels."""
        bound = partial(function, **settings)
        return self.emit(self.builder.call_te(bound, *args, primfunc_name_hint=function.__name__))

    def around(
        self, expr: relax.Expr, before: Sequence[int], after: Sequence[int], value: float
    ) -> relax.Var:
        """Values with others around them.

        TVM takes padding at the ends alone for elementwise, and would fuse it into the tiles of a
        kernel that never gets there.
        """
        padded = partial(topi.nn.pad, pad_before=before, pad_after=after, pad_value=value)
        attributes = {"op_pattern": _INJECTIVE}
        return self.emit(
            self.builder.call_te(padded, expr, primfunc_name_hint="pad", primfunc_attrs=attributes)
        )

    def apart(self, expr: relax.Expr) -> relax.Var:
        """The same values, not fused with what made them nor with what reads them."""
        opaque = {"op_pattern": _OPAQUE}
        return self.emit(
            self.builder.call_te(
                elementwise.copied, expr, primfunc_name_hint="copied", primfunc_attrs=opaque
            )
        )


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """The fixed shape of a tensor expression."""
    return shape_of_type(expr.ty)


def shape_of_type(ty: relax.TensorType) -> tuple[int, ...]:
    """The fixed shape of a tensor of that type."""
    values = ty.shape.values
    assert all(isinstance(value, IntImm) for value in values)
    return tuple(int(value) for value in values)
