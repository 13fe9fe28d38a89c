"""How a Winograd convolution runs on a CPU: both transforms on vectors of channels, in registers.

Before  pad, input rows, input, contract, output rows, output, then bias, activation … as loops
After   three parallel steps. One transforms input tiles, one vector of channels at a time; one
        multiplies matrices, a register tile of (tiles × channels) sums at a time for each point;
        one transforms the sums back and runs everything behind the convolution on each tile.
"""

from __future__ import annotations

import math

from tvm.s_tir import Schedule
from tvm.s_tir.schedule import SBlockRV

from ..kernels import winograd
from ..kernels.compute import CONTRACT, PAD
from ..kernels.isa import InstructionSet
from .contraction import (
    Tile,
    extent_of,
    run_on_tile,
    schedule_contraction,
    schedule_spatial,
    tile_loop,
)


def is_winograd(sch: Schedule) -> bool:
    """Whether the one function of `sch` is a Winograd convolution."""
    return winograd.INPUT_TILES in _names(sch)


def schedule_winograd(sch: Schedule, tile: Tile, isa: InstructionSet) -> None:
    """Schedule the one function of `sch`, the matrix products by `tile`."""
    if PAD in _names(sch):
        schedule_spatial(sch, sch.get_sblock(PAD), lanes=32)
    _transform_input(sch, isa.float_lanes)
    _multiply(sch, tile, isa.float_lanes)
    _transform_output(sch, isa.float_lanes)


def _names(sch: Schedule) -> list[str]:
    return [sch.get(b).name_hint for b in sch.get_child_blocks(sch.get_sblock("root"))]


def _transform_input(sch: Schedule, lanes: int) -> None:
    block = sch.get_sblock(winograd.INPUT_TILES)
    point, position, channels = sch.get_loops(block)
    channels, lane = _split_vectors(sch, channels, lanes)
    sch.reorder(position, channels, point, lane)
    sch.unroll(point)
    sch.vectorize(lane)
    _compute_in_registers(sch, sch.get_sblock(winograd.INPUT_ROWS), channels)
    sch.parallel(sch.fuse(position, channels))


def _multiply(sch: Schedule, tile: Tile, lanes: int) -> None:
    contract = sch.get_sblock(CONTRACT)
    point, positions, channels, reduction = sch.get_loops(contract)
    sums = sch.cache_write(contract, 0, "local")
    position_tiles, position = tile_loop(sch, positions, tile.columns)
    groups, lane = _split_vectors(sch, channels, lanes)
    group_tiles, group = tile_loop(sch, groups, tile.blocks)
    inner = (group_tiles, position_tiles) if tile.channels_outer else (position_tiles, group_tiles)
    outer = [point, *inner]
    sch.reorder(*outer, reduction, position, group, lane)
    run_on_tile(sch, sums, contract, outer, lanes)
    sch.unroll(position)
    sch.unroll(group)
    sch.vectorize(lane)
    sch.parallel(sch.fuse(*outer))
    sch.decompose_reduction(contract, reduction)


def _transform_output(sch: Schedule, lanes: int) -> None:
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    behind = blocks[_names(sch).index(winograd.OUTPUT_TILES) :]
    for block in behind[:-1]:
        sch.compute_inline(block)
    image, y, x, channels = sch.get_loops(behind[-1])
    rows = sch.get_sblock(winograd.OUTPUT_ROWS)
    size = extent_of(sch, sch.get_loops(rows)[1])
    y, row = sch.split(y, [None, size])
    x, column = sch.split(x, [None, size])
    channels, lane = _split_vectors(sch, channels, lanes)
    sch.reorder(image, y, x, channels, row, column, lane)
    sch.unroll(row)
    sch.unroll(column)
    sch.vectorize(lane)
    _compute_in_registers(sch, rows, channels)
    sch.parallel(sch.fuse(image, y, x, channels))


def _split_vectors(sch: Schedule, channels, lanes: int):
    return sch.split(channels, [None, math.gcd(extent_of(sch, channels), lanes)])


def _compute_in_registers(sch: Schedule, block: SBlockRV, loop) -> None:
    """Compute the first half of a transform where the second half reads it."""
    sch.compute_at(block, loop)
    sch.set_scope(block, 0, "local")
    *unrolled, lane = sch.get_loops(block)[-3:]
    for extent in unrolled:
        sch.unroll(extent)
    sch.vectorize(lane)


def apply_template(sch: Schedule, tile: Tile, isa: InstructionSet) -> None:
    """Schedule the one function of `sch` by `tile`; raises ScheduleError where it does not fit."""
    if is_winograd(sch):
        schedule_winograd(sch, tile, isa)
    else:
        schedule_contraction(sch, tile, isa)
