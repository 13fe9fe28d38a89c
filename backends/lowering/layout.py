"""How a value of three to five axes is kept as an image, channels last.

(n, c, w)           (n, 1, w, c)
(n, c, h, w)        (n, h, w, c)
(n, c, d, h, w)     (n, d·h, w, c)      frames, one below the other

So all that works on images works on these, and the memory is that of channels last throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

RANKS = (3, 4, 5)
"""The numbers of axes of what can be kept so."""


def channels_last(rank: int) -> tuple[int, ...]:
    """The order of axes that brings the channels of (n, c, *places) to the end."""
    return (0, *range(2, rank), 1)


def channels_first(rank: int) -> tuple[int, ...]:
    """The order of axes that brings them back; also where each axis is, channels last."""
    return (0, rank - 1, *range(1, rank - 1))


def whole_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of (n, c, *places), channels last."""
    return (shape[0], *shape[2:], shape[1])


def image_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """The shape of the image that is kept of (n, c, *places)."""
    return (shape[0], prod(shape[2:-1]), shape[-1], shape[1])


def shape_with_axes(shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of an image of (n, c, *places) that has each of its axes, and where each is.

    An image itself, unless its rows are frames.
    """
    if len(shape) == 3:
        return image_shape(shape), (0, 3, 2)
    return whole_shape(shape), channels_first(len(shape))


def fits_image(shape: Sequence[int], whole: Sequence[int]) -> bool:
    """Whether what is broadcast to `whole` is broadcast as images, too."""
    if len(whole) < 5 or len(shape) < 4:
        return True
    rows, all_rows = list(shape[-3:-1]), list(whole[-3:-1])
    return len(shape) == len(whole) and (rows == all_rows or prod(rows) == 1)
