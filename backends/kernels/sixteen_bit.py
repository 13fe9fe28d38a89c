"""Values of 16 bits in kernels: how they are stored, rounded and read.

bfloat16 is kept as its bits, in uint16: TVM's own lowering of the type is not used, as it rounds
NaN to infinity or zero. float16 is kept as itself, and LLVM converts it.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

# How each type of the network is kept, and what bits of uint16 are.
STORED = {"bfloat16": "uint16", "float16": "float16"}
BITS = "uint16"
_HALF = 16  # the bits of float32 that bfloat16 has not
_QUIET = 0x40  # makes a bfloat16 NaN of any bits


def stored(array: np.ndarray) -> np.ndarray:
    """A weight as kernels read it."""
    return array.view(BITS) if array.dtype.name == "bfloat16" else array


def float32_of(value: tirx.Expr, dtype: str) -> tirx.Expr:
    """The float32 that a value stored as `dtype` stands for."""
    if dtype != BITS:
        return value.astype("float32")
    return tirx.reinterpret("float32", value.astype("uint32") << tirx.const(_HALF, "uint32"))


def rounded_to(value: tirx.Expr, dtype: str) -> tirx.Expr:
    """A float32 in the stored type, to nearest, ties to even; NaN stays NaN."""
    if dtype != BITS:
        return value.astype(dtype)
    bits = tirx.reinterpret("uint32", value)
    high = bits >> tirx.const(_HALF, "uint32")
    below_half = tirx.const(2 ** (_HALF - 1) - 1, "uint32")
    odd = high & tirx.const(1, "uint32")
    nearest = (bits + below_half + odd) >> tirx.const(_HALF, "uint32")
    quiet = high | tirx.const(_QUIET, "uint32")
    return tirx.Select(tirx.isnan(value), quiet, nearest).astype(dtype)
