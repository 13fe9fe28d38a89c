"""A contraction as a product of matrices, and the tiles by which tensor cores may do it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tvm.ir import Var
from tvm.s_tir import SBlock, Schedule
from tvm.tirx import IndexMap, IterVar
from tvm.tirx.analysis import undefined_vars

from ..kernels.compute import CONTRACT, DEPTH, PAD
from ..kernels.tensor_cores import OF_TYPE, SIDE, TensorCore
from .contraction import block_names

WARP = 32
_LEAST_ROWS = 8  # half of a fragment; fewer are done as well without
_WANTED_WARPS = 512  # in all: fewer leave a GPU waiting for its memory
_SHARED_BYTES = 48 * 2**10  # what every GPU gives a block unasked
_MOST_FRAGMENTS = 8  # that a warp sums: each is 8 registers of a thread
BANK_BYTES = 16  # between rows, so that neighbours are in other banks of shared memory


@dataclass(frozen=True)
class Product:
    """A contraction as a product of matrices: `rows` x `depth` by `depth` x `columns`.

    The depth is `taps` of a window, `channels` for each: these lie side by side in the image.
    """

    core: TensorCore
    rows: int
    columns: int
    taps: int
    channels: int

    @property
    def whole_steps(self) -> bool:
        """Whether a step is channels of one tap, so that threads copy several at once."""
        return self.channels >= SIDE

    def steps(self, depth: int) -> int:
        """How many steps of `depth` there are."""
        if self.whole_steps:
            return self.taps * math.ceil(self.channels / depth)
        return math.ceil(self.taps * self.channels / depth)

    @property
    def item_bytes(self) -> int:
        """Of what is multiplied."""
        return 2 if self.core.read == "float16" else 1


@dataclass(frozen=True)
class WarpTile:
    """The knobs: warps of a block, fragments of a warp, by rows and columns; the depth of a step.

    `depth` counts fragments; `stages` is how many steps are in shared memory, one of them read.
    """

    row_warps: int
    column_warps: int
    rows: int
    columns: int
    depth: int
    stages: int

    @property
    def block(self) -> tuple[int, int, int]:
        """Rows, columns and depth of what a block holds."""
        rows, columns = self.row_warps * self.rows, self.column_warps * self.columns
        return SIDE * rows, SIDE * columns, SIDE * self.depth

    @property
    def warps(self) -> int:
        """Of a block."""
        return self.row_warps * self.column_warps

    def shared_bytes(self, product: Product) -> int:
        """What a block keeps in shared memory: the staged tiles, and its sums."""
        rows, columns, depth = self.block
        item, padding = product.item_bytes, BANK_BYTES
        first = rows * (depth * item + padding)
        long, short = (depth, columns) if product.core.transposed else (columns, depth)
        second = short * (long * item + padding)
        return self.stages * (first + second) + rows * (columns * 4 + padding)


@dataclass(frozen=True)
class Axes:
    """What a contraction goes over: pixels, channels, and what it sums; and the extent of each."""

    rows: list[Var]
    columns: list[Var]
    depth: list[Var]
    extents: dict[Var, int]

    def count(self, axes: Sequence[Var]) -> int:
        """How many places there are over `axes`."""
        return math.prod(self.extents[axis] for axis in axes)

    def fused(self, over: Sequence[Var], *groups: Sequence[Var]) -> IndexMap:
        """From indices by the axes `over` to one index for each group; others have one place."""

        def indices(*values):
            at = dict(zip(over, values, strict=True))
            return [self._fuse(group, at) for group in groups]

        index_dtype = str(self.columns[0].ty.dtype)
        return IndexMap.from_func(indices, ndim=len(over), index_dtype=index_dtype)

    def _fuse(self, group, at):
        index = 0
        for axis in group:
            index = index * self.extents[axis] + at.get(axis, 0)
        return index


def axes_of(block: SBlock) -> Axes:
    """What the block of a contraction goes over."""
    axes = [(axis.var, axis.iter_type, int(axis.dom.extent)) for axis in block.iter_vars]
    *rows, columns = [axis for axis, kind, _ in axes if kind == IterVar.DataPar]
    depth = [axis for axis, kind, _ in axes if kind == IterVar.CommReduce]
    return Axes(rows, [columns], depth, {axis: extent for axis, _, extent in axes})


def product_of(sch: Schedule) -> Product | None:
    """The product that the one contraction in the function of `sch` is, or None.

    Grouped and depthwise convolutions are none, nor is what has few rows or types without a core.
    """
    names = block_names(sch)
    if names.count(CONTRACT) != 1:
        return None
    block = sch.get(sch.get_sblock(CONTRACT))
    if not block.iter_vars[-1].var.name.endswith(DEPTH):
        return None
    image, weight = block.reads
    core = OF_TYPE.get(str(weight.source.dtype))
    first = sch.get(sch.get_sblock(PAD)).reads[0] if PAD in names else image
    if core is None or str(first.source.dtype) != core.read:
        return None  # the weights alone are stored in few bits
    axes = axes_of(block)
    read_by = {var for region in image.region for var in undefined_vars(region.min)}
    rows = axes.count(axes.rows)
    if axes.columns[0] in read_by or rows < _LEAST_ROWS:
        return None  # each group of channels reads others
    columns, taps, channels = map(axes.count, (axes.columns, axes.depth[:-2], axes.depth[-2:]))
    return Product(core, rows, columns, taps, channels)


def warp_tiles(product: Product) -> tuple[WarpTile, ...]:
    """Every tile worth trying, the one expected fastest first (it is used where none is tuned)."""
    found = [
        WarpTile(row_warps, column_warps, rows, columns, depth, stages)
        for row_warps, column_warps in ((1, 1), (1, 2), (2, 1), (2, 2), (1, 4), (4, 1))
        for rows in (1, 2, 4)
        for columns in (1, 2, 4)
        if rows * columns <= _MOST_FRAGMENTS
        for depth in (1, 2, 4)
        for stages in (1, 2, 3, 4)
    ]
    fitting = [tile for tile in found if _fits(tile, product)]
    return tuple(sorted(fitting, key=lambda tile: _expected_cost(tile, product)))


def _fits(tile: WarpTile, product: Product) -> bool:
    """Whether a block has the memory, each thread something to copy, and each stage a step."""
    rows, columns, depth = tile.block
    copied = min(rows, columns) * depth
    waits = tile.stages <= product.steps(depth)
    return waits and copied >= WARP * tile.warps and tile.shared_bytes(product) <= _SHARED_BYTES


def _expected_cost(tile: WarpTile, product: Product) -> tuple[float, int, int]:
    rows, columns, depth = tile.block
    row_blocks, column_blocks = math.ceil(product.rows / rows), math.ceil(product.columns / columns)
    covered = row_blocks * rows * column_blocks * columns * product.steps(depth) * depth
    wasted = covered / (product.rows * product.columns * product.taps * product.channels)
    idle = max(0.0, math.log2(_WANTED_WARPS / (row_blocks * column_blocks * tile.warps)))
    loads = 1 / tile.rows + 1 / tile.columns + 16 / rows + 16 / columns
    waits = 1 / min(tile.stages, 3) + 1 / tile.depth
    return wasted * (1 + loads / 2 + waits / 2) + idle / 2, tile.stages, depth
