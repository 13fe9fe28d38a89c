"""How a contraction runs on tensor cores: as a product of matrices, of which warps sum tiles.

Before  for n, h, w, c: for kernel, c_in: contract; then pad, bias, activation … as loops apart
After   rows are pixels (n, h, w), columns channels, and (kernel, c_in) is summed. A block of warps
        stages tiles of both factors in shared memory, by asynchronous copies several steps ahead;
        each warp multiplies fragments of 16 x 16 of them, and what is behind the contraction runs
        as sums are written. The image's matrix exists only in these tiles: it is padded, and its
        windows are laid side by side, as it is copied.

Source: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", arXiv:1410.0759, section 3;
        CUDA C++ Best Practices Guide, "Asynchronous copy from global memory to shared memory".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tvm.ir import Var
from tvm.s_tir import SBlock, Schedule
from tvm.s_tir.dlight.gpu.matmul import auto_inline_consumer_chain
from tvm.s_tir.schedule import SBlockRV
from tvm.tirx import IndexMap, IterVar
from tvm.tirx.analysis import undefined_vars

from ..kernels.compute import CONTRACT, DEPTH, PAD
from ..kernels.tensor_cores import OF_TYPE, SIDE, STAGED, SUMS, WRITTEN, TensorCore
from .contraction import extent_of, inline_behind
from .gpu_contraction import pad_apart, pads_by_what_it_reads

WARP = 32
_LEAST_ROWS = 8  # half of a fragment; fewer are done as well without
_WANTED_WARPS = 512  # in all: fewer leave a GPU waiting for its memory
_SHARED_BYTES = 48 * 2**10  # what every GPU gives a block unasked
_COPY_BYTES = 16  # the most that one asynchronous copy moves
_WRITTEN_AT_ONCE = 4
_MOST_FRAGMENTS = 8  # that a warp sums: each is 8 registers of a thread
_BANK_BYTES = 16  # between rows, so that neighbours are in other banks of shared memory


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
        item, padding = product.item_bytes, _BANK_BYTES
        first = rows * (depth * item + padding)
        long, short = (depth, columns) if product.core.transposed else (columns, depth)
        second = short * (long * item + padding)
        return self.stages * (first + second) + rows * (columns * 4 + padding)


@dataclass(frozen=True)
class _Axes:
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


def _axes_of(block: SBlock) -> _Axes:
    axes = [(axis.var, axis.iter_type, int(axis.dom.extent)) for axis in block.iter_vars]
    *rows, columns = [axis for axis, kind, _ in axes if kind == IterVar.DataPar]
    depth = [axis for axis, kind, _ in axes if kind == IterVar.CommReduce]
    return _Axes(rows, [columns], depth, {axis: extent for axis, _, extent in axes})


def product_of(sch: Schedule) -> Product | None:
    """The product that the one contraction in the function of `sch` is, or None.

    Grouped and depthwise convolutions are none, nor is what has few rows or types without a core.
    """
    names = [sch.get(b).name_hint for b in sch.get_child_blocks(sch.get_sblock("root"))]
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
    axes = _axes_of(block)
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


def schedule_tensor_cores(sch: Schedule, tile: WarpTile) -> None:
    """Schedule the one function of `sch`, which is a product, by `tile`.

    Raises ScheduleError or AssertionError where what is behind the contraction does not fit.
    """
    product = product_of(sch)
    assert product is not None
    core, contract = product.core, sch.get_sblock(CONTRACT)
    inline_behind(sch, contract)
    if str(sch.get(contract).reads[0].source.dtype) != core.read:
        sch.unsafe_set_dtype(PAD, 0, core.read)  # it widens them; the cores read them as stored
    _as_matrices(sch, contract, product, tile)

    outer, inner, loops = _tiled(sch, contract, tile)
    warp, step, fragment = loops
    for index in range(2):
        _stage(sch, outer, index, step, product, tile)
    if tile.stages > 1:
        sch.annotate(step, "software_pipeline_stage", [0, 0, tile.stages - 1])
        sch.annotate(step, "software_pipeline_order", [0, 1, 2])
        sch.annotate(step, "software_pipeline_async_stages", [0])
    for index, operand in enumerate("ab"):
        loaded = sch.cache_read(outer, index, f"wmma.matrix_{operand}")
        sch.compute_at(loaded, fragment)
        sch.tensorize(_fragments(sch, loaded), core.name(f"load_{operand}"))
    written = sch.cache_write(outer, 0, WRITTEN)
    stored = sch.cache_write(outer, 0, SUMS)
    sch.reverse_compute_at(stored, warp)
    sch.reverse_compute_at(written, warp)
    sch.storage_align(stored, 0, -2, 16, 4)
    start = sch.decompose_reduction(outer, step)
    sch.tensorize(_fragments(sch, stored), core.name("store"))
    sch.tensorize(sch.get_loops(sch.get_child_blocks(start)[0])[-2], core.name("fill"))
    sch.tensorize(sch.get_loops(inner)[-3], core.name("multiply"))
    _write(sch, written)


def _as_matrices(sch: Schedule, contract: SBlockRV, product: Product, tile: WarpTile) -> None:
    """Let the contraction read and write matrices of whole tiles, copied from or to what it is."""
    for place in (("read", 0), ("read", 1), ("write", 0)):
        sch.reindex(contract, place)
    if product.whole_steps:
        axes = _axes_of(sch.get(contract))
        channels, innermost = axes.depth[-2:]
        whole = tile.block[2] // axes.extents[innermost]
        sch.pad_einsum(contract, [whole if a.same_as(channels) else 1 for a in axes.extents])
    block = sch.get(contract)
    axes = _axes_of(block)
    rows, columns, depth = axes.rows, axes.columns, axes.depth
    second = (columns, depth) if product.core.transposed else (depth, columns)
    for place, region, groups in (
        (("read", 0), block.reads[0], (rows, depth)),
        (("read", 1), block.reads[1], second),
        (("write", 0), block.writes[0], (rows, columns)),
    ):
        sch.transform_layout(
            contract, place, axes.fused([index.min for index in region.region], *groups)
        )
    sch.transform_block_layout(contract, axes.fused(list(axes.extents), rows, columns, depth))
    sch.pad_einsum(contract, tile.block)


def _tiled(sch: Schedule, contract: SBlockRV, tile: WarpTile):
    """Split the product in blocks, warps and fragments.

    Gives the block of a fragment, what is within, and three loops: over the warps of a block, over
    the steps of the depth, and over the fragments of a step.
    """
    rows, columns, depth = (sch.split(loop, [None, SIDE]) for loop in sch.get_loops(contract))
    sch.reorder(rows[0], columns[0], depth[0], rows[1], columns[1], depth[1])
    outer = sch.blockize(rows[1])
    row_block, row_warp, row = sch.split(rows[0], [None, tile.row_warps, tile.rows])
    column_block, column_warp, column = sch.split(
        columns[0], [None, tile.column_warps, tile.columns]
    )
    step, fragment = sch.split(depth[0], [None, tile.depth])
    sch.reorder(row_block, column_block, row_warp, column_warp, step, fragment, row, column)
    sch.bind(row_block, "blockIdx.x")
    sch.bind(column_block, "blockIdx.y")
    warp = sch.fuse(row_warp, column_warp)
    sch.bind(warp, "threadIdx.y")
    return outer, contract, (warp, step, fragment)


def _stage(
    sch: Schedule, outer: SBlockRV, index: int, step, product: Product, tile: WarpTile
) -> None:
    """Copy what a block multiplies in a step to shared memory, all its threads side by side."""
    item = product.item_bytes
    side_by_side = product.channels if index == 0 else product.columns
    if index == 1 and product.core.transposed:
        side_by_side = 4  # of a column, as they are packed
    copy = sch.cache_read(outer, index, STAGED)
    sch.compute_at(copy, step)
    values = sch.fuse(*sch.get_loops(copy)[-2:])
    each = extent_of(sch, values) // (WARP * tile.warps)
    most = _COPY_BYTES // item
    if tile.stages == 1 and item == 1:
        most = 4  # a vector of more zeros of one byte TVM writes wrongly
    lanes = math.gcd(side_by_side, most, each)
    _, warp, thread, lane = sch.split(values, [None, tile.warps, WARP, lanes])
    sch.bind(warp, "threadIdx.y")
    sch.bind(thread, "threadIdx.x")
    sch.vectorize(lane)
    sch.storage_align(copy, 0, -2, 2 * _BANK_BYTES // item, _BANK_BYTES // item)
    _inline_ahead(sch, copy)


def _inline_ahead(sch: Schedule, copy: SBlockRV) -> None:
    """Let a copy read what the network has; padding that no copy can do is a kernel of its own."""
    for producer in sch.get_producers(copy):
        _inline_ahead(sch, producer)
        if sch.get(producer).name_hint == PAD and pads_by_what_it_reads(sch, producer):
            pad_apart(sch, producer)
        else:
            sch.compute_inline(producer)


def _fragments(sch: Schedule, block: SBlockRV):
    """Split the last two loops of a copy in fragments; gives the loop over one."""
    row, column = sch.get_loops(block)[-2:]
    rows, row = sch.split(row, [None, SIDE])
    columns, column = sch.split(column, [None, SIDE])
    sch.reorder(rows, columns, row, column)
    sch.unroll(rows)
    sch.unroll(columns)
    return row


def _write(sch: Schedule, written: SBlockRV) -> None:
    """Write a warp's sums, with all that is behind the contraction."""
    auto_inline_consumer_chain(sch, written)
    values = sch.fuse(*sch.get_loops(written)[-2:])
    _, thread, lane = sch.split(values, [None, WARP, _WRITTEN_AT_ONCE])
    sch.bind(thread, "threadIdx.x")
    sch.vectorize(lane)
