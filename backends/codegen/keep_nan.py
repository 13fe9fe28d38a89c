"""NaN stays NaN, and infinity infinite, where the larger or smaller of two values is taken.

That is ReLU, clip, maximum, max pooling, softmax and reductions; for min as for max, in all types
of floats.

Before  max(x, c)      select(x > c, x, c): c where x is NaN
After   max(c, x)      select(c > x, c, x): x where x is NaN; c is a constant
Before  max(a, b)      b where a is NaN, but a where b is
After   select(isnan(b), b, max(b, a))       b where b is NaN, else a where a is
Before  max over nothing, and over padding, is the least finite value
After   it is -inf

LLVM makes such selections of max and min by itself. What CUDA and OpenCL have under these names
gives the number beside NaN, or anything, so for GPUs the selections are written out.

The schedule is applied by then, so tuning records match as they did. Where the result is cast to
integers at once (quantization) it stays as it was: the cast of NaN is undefined, that of a bound
is not.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import tvm_ffi
from tvm import IRModule, tirx
from tvm.ir.expr import Call, TensorLoad
from tvm.ir.prim.expr import Broadcast, Cast, Expr, FloatImm, Let, Max, Min, Select, Var
from tvm.tirx import BufferStore, PrimFunc

from .rewrite import is_conditional, is_for_cpu, map_functions


def start_at_infinity(module: IRModule) -> IRModule:
    """In scheduled functions, let what has no largest or smallest value have an infinite one."""
    return map_functions(module, _start_at_infinity)


def keep_nan(module: IRModule) -> IRModule:
    """In lowered functions, order operands so that NaN wins."""
    callbacks = (((Max, Min), _keep), (Cast, _bound))

    def keep(function: PrimFunc) -> PrimFunc:
        kept = tvm_ffi.structural_map(function, callbacks)
        if is_for_cpu(function):
            return kept
        return tvm_ffi.structural_map(kept, ((Max, Min), _compare))

    return map_functions(module, keep)


def _start_at_infinity(function: PrimFunc) -> PrimFunc:
    """A reduction is what stores max(itself, …); its start is stored, its padding chosen."""
    starts: dict[Var, float] = {}

    def note(store: BufferStore) -> None:
        value = store.value
        if isinstance(value, Max | Min) and _reads(value.a, store.buffer):
            starts[store.buffer] = -math.inf if isinstance(value, Max) else math.inf

    tvm_ffi.structural_walk(function, (BufferStore, note))
    if not starts:
        return function
    infinities: set[float | None] = set(starts.values())

    def start(store: BufferStore) -> BufferStore:
        infinite = _infinite(store.value, {starts.get(store.buffer)})
        if infinite is store.value:
            return store
        return BufferStore(store.buffer, infinite, store.indices)

    def pad(call: Call) -> Call:
        if not is_conditional(call):
            return call
        condition, inside, outside = call.args
        return tirx.if_then_else(condition, inside, _infinite(outside, infinities))

    return tvm_ffi.structural_map(function, ((BufferStore, start), (Call, pad)))


def _reads(expr: Expr, buffer: Var) -> bool:
    return isinstance(expr, TensorLoad) and expr.source.same_as(buffer)


def _infinite(expr: Expr, infinities: Collection[float | None]) -> Expr:
    """The infinity beyond the least or the largest finite value, where it is one of these."""
    if not isinstance(expr, FloatImm) or "float" not in str(expr.ty.dtype):
        return expr
    infinity = math.copysign(math.inf, expr.value)
    if abs(expr.value) != tirx.max_value(expr.ty.dtype).value or infinity not in infinities:
        return expr
    return FloatImm(expr.ty.dtype, infinity)


def _keep(expr: Max | Min) -> Expr:
    if "float" not in str(expr.ty.dtype):
        return expr
    first, second, kind = expr.a, expr.b, type(expr)
    if _is_number(first):
        return expr
    if _is_number(second):
        return kind(second, first)
    if isinstance(second, Var | TensorLoad):
        return Select(tirx.isnan(second), second, kind(second, first))
    bound = Var("second", second.ty)
    return Let(bound, second, Select(tirx.isnan(bound), bound, kind(bound, first)))


def _compare(expr: Max | Min) -> Expr:
    """Write out what LLVM makes of it: where one is NaN, the second."""
    if "float" not in str(expr.ty.dtype):
        return expr
    first, second = Var("first", expr.ty), Var("second", expr.ty)
    wins = first > second if isinstance(expr, Max) else first < second
    return Let(first, expr.a, Let(second, expr.b, Select(wins, first, second)))


def _bound(cast: Cast) -> Expr:
    """Give a cast to integers back its clip, bounds last."""
    clipped = cast.value
    if "int" not in str(cast.ty.dtype) or not isinstance(clipped, Max | Min):
        return cast
    return Cast(cast.ty.dtype, _bounds_last(clipped))


def _bounds_last(expr: Expr) -> Expr:
    if not isinstance(expr, Max | Min) or not _is_number(expr.a):
        return expr
    return type(expr)(_bounds_last(expr.b), expr.a)


def _is_number(expr: Expr) -> bool:
    """Whether it is a constant, or a vector of one, that is not NaN."""
    value = expr.value if isinstance(expr, Broadcast) else expr
    return isinstance(value, FloatImm) and not math.isnan(value.value)
