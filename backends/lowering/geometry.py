"""How a convolution moves over the image that is kept of what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..kernels.window import Frames, Window

_TILES = range(4, 13)
"""Columns of outputs that registers hold well."""


def spare_columns(width: int) -> int:
    """How many more outputs of a line are computed, so that tiles of several columns cover it.

    Lines have lengths such as 397, a prime: column by column, the sums would wait for each other.
    """
    if width < _TILES.stop or any(width % columns == 0 for columns in _TILES):
        return 0
    return -width % _TILES.start


def wider(window: Window, more: int) -> Window:
    """The window that gives some columns more."""
    top, left, bottom, right = window.padding
    return replace(window, padding=(top, left, bottom, right + more * window.strides[1]))


def window_of(attrs, shape: Sequence[int], kernel: Sequence[int]) -> Window:
    """The geometry of a convolution of x (n, c, *places), of whose image it is."""
    strides, padding, dilation = (
        [int(v) for v in values] for values in (attrs.strides, attrs.padding, attrs.dilation)
    )
    return image_window(strides, padding, dilation, shape, kernel)


def image_window(
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    shape: Sequence[int],
    kernel: Sequence[int],
) -> Window:
    """The same from figures for each axis."""
    rank = len(kernel)
    starts, ends = padding[:rank], padding[rank:]
    if rank == 1:
        return Window(
            strides=(1, strides[0]),
            padding=(0, starts[0], 0, ends[0]),
            dilation=(1, dilation[0]),
        )
    frames = None
    if rank == 3:
        frames = Frames(
            places=(shape[2], shape[3]),
            kernel=(kernel[0], kernel[1]),
            stride=strides[0],
            padding=(starts[0], ends[0]),
            dilation=dilation[0],
        )
    return Window(
        strides=(strides[-2], strides[-1]),
        padding=(starts[-2], starts[-1], ends[-2], ends[-1]),
        dilation=(dilation[-2], dilation[-1]),
        frames=frames,
    )
