"""Compares the outputs of networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def assert_close(
    found: Sequence[np.ndarray], expected: Sequence[np.ndarray], ratio: float = 1e-4
) -> None:
    """Each within `ratio` of the largest value, of the same shape and type."""
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        assert (f.shape, f.dtype) == (e.shape, e.dtype)
        np.testing.assert_allclose(f, e, rtol=ratio, atol=ratio * max(1, np.abs(e).max(initial=0)))
