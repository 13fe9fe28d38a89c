"""Operators that make, move, cut and join values."""

from __future__ import annotations

import numpy as np
from tvm import relax
from tvm.relax import op

from .arrays import b, const, f, i

_CUBE = (2, 3, 4)


def _pieces(cuts: object, axis: int):
    return lambda x: op.split(x, cuts, axis)


SHAPES = {
    "reshape": (lambda x: op.reshape(x, (4, 6)), [f(*_CUBE)]),
    "reshape_inferred": (lambda x: op.reshape(x, (-1, 2)), [f(*_CUBE)]),
    "reshape_number": (lambda x: op.reshape(x, (1, 1)), [f()]),
    "reshape_to_number": (lambda x: op.reshape(x, ()), [f(1, 1)]),
    "flatten": (op.flatten, [f(*_CUBE)]),
    "flatten_number": (op.flatten, [f()]),
    "permute": (lambda x: op.permute_dims(x, [2, 0, 1]), [f(*_CUBE)]),
    "permute_negative": (lambda x: op.permute_dims(x, [-1, 0, -2]), [f(*_CUBE)]),
    "permute_reversed": (op.permute_dims, [f(*_CUBE)]),
    "permute_number": (op.permute_dims, [f()]),
    "expand": (lambda x: op.expand_dims(x, [0, -1]), [f(*_CUBE)]),
    "expand_between": (lambda x: op.expand_dims(x, [1, 3]), [f(*_CUBE)]),
    "expand_number": (lambda x: op.expand_dims(x, [0]), [f()]),
    "squeeze": (op.squeeze, [f(1, 3, 1, 2)]),
    "squeeze_axis": (lambda x: op.squeeze(x, [-2]), [f(1, 3, 1, 2)]),
    "squeeze_all": (op.squeeze, [f(1, 1)]),
    "broadcast": (lambda x: op.broadcast_to(x, (2, 3, 4)), [f(3, 1)]),
    "broadcast_number": (lambda x: op.broadcast_to(x, (2, 3)), [f()]),
    "concat": (lambda x, y: op.concat([x, y], 1), [f(2, 3, 4), f(2, 1, 4)]),
    "concat_negative": (lambda x, y: op.concat([x, y], -1), [f(2, 3, 4), f(2, 3, 1)]),
    "concat_one": (lambda x: op.concat([x], 0), [f(2, 3)]),
    "concat_same": (lambda x: op.concat([x, x], 0), [f(2, 3)]),
    "concat_constant": (lambda x: op.concat([x, const([[1.0, 2, 3]])], 0), [f(2, 3)]),
    "concat_constants": (
        lambda x: op.add(x, op.concat([const([1.0]), const([2.0, 3])], 0)),
        [f(2, 3)],
    ),
    "concat_int": (lambda x, y: op.concat([x, y], 0), [i(2, dtype="int64"), i(3, dtype="int64")]),
    "concat_bool": (lambda x, y: op.concat([x, y], 0), [b(2), b(3)]),
    "stack": (lambda x, y: op.stack([x, y], 1), [f(2, 3), f(2, 3)]),
    "stack_negative": (lambda x, y: op.stack([x, y], -1), [f(2, 3), f(2, 3)]),
    "stack_numbers": (lambda x, y: op.stack([x, y], 0), [f(), f()]),
    "split_even": (_pieces(2, -1), [f(2, 3, 4)]),
    "split_at": (_pieces([1, 3], 2), [f(2, 3, 4)]),
    "split_uneven": (_pieces([3, 6], 1), [f(2, 7)]),
    "split_one": (_pieces(1, 1), [f(2, 6)]),
    "split_read": (
        lambda x: op.add(relax.TupleGetItem(op.split(x, 2, 1), 1), const(1.0)),
        [f(2, 6)],
    ),
    "slice": (lambda x: op.strided_slice(x, [1, 2], [0, 1], [2, 4], [2, 2]), [f(2, 3, 4)]),
    "slice_negative": (lambda x: op.strided_slice(x, [-1], [-3], [-1]), [f(2, 3, 4)]),
    "slice_backwards": (
        lambda x: op.strided_slice(x, [1, 2], [2, 3], [-4, 0], [-1, -2]),
        [f(2, 3, 4)],
    ),
    "slice_beyond": (lambda x: op.strided_slice(x, [1], [1], [2**31 - 1]), [f(2, 3, 4)]),
    "slice_before": (lambda x: op.strided_slice(x, [1], [-99], [2]), [f(2, 3, 4)]),
    "flip": (lambda x: op.flip(x, 1), [f(*_CUBE)]),
    "flip_negative": (lambda x: op.flip(x, -1), [f(*_CUBE)]),
    "roll": (
        lambda x: op.concat(
            [op.strided_slice(x, [1], [2], [3]), op.strided_slice(x, [1], [0], [2])], 1
        ),
        [f(*_CUBE)],
    ),
    "tile": (lambda x: op.tile(x, (2, 1, 3)), [f(*_CUBE)]),
    "tile_more": (lambda x: op.tile(x, (2, 1, 2)), [f(2, 3)]),
    "tile_fewer": (lambda x: op.tile(x, (2,)), [f(2, 3)]),
    "tile_int": (lambda x: op.tile(x, (2, 1)), [i(2, 3)]),
    "repeat": (lambda x: op.repeat(x, 2, 1), [f(*_CUBE)]),
    "repeat_flat": (lambda x: op.repeat(x, 3), [f(2, 3)]),
    "pixel_shuffle": (lambda x: op.nn.pixel_shuffle(x, 2), [f(1, 8, 2, 3)]),
    "batch_flatten": (op.nn.batch_flatten, [f(2, 3, 4)]),
    "triu": (lambda x: op.triu(x, 1), [f(2, 4, 5)]),
    "tril": (lambda x: op.tril(x, -1), [f(2, 4, 5)]),
    "tril_int": (op.tril, [i(4, 5)]),
    "zeros": (lambda x: op.add(x, op.zeros((2, 3), "float32")), [f(2, 3)]),
    "ones": (lambda x: op.add(x, op.ones((3,), "float32")), [f(2, 3)]),
    "full": (lambda x: op.add(x, op.full((2, 3), const(2.5))), [f(2, 3)]),
    "full_cast": (lambda x: op.add(x, op.full((3,), const(2, "int64"), "float32")), [f(2, 3)]),
    "full_infinite": (lambda x: op.add(x, op.full((3,), const(-np.inf))), [f(2, 3)]),
    "full_bool": (lambda x: op.where(op.full((3,), const(1, "bool")), x, x), [f(2, 3)]),
    "full_like": (lambda x: op.full_like(x, const(2.5)), [f(2, 3)]),
    "full_like_int": (lambda x: op.full_like(x, const(2.5), "int32"), [f(2, 3)]),
    "arange": (lambda x: op.add(x, op.arange(0, 3, 1, "float32")), [f(2, 3)]),
    "arange_int": (lambda x: op.add(x, op.arange(1, 10, 3, "int64")), [i(2, 3, dtype="int64")]),
    "arange_part": (lambda x: op.add(x, op.arange(0.0, 0.75, 0.25, "float32")), [f(2, 3)]),
    "eye": (lambda x: op.add(x, op.eye(3, 4, 1)), [f(3, 4)]),
    "eye_int": (lambda x: op.add(x, op.eye(3, dtype="int32")), [i(3, 3)]),
    "eye_like": (op.eye_like, [f(3, 4)]),
    "hamming": (lambda x: op.add(x, op.hamming_window(5, True, 0.54, 0.46, "float32")), [f(5)]),
    "causal_mask": (
        lambda x: op.add(x, op.triu(op.full((4, 4), const(-np.inf)), 1)),
        [f(2, 4, 4)],
    ),
    "meshgrid": (lambda x, y: op.meshgrid([x, y]), [f(2), f(3)]),
    "constant_tuple": (
        lambda x: relax.Tuple([x, op.add(x, const(1.0)), op.zeros((2,), "float32")]),
        [f(2, 3)],
    ),
    "pad": (lambda x: op.nn.pad(x, [0, 0, 1, 2, 3, 0], pad_value=0.5), [f(*_CUBE)]),
    "pad_infinite": (lambda x: op.nn.pad(x, [0, 0, 1, 2, 3, 0], pad_value=-np.inf), [f(*_CUBE)]),
    "pad_int": (lambda x: op.nn.pad(x, [1, 0, 0, 2], pad_value=3), [i(2, 3)]),
    **{
        f"pad_{mode}": (
            lambda x, mode=mode: op.nn.pad(x, [0, 0, 0, 0, 1, 2, 3, 0], mode),
            [f(2, 3, 4, 5)],
        )
        for mode in ("reflect", "replicate", "circular")
    },
    **{
        f"pad_{mode}_line": (
            lambda x, mode=mode: op.nn.pad(x, [0, 0, 0, 0, 2, 1], mode),
            [f(2, 3, 4)],
        )
        for mode in ("reflect", "replicate", "circular")
    },
    **{
        f"pad_{mode}_all": (
            lambda x, mode=mode: op.nn.pad(x, [1, 0, 1, 1, 0, 2], mode),
            [f(2, 3, 4)],
        )
        for mode in ("reflect", "replicate", "circular")
    },
}
