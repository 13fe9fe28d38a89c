"""3×3 convolutions by Winograd's minimal filtering: fewer multiplications, some transforms.

A tile of tile × tile outputs takes (tile + 2)² multiplications a channel pair where the direct
convolution takes 9 · tile²: 2.25 times fewer for F(2×2, 3×3), four times fewer for F(4×4, 3×3).
The transformed filters, made ahead, are larger in memory by as much as (tile + 2)² / 9.

Source  Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt, prod

import numpy as np
from tvm import te, tirx
from tvm.s_tir import SBlock

from .compute import CONTRACT, Window, first_channels, pad, shape_of
from .work import Work, extents

# Transforms of the input (B^T), filter (G) and output (A^T), by the tile's size.
_INPUT = {
    2: np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
    4: np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ]
    ),
}
_FILTER = {
    2: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    4: np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    ),
}
_OUTPUT = {
    2: np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
    4: np.array(
        [
            [1, 1, 1, 1, 1, 0],
            [0, 1, -1, 2, -2, 0],
            [0, 1, 1, 4, 4, 0],
            [0, 1, -1, 8, -8, 1],
        ]
    ),
}
_TAPS = 9  # of the 3×3 filter
# Blocks by which the schedule finds the transforms.
INPUT_ROWS, INPUT_TILES, OUTPUT_ROWS, OUTPUT_TILES, CROP = (
    "winograd_input_rows",
    "winograd_input",
    "winograd_output_rows",
    "winograd_output",
    "crop",
)


def pack_winograd(weight: np.ndarray, lanes: int, tile: int) -> np.ndarray:
    """Transform and pack (c_out, c_in, 3, 3) to (points, c_out/lanes, c_in, lanes), float32."""
    g = _FILTER[tile]
    transformed = np.einsum("ia,ocab,jb->ijoc", g, weight.astype(np.float64), g)
    points = transformed.reshape(-1, *weight.shape[:2])
    points = np.pad(points, ((0, 0), (0, -weight.shape[0] % lanes), (0, 0)))
    blocks = points.reshape(len(points), -1, lanes, weight.shape[1])
    return np.ascontiguousarray(blocks.transpose(0, 1, 3, 2), dtype=np.float32)


def winograd_conv2d(x: te.Tensor, weight: te.Tensor, *, window: Window, channels: int, tile: int):
    """Convolve x (n, h, w, c_in) by a filter that `pack_winograd` made, stride and dilation 1.

    Returns (n, oh, ow, channels), float32.
    """
    n, h, w, c = shape_of(x)
    points, blocks, _, lanes = shape_of(weight)
    span = _span(tile)
    oh, ow = window.output_size(x, (3, 3))
    rows, columns = -(-oh // tile), -(-ow // tile)
    top, left, _, _ = window.padding
    bottom, right = rows * tile + 2 - h - top, columns * tile + 2 - w - left
    padded = pad(x, (top, left, bottom, right), c)
    read, written = _INPUT[tile], _OUTPUT[tile]

    row_transformed = te.compute(
        (n * rows * columns, span, span, c),
        lambda p, i, j, ch: _combination(
            read,
            i,
            lambda k: padded[
                p // (rows * columns),
                p // columns % rows * tile + k,
                p % columns * tile + j,
                ch,
            ],
        ),
        name=INPUT_ROWS,
    )
    transformed = te.compute(
        (points, n * rows * columns, c),
        lambda q, p, ch: _combination(
            read, q % span, lambda k: row_transformed[p, q // span, k, ch]
        ),
        name=INPUT_TILES,
    )
    rc = te.reduce_axis((0, c), "rc")
    products = te.compute(
        (points, n * rows * columns, blocks * lanes),
        lambda q, p, ch: te.sum(
            transformed[q, p, rc] * weight[q, ch // lanes, rc, ch % lanes], axis=[rc]
        ),
        name=CONTRACT,
    )
    row_sums = te.compute(
        (n * rows * columns, tile, span, blocks * lanes),
        lambda p, i, j, ch: _combination(written, i, lambda k: products[k * span + j, p, ch]),
        name=OUTPUT_ROWS,
    )
    tiles = te.compute(
        (n, rows * tile, columns * tile, blocks * lanes),
        lambda b, y, z, ch: _combination(
            written,
            z % tile,
            lambda k: row_sums[(b * rows + y // tile) * columns + z // tile, y % tile, k, ch],
        ),
        name=OUTPUT_TILES,
    )
    if (oh, ow) != (rows * tile, columns * tile):
        tiles = te.compute((n, oh, ow, blocks * lanes), lambda *i: tiles(*i), name=CROP)
    return first_channels(tiles, channels)


def _span(tile: int) -> int:
    """Rows, and columns, of the inputs and of the products of a tile: span² points."""
    return tile + 2


def work_of(blocks: Mapping[str, SBlock]) -> Work | None:
    """How much the kernel computes whose blocks these are; None where it is another kernel."""
    if INPUT_TILES not in blocks:
        return None
    points, *_, inputs = products = extents(blocks[CONTRACT])
    tile = next(tile for tile in _INPUT if _span(tile) == isqrt(points))
    outputs = prod(extents(blocks.get(CROP, blocks[OUTPUT_TILES])))
    return Work(
        kernel=f"winograd F({tile}x{tile})",
        macs_count=outputs * _TAPS * inputs,
        performed_macs_count=prod(products),
    )


def _combination(matrix: np.ndarray, row: tirx.Expr, value):
    """The sum over k of matrix[row, k] · value(k); what is zero goes once `row` is unrolled."""
    terms = [_entry(matrix[:, k], row) * value(k) for k in range(matrix.shape[1])]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _entry(column: np.ndarray, row: tirx.Expr):
    """`column[row]` of a constant column."""
    found = tirx.const(float(column[-1]), "float32")
    for index in range(len(column) - 2, -1, -1):
        found = tirx.Select(row == index, tirx.const(float(column[index]), "float32"), found)
    return found
