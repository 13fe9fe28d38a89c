"""Small arrays, and constants, for forms."""

from __future__ import annotations

import numpy as np
from tvm import relax


def f(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Normal floats; their second decimals tell a wrong axis from a right one."""
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


def positive(*shape: int) -> np.ndarray:
    return np.abs(f(*shape)) + np.float32(0.1)


def inside(*shape: int) -> np.ndarray:
    """Floats between -1 and 1."""
    return np.random.default_rng(3).uniform(-0.95, 0.95, shape).astype(np.float32)


def i(*shape: int, low: int = -9, high: int = 9, dtype: str = "int32") -> np.ndarray:
    return np.random.default_rng(1 + len(shape)).integers(low, high, shape).astype(dtype)


def b(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 2, shape).astype(bool)


def const(value: object, dtype: str = "float32") -> relax.Expr:
    return relax.const(np.array(value, dtype), dtype)
