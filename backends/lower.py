"""From a model to what a board runs: channels last, layers as packed kernels, weights packed.

Walks the network once. Each value is kept channels last where it came from a convolution or a
pooling and nobody asked otherwise, so no transposes stand between neighbours. Convolutions and
dense layers become our kernels; a layer that reads `dequantize(...)` of 8-bit activations and
weights becomes an integer kernel; every other operator is left to TVM.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from tvm import IRModule, relax, te
from tvm.ir import GenericConst
from tvm.tirx import IntImm

from ..frontend.model import Model
from . import operators
from .isa import InstructionSet
from .kernels import compute, pack
from .values import Dequantized, Dynamic, LoweredWeights, Quantized, Static, Value


@dataclass(frozen=True)
class Lowered:
    """A module whose `main` takes the inputs, then every packed weight in order."""

    module: IRModule
    weights: dict[str, np.ndarray]
    input_count: int


def lower(model: Model, isa: InstructionSet) -> Lowered:
    """Lower `model` for an instruction set; `model` is left as it is."""
    return _Lowering(model, isa).run()


class _Lowering:
    """One walk over the network; `values` maps each source variable to what became of it."""

    def __init__(self, model: Model, isa: InstructionSet) -> None:
        self.model = model
        self.isa = isa
        self.builder = relax.BlockBuilder()
        self.weights = LoweredWeights()
        self.values: dict[relax.Var, Value] = {}
        self.transposes: dict[tuple[relax.Expr, tuple[int, ...]], relax.Expr] = {}

    def run(self) -> Lowered:
        function = self.model.function
        inputs = [relax.Var(v.name, v.ty) for v in function.params[: len(self.model.inputs)]]
        for old, new in zip(function.params, inputs, strict=False):
            self.values[old] = Dynamic(new)
        for name, var in self.model.weight_vars().items():
            self.values[var] = Static(self.model.weights[name], name)
        with self.builder.function("main", attrs={"num_input": len(inputs)}):
            with self.builder.dataflow():
                for block in function.body.blocks:
                    for binding in block.bindings:
                        self.values[binding.var] = self.lower_value(binding.value)
                result = self.builder.emit_output(self.plain(function.body.body))
            self.builder.emit_func_output(result, params=[*inputs, *self.weights.vars])
        return Lowered(self.builder.get(), self.weights.arrays, len(inputs))

    def lower_value(self, value: relax.Expr) -> Value:
        if isinstance(value, relax.Var):
            return self.values[value]
        if isinstance(value, GenericConst):
            return Static(value.value.numpy(), "constant")
        if not isinstance(value, relax.Call):
            return Dynamic(self.builder.emit(self.rebuilt(value)))
        handler = _HANDLERS.get(value.op.name)
        lowered = handler(self, value) if handler else None
        return lowered if lowered is not None else self.opaque(value)

    # -- reading arguments ------------------------------------------------------------------

    def value_of(self, expr: relax.Expr) -> Value:
        return self.values[expr] if isinstance(expr, relax.Var) else self.lower_value(expr)

    def plain(self, expr: relax.Expr) -> relax.Expr:
        """`expr` in the source's own layout."""
        if not isinstance(expr, relax.Var | GenericConst):
            return self.rebuilt(expr)
        value = self.value_of(expr)
        if isinstance(value, Static):
            return self.stored_weight(value.as_float())
        dynamic = self.real(value)
        return (
            self.transposed(dynamic.expr, (0, 3, 1, 2)) if dynamic.channels_last else dynamic.expr
        )

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

    def real(self, value: Value) -> Dynamic:
        """A value as floats, dequantized where need be."""
        if isinstance(value, Dequantized):
            source = value.source
            return Dynamic(
                self.kernel(
                    compute.dequantize,
                    source.expr,
                    scale=source.scale,
                    zero_point=source.zero_point,
                ),
                source.channels_last,
            )
        if isinstance(value, Quantized):
            return Dynamic(self.levels(value), value.channels_last)
        if isinstance(value, Static):
            return Dynamic(self.stored_weight(value.as_float()))
        return value

    def levels(self, value: Quantized) -> relax.Expr:
        """Give the 8-bit levels as the network has them."""
        if not value.offset:
            return value.expr
        settings = {"offset": -value.offset, "dtype": value.dtype}
        return self.kernel(compute.shift_levels, value.expr, **settings)

    def channels_last(self, expr: relax.Expr) -> relax.Expr:
        """A 4-D activation as NHWC."""
        dynamic = self.real(self.value_of(expr))
        return (
            dynamic.expr if dynamic.channels_last else self.transposed(dynamic.expr, (0, 2, 3, 1))
        )

    def transposed(self, expr: relax.Expr, axes: tuple[int, ...]) -> relax.Expr:
        """Transpose once, as a reshape (which costs nothing) where only unit axes move."""
        if (expr, axes) not in self.transposes:
            shape = shape_of(expr)
            moved = [axis for axis in axes if shape[axis] != 1]
            if moved == sorted(moved):
                new = relax.op.reshape(expr, [shape[axis] for axis in axes])
            else:
                new = relax.op.permute_dims(expr, axes)
            self.transposes[expr, axes] = self.builder.emit(new)
        return self.transposes[expr, axes]

    def kernel(
        self, function: Callable[..., te.Tensor], *args: relax.Expr, **settings
    ) -> relax.Var:
        """Emit a call of one of our kernels."""
        bound = partial(function, **settings)
        return self.builder.emit_te(bound, *args, primfunc_name_hint=function.__name__)

    # -- operators ---------------------------------------------------------------------------

    def opaque(self, call: relax.Call) -> Value:
        """An operator left to TVM, in the source's layout."""
        args = [self.plain(arg) for arg in call.args]
        return Dynamic(self.builder.emit(relax.Call(call.op, args, call.attrs)))

    def elementwise(self, call: relax.Call) -> Value | None:
        """One activation, any layout: the layout stays."""
        value = self.value_of(call.args[0])
        if isinstance(value, Static):
            return None
        dynamic = self.real(value)
        rest = [self.rebuilt(arg) for arg in call.args[1:]]
        new = relax.Call(call.op, [dynamic.expr, *rest], call.attrs)
        return Dynamic(self.builder.emit(new), dynamic.channels_last)

    def broadcasting(self, call: relax.Call) -> Value | None:
        """Several operands: channels last where one of them is, and the others can follow."""
        values = [self.value_of(arg) for arg in call.args]
        if not any(getattr(value, "channels_last", False) for value in values):
            return None
        if any(
            v.array.ndim > 4 if isinstance(v, Static) else len(shape_of(v.expr)) != 4
            for v in values
        ):
            return None
        operands = [self.follow(arg, v) for arg, v in zip(call.args, values, strict=True)]
        return Dynamic(self.builder.emit(relax.Call(call.op, operands, call.attrs)), True)

    def follow(self, expr: relax.Expr, value: Value) -> relax.Expr:
        """An operand of a channels-last operator; a weight is transposed ahead."""
        if not isinstance(value, Static):
            return self.channels_last(expr)
        array = value.as_float().array
        if array.size == 1:
            return relax.const(array.reshape(()), str(array.dtype))
        array = array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(0, 2, 3, 1)
        if array.shape[:3] == (1, 1, 1):
            array = array.reshape(-1)
        return self.weights.var(value.name, array)

    def static(self, call: relax.Call) -> Value | None:
        """Permute or reshape of a weight, evaluated ahead."""
        value = self.value_of(call.args[0])
        if isinstance(value, Dynamic) and call.op.name == "relax.reshape":
            return self.reshape(call, value)
        if not isinstance(value, Static):
            return None
        if call.op.name == "relax.permute_dims":
            axes = call.attrs.axes
            order = None if axes is None else [int(axis) for axis in axes]
            return value.transposed(order)
        return Static(value.as_float().array.reshape(shape_of(call)), value.name)

    def reshape(self, call: relax.Call, value: Dynamic) -> Value | None:
        """(n, c, 1, 1) → (n, c) is the same memory in both layouts."""
        shape = shape_of(value.expr)
        if not value.channels_last or shape[1:3] != (1, 1):
            return None
        return Dynamic(self.builder.emit(relax.op.reshape(value.expr, shape_of(call))))

    def pool(self, call: relax.Call) -> Value:
        attrs = operators.channels_last_pool(call)
        x = self.channels_last(call.args[0])
        return Dynamic(self.builder.emit(attrs(x)), True)

    def reduction(self, call: relax.Call) -> Value | None:
        """mean, sum, max, min over axes, kept channels last."""
        value = self.value_of(call.args[0])
        if not getattr(value, "channels_last", False) or call.attrs.axis is None:
            return None
        axes = sorted(int(axis) % 4 for axis in call.attrs.axis)
        keep = bool(call.attrs.keepdims)
        if not keep and axes != [2, 3]:
            return None
        moved = [(0, 3, 1, 2)[axis] for axis in axes]
        make = operators.REDUCTIONS[call.op.name]
        x = self.channels_last(call.args[0])
        return Dynamic(self.builder.emit(make(x, moved, keep)), keep)

    def concat(self, call: relax.Call) -> Value | None:
        fields = operators.tuple_fields(call.args[0], self.model.function)
        if fields is None or call.attrs.axis is None:
            return None
        values = [self.value_of(field) for field in fields]
        if not all(getattr(value, "channels_last", False) for value in values):
            return None
        axis = (0, 3, 1, 2)[int(call.attrs.axis) % 4]
        parts = [self.channels_last(field) for field in fields]
        return Dynamic(self.builder.emit(relax.op.concat(parts, axis)), True)

    # -- 8-bit values ------------------------------------------------------------------------

    def quantize(self, call: relax.Call) -> Value | None:
        scale, zero = (self.value_of(arg) for arg in call.args[1:3])
        if not (isinstance(scale, Static) and isinstance(zero, Static)):
            return None
        if scale.array.size != 1 or str(call.attrs.out_dtype) not in _LOWEST:
            return None
        source = self.real(self.value_of(call.args[0]))
        dtype, stored = str(call.attrs.out_dtype), self.isa.int8.activation_dtype
        offset = _LOWEST[stored] - _LOWEST[dtype]
        expr = self.kernel(
            compute.quantize,
            source.expr,
            scale=float(scale.array.item()),
            zero_point=int(zero.array.item()) + offset,
            dtype=stored,
        )
        return Quantized(
            expr,
            source.channels_last,
            scale=float(scale.array.item()),
            zero_point=int(zero.array.item()) + offset,
            dtype=dtype,
            offset=offset,
        )

    def dequantize(self, call: relax.Call) -> Value | None:
        value = self.value_of(call.args[0])
        if isinstance(value, Quantized):
            return Dequantized(value)
        scale, zero = (self.value_of(arg) for arg in call.args[1:3])
        if not (
            isinstance(value, Static) and isinstance(scale, Static) and isinstance(zero, Static)
        ):
            return None
        if value.array.dtype != np.int8 or zero.array.any():
            return None
        axis = int(call.attrs.axis) % value.array.ndim
        return Static(value.array, value.name, scale=scale.array.reshape(-1), scale_axis=axis)

    def conv2d(self, call: relax.Call) -> Value | None:
        weight = self.value_of(call.args[1])
        attrs = call.attrs
        if not isinstance(weight, Static) or str(attrs.data_layout) != "NCHW":
            return None
        groups = int(attrs.groups)
        out, into, _, _ = weight.array.shape
        if groups == 1:
            return self.layer(call.args[0], weight, conv_window(attrs))
        if into == 1 and groups == out:
            x = self.channels_last(call.args[0])
            filters = pack.pack_depthwise(weight.as_float().array)
            packed = self.weights.var(weight.name, filters)
            window = conv_window(attrs)
            return Dynamic(self.kernel(compute.depthwise_conv2d, x, packed, window=window), True)
        return None

    def matmul(self, call: relax.Call) -> Value | None:
        right = self.value_of(call.args[1])
        if isinstance(right, Static):
            return self.layer(call.args[0], right, None) if right.array.ndim == 2 else None
        shapes = [shape_of(arg) for arg in call.args]
        if len(shapes[0]) < 3 or shapes[0][:-2] != shapes[1][:-2]:
            return None
        operands = [self.plain(arg) for arg in call.args]
        return Dynamic(self.kernel(compute.batched_matmul, *operands))

    def layer(self, x: relax.Expr, weight: Static, window: compute.Window | None) -> Value:
        """A convolution (with a window) or dense layer by its packed kernel."""
        value = self.value_of(x)
        channels = weight.array.shape[0 if window else 1]
        integer = isinstance(value, Dequantized) and weight.scaled_along(0 if window else 1)
        lanes, depth = self.blocking(integer, channels)
        if integer:
            assert isinstance(value, Dequantized)
            activation, pad_value = self.stored(value.source, window), value.source.zero_point
        else:
            weight = weight.as_float()
            activation = self.channels_last(x) if window else self.plain(x)
            pad_value = 0
        if window is not None:
            packed = self.weights.var(weight.name, pack.pack_conv2d(weight.array, lanes, depth))
            settings = {"window": window, "channels": channels, "pad_value": pad_value}
            sums = self.kernel(compute.conv2d, activation, packed, **settings)
        else:
            packed = self.weights.var(weight.name, pack.pack_dense(weight.array, lanes, depth))
            sums = self.kernel(compute.dense, activation, packed, channels=channels)
        if integer:
            assert isinstance(value, Dequantized)
            sums = self.dequantized(sums, weight, value.source, window)
        return Dynamic(sums, window is not None)

    def blocking(self, integer: bool, channels: int) -> tuple[int, int]:
        """Output channels in a block, and input channels summed at once."""
        if self.isa.whole_rows:
            return channels, 1
        return (self.isa.int8.lanes, self.isa.int8.depth) if integer else (self.isa.float_lanes, 1)

    def stored(self, source: Quantized, window: compute.Window | None) -> relax.Expr:
        """The 8-bit levels in the layout that the kernel reads."""
        if window is not None and not source.channels_last:
            return self.transposed(source.expr, (0, 2, 3, 1))
        if window is None and source.channels_last:
            return self.transposed(source.expr, (0, 3, 1, 2))
        return source.expr

    def dequantized(
        self, sums: relax.Var, weight: Static, source: Quantized, window: compute.Window | None
    ) -> relax.Var:
        assert weight.scale is not None
        reduced = (1, 2, 3) if window else (0,)
        totals = weight.array.astype(np.int32).sum(axis=reduced, dtype=np.int32)
        scale = np.broadcast_to(weight.scale * np.float32(source.scale), totals.shape)
        return self.kernel(
            compute.dequantize_sums,
            sums,
            self.weights.var(f"{weight.name}_scale", scale.astype(np.float32)),
            self.weights.var(f"{weight.name}_correction", totals * np.int32(source.zero_point)),
        )


_LOWEST = {"uint8": 0, "int8": -128}


def conv_window(attrs) -> compute.Window:
    """The geometry of a relax.nn.conv2d call."""
    return compute.Window(
        strides=tuple(int(v) for v in attrs.strides),  # type: ignore[arg-type]
        padding=tuple(int(v) for v in attrs.padding),  # type: ignore[arg-type]
        dilation=tuple(int(v) for v in attrs.dilation),  # type: ignore[arg-type]
    )


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """The fixed shape of a tensor expression."""
    values = expr.ty.shape.values
    assert all(isinstance(value, IntImm) for value in values)
    return tuple(int(value) for value in values)


_HANDLERS: dict[str, Callable[[_Lowering, relax.Call], Value | None]] = {
    **dict.fromkeys(operators.ELEMENTWISE, _Lowering.elementwise),
    **dict.fromkeys(operators.BROADCASTING, _Lowering.broadcasting),
    **dict.fromkeys(operators.POOLS, _Lowering.pool),
    **dict.fromkeys(operators.REDUCTIONS, _Lowering.reduction),
    "relax.permute_dims": _Lowering.static,
    "relax.reshape": _Lowering.static,
    "relax.concat": _Lowering.concat,
    "relax.quantize": _Lowering.quantize,
    "relax.dequantize": _Lowering.dequantize,
    "relax.nn.conv2d": _Lowering.conv2d,
    "relax.matmul": _Lowering.matmul,
}
