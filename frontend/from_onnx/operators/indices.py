"""Places along an axis: negative ones count from the end, and none may lie outside.

Constant places are checked and made positive at import. Computed ones cannot be refused as the
network runs, so they are brought into range: built code never reads beyond a tensor.
"""

from __future__ import annotations

import numpy as np
from tvm import relax
from tvm.ir import GenericConst


def within(places: relax.Expr, length: int) -> relax.Expr:
    """Return places from 0 to length - 1: constants checked, computed ones guarded.

    Raises:
        ValueError: a constant place lies outside the axis.

    """
    if isinstance(places, GenericConst):
        return relax.const(checked(places.value.numpy(), length), "int64")
    dtype = str(places.ty.dtype)
    if not dtype.startswith("uint"):
        negative = relax.op.less(places, relax.const(0, dtype))
        wrapped = relax.op.add(places, relax.const(length, dtype))
        places = relax.op.where(negative, wrapped, places)
        places = relax.op.maximum(places, relax.const(0, dtype))
    return relax.op.minimum(places, relax.const(length - 1, dtype))


def take(x: relax.Expr, places: relax.Expr, axis: int) -> relax.Expr:
    """Take along an axis; TVM's own default reads beyond the tensor where a place lies there."""
    return relax.op.take(x, places, axis, mode="clip")


def checked(places: np.ndarray, length: int) -> np.ndarray:
    """Return constant places as int64 from 0 to length - 1."""
    places = places.astype(np.int64)
    if places.size and not -length <= places.min() <= places.max() < length:
        raise ValueError(f"an index is outside the {length} elements of its axis")
    return np.where(places < 0, places + length, places)
