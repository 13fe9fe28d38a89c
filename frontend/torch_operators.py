"""torch operators that TVM's importer lacks, or imports otherwise than passes need them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from .graph import shape_of


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def attention(node: fx.Node, importer: Any) -> relax.Expr:
    """Write scaled dot-product attention as softmax(q @ k.T * scale + mask) @ v."""
    q, k, v = (importer.env[arg] for arg in node.args[:3])
    if _argument(node, 4, "dropout_p", 0.0):
        raise ValueError("dropout is on; export the network in eval mode")
    if node.kwargs.get("enable_gqa", False):
        raise ValueError("grouped-query attention is not supported")
    emit = importer.block_builder.emit
    order = [*range(k.ty.ndim - 2), k.ty.ndim - 1, k.ty.ndim - 2]
    scale = node.kwargs.get("scale")
    scale = 1.0 / math.sqrt(shape_of(q)[-1]) if scale is None else float(scale)
    scores = emit(relax.op.matmul(q, emit(relax.op.permute_dims(k, order))))
    scores = emit(relax.op.multiply(scores, relax.const(scale, "float32")))
    mask = _mask(node, importer, shape_of(scores)[-2:])
    if mask is not None:
        scores = emit(relax.op.add(scores, mask))
    return emit(relax.op.matmul(emit(relax.op.nn.softmax(scores, axis=-1)), v))


def _mask(node: fx.Node, importer: Any, shape: tuple[int, ...]) -> relax.Expr | None:
    if _argument(node, 5, "is_causal", False):
        return relax.const(np.triu(np.full(shape, -np.inf, "float32"), k=1))
    given = _argument(node, 3, "attn_mask", None)
    if given is None:
        return None
    mask = importer.env[given]
    if str(mask.ty.dtype) != "bool":
        return mask
    nothing, never = relax.const(0.0, "float32"), relax.const(-math.inf, "float32")
    return importer.block_builder.emit(relax.op.where(mask, nothing, never))


def _extreme(operator: Callable[..., relax.Expr]) -> Callable[[fx.Node, Any], relax.Expr]:
    def convert(node: fx.Node, importer: Any) -> relax.Expr:
        axes = _argument(node, 1, "dim", []) or None
        keep = _argument(node, 2, "keepdim", False)
        return importer.block_builder.emit(operator(importer.env[node.args[0]], axes, keep))

    return convert


OWN: dict[str, Callable[[fx.Node, Any], relax.Expr]] = {
    "scaled_dot_product_attention.default": attention,
    "amax.default": _extreme(relax.op.max),
    "amin.default": _extreme(relax.op.min),
}
