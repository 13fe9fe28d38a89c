"""Whether two weights are one."""

from __future__ import annotations

import numpy as np


def is_same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Whether two arrays are of one type and shape, and equal bit for bit; None is None alone."""
    if a is None or b is None:
        return a is b
    return a is b or (a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
