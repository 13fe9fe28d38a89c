"""Operators that read and write by index."""

from __future__ import annotations

import numpy as np
from tvm import relax
from tvm.relax import op

from .arrays import b, const, f, i

_CUBE = (3, 4, 5)
_AT = np.array([[2, 0], [1, 1]], "int64")


def _scatter(reduction: str):
    return lambda x, at, y: op.scatter_elements(x, at, y, axis=1, reduction=reduction)


def _scatter_nd(reduction: str):
    return lambda x, at, y: op.scatter_nd(x, at, y, reduction)


INDICES = {
    "take": (lambda x, at: op.take(x, at, axis=1), [f(*_CUBE), _AT]),
    "take_negative_axis": (lambda x, at: op.take(x, at, axis=-1), [f(*_CUBE), _AT]),
    "take_number": (lambda x: op.take(x, const(2, "int64"), axis=1), [f(*_CUBE)]),
    "take_flat": (lambda x, at: op.take(x, at), [f(5), _AT]),
    "take_int32": (
        lambda x, at: op.take(x, at, axis=0),
        [f(*_CUBE), np.array([2, 0], "int32")],
    ),
    **{
        f"take_{mode}": (
            lambda x, at, mode=mode: op.take(x, at, axis=1, mode=mode),
            [f(*_CUBE), np.array([5, -3, 1], "int64")],
        )
        for mode in ("clip", "wrap")
    },
    "take_nan": (
        lambda x, at: op.take(x, at, axis=1, mode="nan"),
        [f(*_CUBE), np.array([5, 0, 1], "int64")],
    ),
    "embedding": (
        lambda at, x: op.take(x, at, axis=0),
        [i(2, 6, low=0, high=10, dtype="int64"), f(10, 3)],
    ),
    "gather_elements": (
        lambda x, at: op.gather_elements(x, at, axis=1),
        [f(2, 4), np.array([[0, 3], [2, 1]], "int64")],
    ),
    "gather_elements_last": (
        lambda x, at: op.gather_elements(x, at, axis=-1),
        [f(*_CUBE), i(3, 4, 2, low=0, high=5, dtype="int64")],
    ),
    "gather_nd": (
        lambda x, at: op.gather_nd(x, at),
        [f(*_CUBE), np.array([[0, 1], [2, 3]], "int64")],
    ),
    "gather_nd_batch": (
        lambda x, at: op.gather_nd(x, at, batch_dims=1),
        [f(2, 4, 5), np.array([[1], [3]], "int64")],
    ),
    "index_tensor": (
        lambda x, a, c: op.index_tensor(x, [a, c]),
        [f(*_CUBE), np.array([[0, 2]], "int64"), np.array([[1], [3]], "int64")],
    ),
    "index_tensor_one": (
        lambda x, a: op.index_tensor(x, [a]),
        [f(*_CUBE), np.array([2, 0], "int64")],
    ),
    "index_put": (
        lambda x, a, c, y: op.index_put(x, (a, c), y),
        [f(4, 3), np.array([2, 0], "int64"), np.array([1, 1], "int64"), f(2)],
    ),
    "index_put_add": (
        lambda x, a, c, y: op.index_put(x, (a, c), y, accumulate=True),
        [f(4, 3), np.array([2, 2], "int64"), np.array([1, 1], "int64"), f(2)],
    ),
    **{
        f"scatter_elements_{reduction}": (
            _scatter(reduction),
            [f(2, 4), np.array([[0, 3], [2, 1]], "int64"), f(2, 2)],
        )
        for reduction in ("update", "add", "mul", "min", "max")
    },
    "scatter_elements_twice": (
        _scatter("add"),
        [f(2, 4), np.array([[1, 1], [0, 0]], "int64"), f(2, 2)],
    ),
    **{
        f"scatter_nd_{reduction}": (
            _scatter_nd(reduction),
            [f(4, 3), np.array([[0], [2]], "int64"), f(2, 3)],
        )
        for reduction in ("update", "add", "mul", "min", "max")
    },
    "slice_scatter": (
        lambda x, y: op.slice_scatter(x, y, 1, 4, 2, axis=1),
        [f(2, 5, 3), f(2, 2, 3)],
    ),
    "slice_scatter_last": (
        lambda x, y: op.slice_scatter(x, y, 0, 2, 1, axis=2),
        [f(2, 5, 3), f(2, 5, 2)],
    ),
    "one_hot": (
        lambda x: op.one_hot(x, relax.prim_value(1.0), relax.prim_value(0.0), 4),
        [np.array([[0, 2, 3]], "int64")],
    ),
    "one_hot_axis": (
        lambda x: op.one_hot(x, relax.prim_value(5), relax.prim_value(-1), 4, axis=1),
        [np.array([[0, 2, 3]], "int32")],
    ),
    "where_masked": (lambda m, x: op.where(m, const(-np.inf), x), [b(3, 4), f(2, 3, 4)]),
}
