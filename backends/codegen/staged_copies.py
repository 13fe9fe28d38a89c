"""Copies to shared memory that TVM would make through registers are made plainly, and ahead.

Before  float16(if inside: float32(x[i]), else 0.0)      one value at a time, through registers
After   if inside: x[i], else float16(0.0)               vectors, by asynchronous copies

Before  staged[…] = if inside: x[…], else int8(0)        TVM knows zeros of floats alone
After   cp.async with that predicate, where the kernel waits for such copies

Exact: a float16 that is widened is the same number, and so is 0. The schedule is applied by then.
"""

from __future__ import annotations

import tvm_ffi
from tvm import IRModule, tirx
from tvm.ir import Op
from tvm.ir.expr import TensorLoad
from tvm.ir.prim.expr import Add, Broadcast, Cast, Expr, FloatImm, IntImm, Ramp
from tvm.tirx import AttrStmt, BufferStore, Evaluate, PrimFunc, Stmt

from .rewrite import is_conditional, map_functions

_NARROW = "float16"
_COPY = "tirx.s_tir.cp_async_raw"
_COPIED_BYTES = (4, 8, 16)
_WAITED_FOR = "async_commit_queue_scope"
_SHARED = "shared.dyn"


def copy_plainly(module: IRModule) -> IRModule:
    """In scheduled functions, leave out casts that cancel out, under conditions too."""
    return map_functions(
        module, lambda function: tvm_ffi.structural_map(function, ((Cast, _narrow),))
    )


def copy_ahead(module: IRModule) -> IRModule:
    """In lowered kernels that wait for asynchronous copies, make those of bytes so, too."""

    def ahead(function: PrimFunc) -> PrimFunc:
        waits: list[AttrStmt] = []
        tvm_ffi.structural_walk(function, (AttrStmt, waits.append))
        if not any(each.attr_key == _WAITED_FOR for each in waits):
            return function
        return tvm_ffi.structural_map(function, ((BufferStore, _copy),))

    return map_functions(module, ahead)


def _narrow(cast: Cast) -> Expr:
    if str(cast.ty.dtype) != _NARROW:
        return cast
    plain = _stored(cast.value)
    return cast if plain is None else plain


def _stored(value: Expr) -> Expr | None:
    """The float16 that `value` is, or None where it is computed."""
    if isinstance(value, FloatImm) and value.value == 0:
        return tirx.const(0, _NARROW)
    if isinstance(value, Cast) and str(value.value.ty.dtype) == _NARROW:
        return value.value
    if is_conditional(value):
        condition, inside, outside = value.args
        parts = _stored(inside), _stored(outside)
        if None not in parts:
            return tirx.if_then_else(condition, *parts)
    return None


def _copy(store: BufferStore) -> Stmt:
    if store.buffer.scope() != _SHARED or not is_conditional(store.value):
        return store
    condition, read, outside = store.value.args
    if not isinstance(read, TensorLoad) or not _is_zero(outside):
        return store
    places = _first(store.indices[0]), _first(read.indices[0])
    dtype, _, lanes = str(read.ty.dtype).partition("x")
    if dtype != "int8" or int(lanes or 1) not in _COPIED_BYTES or None in places:
        return store
    ours, theirs = store.buffer.data, read.source.data
    arguments = [ours, places[0], theirs, places[1], int(lanes), condition]
    return Evaluate(tirx.call_intrin(dtype, Op.get(_COPY), *arguments))


def _is_zero(value: Expr) -> bool:
    return (
        isinstance(value, Broadcast) and isinstance(value.value, IntImm) and not value.value.value
    )


def _first(index: Expr) -> Expr | None:
    """Where neighbouring values begin, or None where they are not neighbours."""
    if isinstance(index, Ramp):
        return index.base if int(index.stride) == 1 else None
    if isinstance(index, Add) and isinstance(index.b, Broadcast):
        first = _first(index.a)
        return None if first is None else first + index.b.value
    return None
