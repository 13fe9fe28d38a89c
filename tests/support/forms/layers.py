"""Layers, pooling, products, attention, quantization and images."""

from __future__ import annotations

import numpy as np
from tvm.ir.prim.expr import FloatImm
from tvm.relax import op

from .arrays import b, const, f, i

nn = op.nn
_WINDOWS = {
    "": {},
    "_stride": {"strides": 2},
    "_same": {"padding": 1},
    "_dilated": {"dilation": 2},
    "_ceil": {"strides": 2, "ceil_mode": True},
    "_ceil_padded": {"strides": 2, "padding": 1, "ceil_mode": True},
}
_PLACES = {1: (9,), 2: (8, 9), 3: (5, 6, 7)}
_UNEVEN = {1: (0, 1), 2: (0, 1, 2, 0), 3: (0, 1, 0, 1, 0, 1)}


def _pool(kind: str, rank: int, settings: dict):
    return lambda x: getattr(nn, f"{kind}_pool{rank}d")(x, (3,) * rank, **settings)


def _conv(rank: int, settings: dict):
    return lambda x, w: getattr(nn, f"conv{rank}d")(x, w, **settings)


def _transposed(rank: int, settings: dict):
    return lambda x, w: getattr(nn, f"conv{rank}d_transpose")(x, w, **settings)


def _resize(**settings):
    return lambda x: op.image.resize2d(x, (7, 4), **settings)


def _quantize(axis: int, dtype: str):
    def build(x):
        scale, zero = const([0.1, 0.2, 0.3]), const([0, 1, 2], dtype)
        levels = op.quantize(x, scale, zero, axis=axis, out_dtype=dtype)
        return op.dequantize(levels, scale, zero, axis=axis)

    return build


LAYERS = {
    **{
        f"{kind}_pool{rank}d{form}": (_pool(kind, rank, settings), [f(2, 3, *_PLACES[rank])])
        for kind in ("max", "avg")
        for rank in (1, 2, 3)
        for form, settings in _WINDOWS.items()
    },
    **{
        f"{kind}_pool{rank}d_uneven": (
            _pool(kind, rank, {"padding": _UNEVEN[rank], "strides": 2}),
            [f(2, 3, *_PLACES[rank])],
        )
        for kind in ("max", "avg")
        for rank in (1, 2, 3)
    },
    **{
        f"avg_pool{rank}d_counted{form}": (
            _pool("avg", rank, {"padding": 1, "count_include_pad": True, **settings}),
            [f(2, 3, *_PLACES[rank])],
        )
        for rank in (1, 2, 3)
        for form, settings in {"": {}, "_ceil": {"strides": 2, "ceil_mode": True}}.items()
    },
    "max_pool2d_int": (lambda x: nn.max_pool2d(x, (2, 2)), [i(1, 2, 4, 4)]),
    **{
        f"adaptive_avg_pool{rank}d_{size}": (
            lambda x, rank=rank, size=size: getattr(nn, f"adaptive_avg_pool{rank}d")(
                x, None if size is None else (size,) * rank
            ),
            [f(2, 3, *_PLACES[rank])],
        )
        for rank in (1, 2, 3)
        for size in (None, 1, 2, 3)
        if (rank, size) != (1, None)  # TVM refuses that
    },
    **{
        f"conv{rank}d{form}": (
            _conv(rank, settings),
            [f(1, 4, *_PLACES[rank]), f(6, 4 // settings.get("groups", 1), *(3,) * rank)],
        )
        for rank in (1, 2, 3)
        for form, settings in {
            "": {},
            "_stride": {"strides": 2, "padding": 1},
            "_uneven": {"padding": _UNEVEN[rank]},
            "_dilated": {"dilation": 2},
            "_groups": {"groups": 2},
        }.items()
    },
    "conv2d_batch": (nn.conv2d, [f(3, 4, 5, 5), f(2, 4, 2, 3)]),
    "conv2d_double": (nn.conv2d, [f(1, 4, 5, 5, dtype="float64"), f(2, 4, 2, 3, dtype="float64")]),
    **{
        f"conv{rank}d_transpose{form}": (
            _transposed(rank, settings),
            [f(1, 4, *_PLACES[rank]), f(4, 6 // settings.get("groups", 1), *(3,) * rank)],
        )
        for rank in (1, 2, 3)
        for form, settings in {
            "": {},
            "_stride": {"strides": 2, "padding": 1, "output_padding": 1},
            "_uneven": {"padding": _UNEVEN[rank], "strides": 2},
            "_groups": {"groups": 2, "strides": 2},
        }.items()
    },
    "conv2d_transpose_dilated": (_transposed(2, {"dilation": 2}), [f(1, 4, 5, 5), f(4, 2, 3, 3)]),
    "matmul": (op.matmul, [f(2, 1, 3, 4), f(5, 4, 2)]),
    "matmul_vector": (op.matmul, [f(4), f(2, 4, 3)]),
    "matmul_to_vector": (op.matmul, [f(2, 3, 4), f(4)]),
    "matmul_vectors": (op.matmul, [f(4), f(4)]),
    "matmul_int": (op.matmul, [i(3, 4), i(4, 2)]),
    "matmul_wider": (
        lambda x, w: op.matmul(x, w, out_dtype="int32"),
        [i(3, 4, dtype="int8"), i(4, 2, dtype="int8")],
    ),
    "linear": (lambda x, w, s: op.linear(x, w, s), [f(2, 3, 4), f(5, 4), f(5)]),
    "einsum": (lambda x, y: op.einsum([x, y], "bij,bjk->bik"), [f(2, 3, 4), f(2, 4, 5)]),
    "einsum_sum": (lambda x, y: op.einsum([x, y], "ij,kj->i"), [f(3, 4), f(5, 4)]),
    "einsum_trace": (lambda x: op.einsum([x], "ij->ji"), [f(3, 4)]),
    "outer": (op.outer, [f(3), f(4)]),
    "attention": (nn.attention, [f(2, 3, 2, 4), f(2, 5, 2, 4), f(2, 5, 2, 6)]),
    "attention_scale": (
        lambda q, k, v: nn.attention(q, k, v, scale=FloatImm("float32", 0.3)),
        [f(2, 3, 2, 4), f(2, 5, 2, 4), f(2, 5, 2, 4)],
    ),
    "attention_bias": (
        lambda q, k, v, s: nn.attention(q, k, v, s),
        [f(2, 3, 2, 4), f(2, 5, 2, 4), f(2, 5, 2, 4), f(2, 2, 3, 5)],
    ),
    "attention_bias_one": (
        lambda q, k, v, s: nn.attention(q, k, v, s),
        [f(2, 3, 2, 4), f(2, 5, 2, 4), f(2, 5, 2, 4), f(2, 1, 3, 5)],
    ),
    **{
        f"attention_{mask}": (
            lambda q, k, v, mask=mask: nn.attention(q, k, v, causal_mask=mask),
            [f(2, 3, 2, 4), f(2, 5, 2, 4), f(2, 5, 2, 4)],
        )
        for mask in ("TopLeft", "BottomRight")
    },
    "prelu": (lambda x, a: nn.prelu(x, a, 1), [f(2, 4, 3, 3), f(4)]),
    "prelu_one": (lambda x, a: nn.prelu(x, a, 1), [f(2, 4, 3, 3), f(1)]),
    "prelu_one_channel": (lambda x, a: nn.prelu(x, a, 1), [f(2, 1, 3, 3), f(1)]),
    "prelu_last": (lambda x, a: nn.prelu(x, a, -1), [f(2, 3, 4), f(4)]),
    "prelu_flat": (lambda x, a: nn.prelu(x, a, 0), [f(4), f(4)]),
    **{
        f"quantize_{dtype}_{axis}": (_quantize(axis, dtype), [f(3, 3, 3)])
        for dtype in ("int8", "uint8")
        for axis in (0, 1, -1)
    },
    "quantize_number": (
        lambda x: op.quantize(x, const(0.25), const(3, "uint8"), out_dtype="uint8"),
        [np.round(f(2, 9) * 8) / 8],
    ),
    "dequantize_number": (
        lambda x: op.dequantize(x, const(0.25), const(3, "int8")),
        [i(2, 9, dtype="int8")],
    ),
    **{
        f"resize_{method}_{mode}": (
            _resize(method=method, coordinate_transformation_mode=mode),
            [f(1, 2, 4, 5)],
        )
        for method in ("linear", "nearest_neighbor", "cubic")
        for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    },
    "resize_floor": (
        _resize(
            method="nearest_neighbor",
            coordinate_transformation_mode="asymmetric",
            rounding_method="floor",
        ),
        [f(1, 2, 4, 5)],
    ),
    "resize3d": (lambda x: op.image.resize3d(x, (4, 5, 6)), [f(1, 2, 3, 3, 3)]),
    **{
        f"grid_sample_{method}_{mode}": (
            lambda x, g, method=method, mode=mode: op.image.grid_sample(
                x, op.permute_dims(g, [0, 3, 1, 2]), method, "NCHW", mode, True
            ),
            [f(1, 2, 4, 5), f(1, 3, 6, 2)],
        )
        for method in ("bilinear", "nearest")
        for mode in ("zeros", "border", "reflection")
    },
    "affine_grid": (lambda x: op.image.affine_grid(x, (3, 4)), [f(2, 2, 3)]),
    "batch_norm": (
        lambda x, g, s, m, v: nn.batch_norm(x, g, s, m, op.abs(v), axis=1, training=False),
        [f(2, 3, 4), f(3), f(3), f(3), f(3)],
    ),
    "roi_align": (
        lambda x, r: op.vision.roi_align(x, r, (2, 2), 1.0, 2),
        [f(1, 2, 6, 6), np.array([[0, 0, 0, 3, 3], [0, 1, 1, 5, 4]], "float32")],
    ),
    "mask": (lambda x, m: op.where(m, x, const(-np.inf)), [f(2, 3), b(2, 3)]),
    "nll_loss": (lambda x, y: nn.nll_loss(x, y), [f(3, 4), np.array([0, 3, 1], "int64")]),
}
