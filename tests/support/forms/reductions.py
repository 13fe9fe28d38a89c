"""Reductions, scans, norms, sorting and searching."""

from __future__ import annotations

import numpy as np
from tvm.relax import op

from .arrays import b, const, f, i

_FORMS = {
    "": {},
    "_axis": {"axis": 1},
    "_negative": {"axis": -1},
    "_axes": {"axis": [0, -2]},
    "_keep": {"axis": [1, 3], "keepdims": True},
    "_all_keep": {"keepdims": True},
    "_none": {"axis": []},
}
_REDUCTIONS = ("max", "mean", "min", "prod", "std", "sum", "variance")
_INTEGER = ("max", "min", "prod", "sum", "mean")
_DISTINCT = np.random.default_rng(7).permutation(60).reshape(3, 4, 5).astype("float32")


def _with(name: str, settings: dict):
    return lambda x: getattr(op, name)(x, **settings)


REDUCTIONS = {
    **{
        f"{name}{form}": (_with(name, settings), [f(2, 3, 4, 5)])
        for name in _REDUCTIONS
        for form, settings in _FORMS.items()
    },
    **{
        f"{name}_{dtype}{form}": (
            _with(name, settings),
            [i(2, 3, 2, 2, low=1, high=4, dtype=dtype)],
        )
        for name in _INTEGER
        for dtype in ("int32", "int64", "uint8")
        for form, settings in _FORMS.items()
        if form in ("", "_axis", "_keep")
    },
    **{f"{name}_number": (_with(name, {}), [f()]) for name in _REDUCTIONS},
    **{f"{name}_one": (_with(name, {"axis": 0}), [f(1)]) for name in ("max", "sum", "mean")},
    **{
        f"{name}{form}": (_with(name, settings), [_DISTINCT])
        for name in ("argmax", "argmin")
        for form, settings in {
            "": {},
            "_axis": {"axis": 1},
            "_negative": {"axis": -1, "keepdims": True},
            "_all_keep": {"keepdims": True},
        }.items()
    },
    "argmax_ties": (lambda x: op.argmax(x, axis=-1), [i(3, 9, low=0, high=3).astype("float32")]),
    "argmin_int": (lambda x: op.argmin(x, axis=0), [np.arange(12, dtype="int32").reshape(3, 4)]),
    **{
        f"{name}{form}": (_with(name, settings), [f(3, 4, 5)])
        for name in ("cumsum", "cumprod")
        for form, settings in {
            "": {},
            "_axis": {"axis": 1},
            "_negative": {"axis": -2},
            "_exclusive": {"axis": 1, "exclusive": True},
            "_type": {"axis": 0, "dtype": "float64"},
        }.items()
    },
    "cumsum_int": (lambda x: op.cumsum(x, axis=1), [i(3, 4)]),
    "cumsum_bool": (lambda x: op.cumsum(op.astype(x, "int64"), axis=1), [b(3, 4)]),
    "sort": (lambda x: op.sort(x, axis=1), [_DISTINCT]),
    "sort_down": (lambda x: op.sort(x, axis=-1, descending=True), [_DISTINCT]),
    "argsort": (lambda x: op.argsort(x, axis=1), [_DISTINCT]),
    "argsort_down": (
        lambda x: op.argsort(x, axis=-1, descending=True, dtype="int64"),
        [_DISTINCT],
    ),
    "topk": (lambda x: op.topk(x, k=2, axis=1), [_DISTINCT]),
    "topk_least": (lambda x: op.topk(x, k=3, axis=-1, largest=False, dtype="int64"), [_DISTINCT]),
    "topk_values": (lambda x: op.topk(x, k=2, axis=0, ret_type="values"), [_DISTINCT]),
    "topk_indices": (lambda x: op.topk(x, k=2, axis=0, ret_type="indices"), [_DISTINCT]),
    "median": (lambda x: op.median(x, axis=[1]), [_DISTINCT]),
    "median_all": (op.median, [_DISTINCT]),
    "median_keep": (lambda x: op.median(x, axis=[-1], keepdims=True), [_DISTINCT]),
    "bucketize": (lambda x: op.bucketize(x, const([-1, 0, 0.5])), [f(3, 4)]),
    "bucketize_right": (
        lambda x, edges: op.bucketize(x, edges, out_int32=True, right=True),
        [i(3, 4).astype("float32"), np.array([-3, 0, 4], "float32")],
    ),
    **{
        f"{name}_{axis}": (
            lambda x, name=name, axis=axis: getattr(op.nn, name)(x, axis),
            [f(2, 3, 4)],
        )
        for name in ("softmax", "log_softmax")
        for axis in (0, 1, -1)
    },
    "softmax_vector": (lambda x: op.nn.softmax(x, -1), [f(5)]),
    "layer_norm": (lambda x, g, s: op.nn.layer_norm(x, g, s, axes=[-1]), [f(2, 3, 4), f(4), f(4)]),
    "layer_norm_two": (
        lambda x, g, s: op.nn.layer_norm(x, g, s, axes=[1, 2], epsilon=0.1),
        [f(2, 3, 4), f(3, 4), f(3, 4)],
    ),
    "rms_norm": (lambda x, g: op.nn.rms_norm(x, g, axes=[-1]), [f(2, 3, 4), f(4)]),
    "rms_norm_two": (lambda x, g: op.nn.rms_norm(x, g, axes=[-2, -1]), [f(2, 3, 4), f(3, 4)]),
    "group_norm": (
        lambda x, g, s: op.nn.group_norm(x, g, s, 2, channel_axis=1, axes=[2, 3]),
        [f(2, 4, 3, 5), f(4), f(4)],
    ),
    "group_norm_line": (
        lambda x, g, s: op.nn.group_norm(x, g, s, 2, channel_axis=1, axes=[2]),
        [f(2, 4, 5), f(4), f(4)],
    ),
    "group_norm_flat": (
        lambda x, g, s: op.nn.group_norm(x, g, s, 2, channel_axis=1, axes=[]),
        [f(2, 4), f(4), f(4)],
    ),
    "group_norm_negative": (
        lambda x, g, s: op.nn.group_norm(x, g, s, 2, channel_axis=-3, axes=[-2, -1]),
        [f(2, 4, 3, 5), f(4), f(4)],
    ),
    "group_norm_last": (
        lambda x, g, s: op.nn.group_norm(x, g, s, 2, channel_axis=3, axes=[1, 2]),
        [f(2, 3, 5, 4), f(4), f(4)],
    ),
    "instance_norm": (
        lambda x, g, s: op.nn.instance_norm(x, g, s, channel_axis=1, axes=[2, 3]),
        [f(2, 4, 3, 5), f(4), f(4)],
    ),
    "instance_norm_line": (
        lambda x, g, s: op.nn.instance_norm(x, g, s, channel_axis=1, axes=[2], epsilon=0.1),
        [f(2, 4, 5), f(4), f(4)],
    ),
}
