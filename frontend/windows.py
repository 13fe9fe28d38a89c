"""Where the elements of windows lie in an image: any number of axes, any step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def places_of_windows(
    image: Sequence[int],
    kernel: Sequence[int],
    steps: Sequence[int],
    before: Sequence[int],
    counts: Sequence[int],
    dilations: Sequence[int],
) -> np.ndarray:
    """Give the place in the flattened image of each element of each window; -1 lies outside.

    (windows, elements), int64, both in row-major order; `before` is the padding at the start,
    `counts` how many windows there are along each axis.
    """
    places, outside = np.zeros((1, 1), np.int64), np.zeros((1, 1), bool)
    for axis, length in enumerate(image):
        starts = np.arange(counts[axis]) * steps[axis] - before[axis]
        at = starts[:, None] + np.arange(kernel[axis]) * dilations[axis]
        beside = (at < 0) | (at >= length)
        rows, columns = places.shape[0] * len(at), places.shape[1] * kernel[axis]
        places = (places[:, None, :, None] * length + at[None, :, None, :]).reshape(rows, columns)
        outside = (outside[:, None, :, None] | beside[None, :, None, :]).reshape(rows, columns)
    return np.where(outside, -1, places)
