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

from tvm.s_tir import Schedule
from tvm.s_tir.dlight.gpu.matmul import auto_inline_consumer_chain
from tvm.s_tir.schedule import SBlockRV

from ..kernels.compute import CONTRACT, PAD
from ..kernels.tensor_cores import SIDE, STAGED, SUMS, WRITTEN
from .contraction import extent_of, inline_behind
from .gpu_contraction import pad_apart, pads_by_what_it_reads
from .gpu_product import BANK_BYTES, WARP, Product, WarpTile, axes_of, product_of

_COPY_BYTES = 16  # the most that one asynchronous copy moves
_WRITTEN_AT_ONCE = 4


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

    outer, warp, step, fragment = _tiled(sch, contract, tile)
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
    sch.tensorize(sch.get_loops(contract)[-3], core.name("multiply"))
    _write(sch, written)


def _as_matrices(sch: Schedule, contract: SBlockRV, product: Product, tile: WarpTile) -> None:
    """Let the contraction read and write matrices of whole tiles, copied from or to what it is."""
    for place in (("read", 0), ("read", 1), ("write", 0)):
        sch.reindex(contract, place)
    if product.whole_steps:
        axes = axes_of(sch.get(contract))
        channels, innermost = axes.depth[-2:]
        whole = tile.block[2] // axes.extents[innermost]
        sch.pad_einsum(contract, [whole if a.same_as(channels) else 1 for a in axes.extents])
    block = sch.get(contract)
    axes = axes_of(block)
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

    Gives the block of a fragment, and three loops: over the warps of a block, over the steps of the
    depth, and over the fragments of a step.
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
    return outer, warp, step, fragment


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
    sch.storage_align(copy, 0, -2, 2 * BANK_BYTES // item, BANK_BYTES // item)
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
