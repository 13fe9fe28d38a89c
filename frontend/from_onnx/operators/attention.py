"""Attention and rotary positions, written out: every mask, a cache, groups of heads.

Before  Attention(q, k, v, mask, past_k, past_v, lengths)
After   softmax(softcap(q @ k.T * scale) + bias) @ v         k, v joined to the past
Shapes  q (batch, heads, length, width) or (batch, length, heads * width), k and v alike
Source  ONNX, operators Attention (opset 23 and newer) and RotaryEmbedding
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from ....ir.edit import shape_of
from ..arguments import Inputs, emit, given, like
from .indices import take, within

_op = relax.op
_DOUBLE = 11


def attention(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """Attention; its outputs are the result, the keys and values with the past, and the scores."""
    q, k, v = (
        _heads(inputs[i], attrs.get(name))
        for i, name in enumerate(("q_num_heads", "kv_num_heads", "kv_num_heads"))
    )
    past, lengths = [given(inputs, 4), given(inputs, 5)], given(inputs, 6)
    if past[0] is not None and past[1] is not None:
        k, v = (emit(_op.concat([old, new], 2)) for old, new in zip(past, (k, v), strict=True))
    behind = 0 if past[0] is None else shape_of(past[0])[2]
    present, groups = (k, v), shape_of(q)[1] // shape_of(k)[1]
    k, v = _repeated(k, groups), _repeated(v, groups)
    scale = attrs.get("scale") or 1 / math.sqrt(shape_of(q)[-1])
    scores = emit(_op.matmul(q, emit(_op.permute_dims(k, [0, 1, 3, 2]))))
    seen = [emit(_op.multiply(scores, like(scores, scale)))]
    seen.append(_capped(seen[0], attrs.get("softcap", 0.0)))
    biases = (
        _window(seen[0], attrs, behind, lengths),
        _mask(seen[0], given(inputs, 3)),
    )
    seen.append(seen[1])
    for bias in biases:
        if bias is not None:
            seen[2] = emit(_op.add(seen[2], bias))
    hides = any(bias is not None and _may_hide_all(bias) for bias in biases)
    seen.append(_shares(seen[2], hides=hides, double=attrs.get("softmax_precision") == _DOUBLE))
    y = emit(_op.matmul(seen[3], v))
    if inputs[0].ty.ndim == 3:
        batch, heads, length, width = shape_of(y)
        y = emit(_op.permute_dims(y, [0, 2, 1, 3]))
        y = emit(_op.reshape(y, (batch, length, heads * width)))
    if attrs["tvm_custom"]["num_outputs"] == 1:
        return y
    return relax.Tuple([y, *present, seen[attrs.get("qk_matmul_output_mode", 0)]])


def _heads(x: relax.Expr, heads: int | None) -> relax.Expr:
    """Give (batch, heads, length, width)."""
    if x.ty.ndim == 4:
        return x
    if not heads:
        raise ValueError("its inputs have three axes, and it does not say how many heads")
    batch, length, width = shape_of(x)
    x = emit(_op.reshape(x, (batch, length, heads, width // heads)))
    return emit(_op.permute_dims(x, [0, 2, 1, 3]))


def _repeated(x: relax.Expr, times: int) -> relax.Expr:
    """Let each head of keys or values serve a group of queries' heads."""
    if times == 1:
        return x
    batch, heads, length, width = shape_of(x)
    x = emit(_op.expand_dims(x, 2))
    x = emit(_op.broadcast_to(x, (batch, heads, times, length, width)))
    return emit(_op.reshape(x, (batch, heads * times, length, width)))


def _capped(scores: relax.Expr, cap: float) -> relax.Expr:
    if not cap:
        return scores
    small = emit(_op.tanh(emit(_op.divide(scores, like(scores, cap)))))
    return emit(_op.multiply(small, like(scores, cap)))


def _window(
    scores: relax.Expr, attrs: dict[str, Any], behind: int, lengths: relax.Expr | None
) -> relax.Expr | None:
    """Hide keys that are later than a query, farther than its window, or no keys but padding.

    `behind` keys come before the first query; with `lengths` (batch,) there are as many keys in
    each sample, of which the last are the queries' own.
    """
    queries, keys = shape_of(scores)[-2:]
    left, right = attrs.get("left_window_size", -1), attrs.get("right_window_size", -1)
    if attrs.get("is_causal", 0):
        right = 0
    i, j = np.arange(queries, dtype=np.int64)[:, None], np.arange(keys, dtype=np.int64)
    if lengths is None:
        hidden = np.zeros((queries, keys), bool)
        hidden |= (j > i + behind + right) if right >= 0 else False
        hidden |= (j < i + behind - left) if left >= 0 else False
        return like(scores, np.where(hidden, -np.inf, 0)) if hidden.any() else None
    count = emit(_op.astype(lengths, "int64"))
    count = emit(_op.reshape(count, (*shape_of(count), 1, 1, 1)))
    seen = _op.less(relax.const(j, "int64"), count)
    place = emit(_op.add(count, relax.const(i - queries, "int64")))
    if right >= 0:
        last = _op.add(place, relax.const(right, "int64"))
        seen = _op.logical_and(seen, _op.less_equal(relax.const(j, "int64"), last))
    if left >= 0:
        first = _op.subtract(place, relax.const(left, "int64"))
        seen = _op.logical_and(seen, _op.greater_equal(relax.const(j, "int64"), first))
    return emit(_op.where(emit(seen), like(scores, 0), like(scores, -np.inf)))


def _mask(scores: relax.Expr, mask: relax.Expr | None) -> relax.Expr | None:
    """Give a mask as what is added; keys beyond its last axis are hidden."""
    if mask is None:
        return None
    if str(mask.ty.dtype) == "bool":
        if isinstance(mask, GenericConst):
            mask = like(scores, np.where(mask.value.numpy(), 0, -np.inf))
        else:
            mask = emit(_op.where(mask, like(scores, 0), like(scores, -np.inf)))
    *front, known = shape_of(mask)
    missing = shape_of(scores)[-1] - known
    if known == 1 or not missing:
        return mask
    return emit(_op.concat([mask, like(scores, np.full((*front, missing), -np.inf))], -1))


def _may_hide_all(bias: relax.Expr) -> bool:
    """Whether a query may see no key at all, as far as is known."""
    if not isinstance(bias, GenericConst):
        return True
    return bool(np.isneginf(bias.value.numpy()).any())


def _shares(scores: relax.Expr, *, hides: bool, double: bool) -> relax.Expr:
    """Softmax; a query that sees no key gets zeros, where softmax gives NaN."""
    own = str(scores.ty.dtype)
    x = emit(_op.astype(scores, "float64")) if double and own != "float64" else scores
    shares = emit(_op.nn.softmax(x, -1))
    if hides:
        largest = emit(_op.max(x, [-1], True))
        lowest = like(x, np.finfo(str(x.ty.dtype)).min)  # where TVM's built maximum starts from
        shares = emit(_op.where(emit(_op.less_equal(largest, lowest)), like(x, 0), shares))
    return shares if x is scores else emit(_op.astype(shares, own))


def rotary_embedding(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """RotaryEmbedding: the first part of each head turned by its position's angles."""
    x, rank = inputs[0], inputs[0].ty.ndim
    whole = shape_of(x)
    if rank == 3:
        if not (heads := attrs.get("num_heads", 0)):
            raise ValueError("its input has three axes, and it does not say how many heads")
        batch, length, width = whole
        x = emit(_op.reshape(x, (batch, length, heads, width // heads)))
    axis, width = (1 if rank == 4 else 2), shape_of(x)[-1]
    turned = attrs.get("rotary_embedding_dim", 0) or width
    cos, sin = (_angles(inputs, i, axis) for i in (1, 2))
    part, rest = x, None
    if turned != width:
        both = emit(_op.split(x, [turned], -1))
        part, rest = (emit(relax.TupleGetItem(both, i)) for i in range(2))
    y = _turned(part, cos, sin, interleaved=bool(attrs.get("interleaved", 0)))
    y = y if rest is None else emit(_op.concat([y, rest], -1))
    return y if rank == 4 else emit(_op.reshape(y, whole))


def _angles(inputs: Inputs, index: int, axis: int) -> relax.Expr:
    """Give cosines or sines, (batch, length, width / 2), the places' own, an axis for the heads."""
    table, places = inputs[index], given(inputs, 3)
    if places is not None:
        table = emit(take(table, within(places, shape_of(table)[0]), 0))
    return emit(_op.expand_dims(table, axis))


def _turned(x: relax.Expr, cos: relax.Expr, sin: relax.Expr, *, interleaved: bool) -> relax.Expr:
    """Turn pairs of elements: neighbours, or one of each half."""
    shape, width = shape_of(x), shape_of(x)[-1]
    if interleaved:
        pairs = emit(_op.reshape(x, (*shape[:-1], width // 2, 2)))
        a, b = (emit(take(pairs, relax.const(i, "int64"), -1)) for i in range(2))
    else:
        halves = emit(_op.split(x, 2, -1))
        a, b = (emit(relax.TupleGetItem(halves, i)) for i in range(2))
    first = emit(_op.subtract(_op.multiply(cos, a), _op.multiply(sin, b)))
    second = emit(_op.add(_op.multiply(sin, a), _op.multiply(cos, b)))
    if not interleaved:
        return emit(_op.concat([first, second], -1))
    return emit(_op.reshape(_op.stack([first, second], -1), shape))


OWN = {"Attention": attention, "RotaryEmbedding": rotary_embedding}
