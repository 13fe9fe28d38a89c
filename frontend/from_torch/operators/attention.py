"""Scaled dot-product attention, written out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import OperatorCall, constant


def attention(
    call: OperatorCall,
    query: relax.Expr,
    key: relax.Expr,
    value: relax.Expr,
    attn_mask: relax.Expr | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> relax.Expr:
    """Write scaled dot-product attention as softmax(q @ k.T * scale + mask) @ v."""
    if enable_gqa and shape_of(key)[-3] != shape_of(query)[-3]:
        times = shape_of(query)[-3] // shape_of(key)[-3]
        key, value = _repeat_heads(call, key, times), _repeat_heads(call, value, times)
    rank = len(shape_of(key))
    order = [*range(rank - 2), rank - 1, rank - 2]
    scale = 1.0 / math.sqrt(shape_of(query)[-1]) if scale is None else float(scale)
    scores = call.emit(relax.op.matmul, query, call.emit(relax.op.permute_dims, key, order))
    scores = call.emit(relax.op.multiply, scores, call.cast(scale))
    mask = _mask(call, attn_mask, is_causal, shape_of(scores)[-2:])
    if mask is not None:
        scores = call.emit(relax.op.add, scores, mask)
    shares = call.emit(relax.op.nn.softmax, scores, axis=-1)
    if mask is not None and _may_hide_all(mask):
        shares = _without_hidden_rows(call, scores, shares)
    return call.emit(relax.op.matmul, shares, value)


def _repeat_heads(call: OperatorCall, x: relax.Expr, times: int) -> relax.Expr:
    *front, heads, length, width = shape_of(x)
    x = call.reshape(x, (*front, heads, 1, length, width))
    x = call.broadcast(x, (*front, heads, times, length, width))
    return call.reshape(x, (*front, heads * times, length, width))


def _mask(
    call: OperatorCall, given: relax.Expr | None, causal: bool, shape: Sequence[int]
) -> relax.Expr | None:
    if causal:
        return relax.const(np.triu(np.full(shape, -np.inf, "float32"), k=1))
    if given is None or str(given.ty.dtype) != "bool":
        return given
    known = constant(given)
    if known is not None:
        return relax.const(np.where(known, 0.0, -np.inf).astype("float32"))
    nothing, never = call.cast(0.0, "float32"), call.cast(-math.inf, "float32")
    return call.emit(relax.op.where, given, nothing, never)


def _may_hide_all(mask: relax.Expr) -> bool:
    """Whether a query may see no key at all, as far as is known."""
    known = constant(mask)
    return known is None or bool(np.isneginf(known).all(axis=-1).any())


def _without_hidden_rows(call: OperatorCall, scores: relax.Expr, shares: relax.Expr) -> relax.Expr:
    """Give a query that sees no key zeros, as torch does, where softmax gives NaN."""
    largest = call.emit(relax.op.max, scores, [-1], True)
    lowest = call.cast(float(np.finfo("float32").min))  # where TVM's built maximum starts from
    hidden = call.emit(relax.op.less_equal, largest, lowest)
    return call.emit(relax.op.where, hidden, call.cast(0.0), shares)
