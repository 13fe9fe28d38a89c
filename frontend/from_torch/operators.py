"""torch operators that TVM's importer lacks, or imports otherwise than passes need them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from ...ir.edit import shape_of


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


def _max_or_min(operator: Callable[..., relax.Expr]) -> Callable[[fx.Node, Any], relax.Expr]:
    def convert(node: fx.Node, importer: Any) -> relax.Expr:
        axes = _argument(node, 1, "dim", []) or None
        keep = _argument(node, 2, "keepdim", False)
        return importer.block_builder.emit(operator(importer.env[node.args[0]], axes, keep))

    return convert


def elu(node: fx.Node, importer: Any) -> relax.Expr:
    """ELU with its scales, as SELU and CELU use them."""
    x = importer.env[node.args[0]]
    alpha, scale, inner = (_argument(node, i + 1, "", 1.0) for i in range(3))
    low = relax.op.minimum(x, relax.const(0.0, "float32"))
    curve = relax.op.exp(relax.op.multiply(low, relax.const(float(inner), "float32")))
    bent = relax.op.subtract(curve, relax.const(1.0, "float32"))
    bent = relax.op.multiply(bent, relax.const(float(alpha * scale), "float32"))
    straight = relax.op.multiply(relax.op.nn.relu(x), relax.const(float(scale), "float32"))
    return importer.block_builder.emit(relax.op.add(straight, bent))


def upsample_nearest(node: fx.Node, importer: Any) -> relax.Expr:
    """Take output pixel i from input pixel floor(i * input length / output length)."""
    x, size, factors = importer.env[node.args[0]], node.args[1], _argument(node, 2, "", None)
    lengths = shape_of(x)[2:]
    if size is None:
        exact = [length * factor for length, factor in zip(lengths, factors, strict=True)]
        size = [int(length) for length in exact]
        if size != exact:
            raise ValueError("the factors give no whole size; give size instead of scale_factor")
    return _resize(importer, x, size, "nearest_neighbor", "asymmetric", "floor")


def _resize(
    importer: Any, x: relax.Expr, size: Any, method: str, coordinates: str, rounding: str
) -> relax.Expr:
    return importer.block_builder.emit(
        relax.op.image.resize2d(
            x,
            tuple(int(length) for length in size),
            layout="NCHW",
            method=method,
            coordinate_transformation_mode=coordinates,
            rounding_method=rounding,
        )
    )


def avg_pool2d(node: fx.Node, importer: Any) -> relax.Expr:
    """Average pooling as TVM imports it, less a divisor that it would ignore."""
    if _argument(node, 6, "divisor_override", None) is not None:
        raise ValueError("divisor_override is not supported")
    return importer._avg_pool2d(node)


def adaptive_max_pool2d(node: fx.Node, importer: Any) -> list[relax.Expr]:
    """Max pooling, where the output's size divides the input's; the indices are not computed."""
    x, size = importer.env[node.args[0]], node.args[1]
    lengths = shape_of(x)[-2:]
    if any(length % wanted for length, wanted in zip(lengths, size, strict=True)):
        raise ValueError(f"its output size {tuple(size)} does not divide {lengths}")
    kernel = [length // wanted for length, wanted in zip(lengths, size, strict=True)]
    return [importer.block_builder.emit(relax.op.nn.max_pool2d(x, kernel, kernel))]


OWN: dict[str, Callable[[fx.Node, Any], Any]] = {
    "scaled_dot_product_attention.default": attention,
    "amax.default": _max_or_min(relax.op.max),
    "amin.default": _max_or_min(relax.op.min),
    "elu.default": elu,
    "upsample_nearest2d.vec": upsample_nearest,
    "avg_pool2d.default": avg_pool2d,
    "adaptive_max_pool2d.default": adaptive_max_pool2d,
}
