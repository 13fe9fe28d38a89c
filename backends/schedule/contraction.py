"""How a contraction runs on a CPU: one register tile of outputs at a time.

Before  for n, h, w, c: for kernel, c_in: contract; then pad, bias, activation … as loops apart
After   parallel over tiles of (w, c): the tile's sums stay in registers through the whole
        reduction, channels in vectors, and everything behind the contraction runs on the tile
Source  Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD
        Architectures", SC 2018, sections II-B to II-D.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tvm import IRModule
from tvm.s_tir import Schedule, renew_defs
from tvm.s_tir.schedule import SBlockRV
from tvm.s_tir.stmt import SBlock
from tvm.tirx import IterVar, PrimFunc

from ..kernels.compute import CONTRACT, DEPTH, PAD
from ..kernels.isa import Dot, InstructionSet
from ..kernels.sixteen_bit import BITS

# A reduction as short as a depthwise 5×5 is unrolled, so that neighbouring columns share what they
# read, and is padded as it reads: with so little to compute, a padded copy costs as much again.
_SHORT_REDUCTION = 25
# Waking the other threads and waiting for them costs microseconds. What writes fewer values than
# this runs on one thread; a contraction below so many multiply-adds is tried on one, too.
_LEAST_SHARED_VALUES = 16_384
_ALSO_SERIAL_MACS = 2_000_000
_SERIAL_TILES = 6


@dataclass(frozen=True, order=True)
class Tile:
    """The knobs: columns × channel blocks held in registers, and which of them is outermost.

    `serial` keeps to one thread.
    """

    columns: int
    blocks: int
    channels_outer: bool
    serial: bool = False


@dataclass(frozen=True)
class Shape:
    """What the knobs depend on."""

    columns: int
    channels: int
    lanes: int
    depth: int
    macs_count: int


def is_handwritten(function: PrimFunc) -> bool:
    """Whether a function comes with its own loops (TVM's cumsum and sort), not to be scheduled."""
    return str(function.body.block.name_hint) != "root"


def contraction_shape(function: PrimFunc, isa: InstructionSet) -> Shape | None:
    """The shape of the contraction in `function`, or None where there is none."""
    sch = new_schedule(function)
    if block_names(sch).count(CONTRACT) != 1:
        return None
    block = sch.get(sch.get_sblock(CONTRACT))
    spatial = [it for it in block.iter_vars if it.iter_type == IterVar.DataPar]
    if len(spatial) < 2:
        return None
    columns, channels = (int(it.dom.extent) for it in spatial[-2:])
    dot = dot_of(block, isa)
    lanes = dot.lanes if dot else isa.float_lanes
    macs_count = math.prod(int(it.dom.extent) for it in block.iter_vars)
    return Shape(columns, channels, math.gcd(lanes, channels), dot.depth if dot else 1, macs_count)


def block_names(sch: Schedule) -> list[str]:
    """The names of the blocks of a function, in order."""
    return [sch.get(b).name_hint for b in sch.get_child_blocks(sch.get_sblock("root"))]


def dot_of(block: SBlock, isa: InstructionSet) -> Dot | None:
    """The instruction that a contraction of packed low-bit values is made of."""
    if not block.iter_vars[-1].var.name.endswith(DEPTH):
        return None
    read = {str(region.source.dtype) for region in block.reads}
    if {"int8", "float32"} <= read:
        return None  # only the weights are low-bit: they are widened, and multiplied as floats
    return next((isa.dot(dtype) for dtype in ("int8", BITS) if dtype in read), None)


def _is_deep(block: SBlock) -> bool:
    """Whether a contraction reads several values of what is packed innermost."""
    last = block.iter_vars[-1]
    return last.var.name.endswith(DEPTH) and int(last.dom.extent) > 1


def new_schedule(function: PrimFunc) -> Schedule:
    """A schedule of a copy: TVM's schedules write to the function that they are given."""
    copied = renew_defs(function).without_attr("global_symbol")
    return Schedule(IRModule({"main": copied.with_attr("global_symbol", "main")}))


def tiles(shape: Shape, isa: InstructionSet) -> tuple[Tile, ...]:
    """Every tile worth trying, the one expected fastest first (it is used where none is tuned).

    A tile keeps columns × blocks sums in registers and reads blocks weights and one input for
    each step, so few loads a sum: the expected speed is its share of arithmetic, with a discount
    for tiles too small to hide the latency of the multiply-add. Where there is little to compute,
    the first few are there on one thread, too.
    """
    budget = isa.register_count - 4
    blocks_total = shape.channels // shape.lanes
    found = [
        Tile(columns, blocks, channels_outer)
        for columns in divisors(shape.columns)
        for blocks in divisors(blocks_total)
        if columns * blocks <= budget and blocks <= 8
        for channels_outer in (True, False)
    ]
    found.sort(key=_expected_cost)
    if shape.macs_count >= _ALSO_SERIAL_MACS:
        return tuple(found)
    likely, rest = found[:_SERIAL_TILES], found[_SERIAL_TILES:]
    return (*likely, *(replace(tile, serial=True) for tile in likely), *rest)


def _expected_cost(tile: Tile) -> tuple[float, bool]:
    sums = tile.columns * tile.blocks
    loads = (tile.columns + tile.blocks) / sums
    latency = max(0.0, 8 / sums - 1)
    return loads + latency, not tile.channels_outer


def divisors(extent: int, most: int | None = None) -> list[int]:
    """What divides an extent, up to `most`."""
    return [d for d in range(1, min(extent, most or extent) + 1) if extent % d == 0]


def schedule_contraction(sch: Schedule, tile: Tile, isa: InstructionSet) -> None:
    """Schedule the one function of `sch` by `tile`; raises ScheduleError where it does not fit."""
    contract = sch.get_sblock(CONTRACT)
    block = sch.get(contract)
    dot = dot_of(block, isa)
    intrinsic = dot.intrinsic if dot else None
    lanes = dot.lanes if dot else isa.float_lanes
    *lead, columns, channels = loops_of(sch, contract, IterVar.DataPar)
    lanes = math.gcd(lanes, extent_of(sch, channels))
    reduction = loops_of(sch, contract, IterVar.CommReduce)
    taps = math.prod(extent_of(sch, loop) for loop in reduction)
    short = taps <= _SHORT_REDUCTION and intrinsic is None
    epilogue = _inline_between(sch, contract, pads_apart=not short, serial=tile.serial)

    column_tiles, column = tile_loop(sch, columns, tile.columns)
    channel_groups, lane = sch.split(channels, [None, lanes])
    channel_tiles, channel_blocks = tile_loop(sch, channel_groups, tile.blocks)
    if tile.channels_outer:
        outer = [channel_tiles, *lead, column_tiles]
    else:
        outer = [*lead, column_tiles, channel_tiles]
    inner = [column, channel_blocks, lane]
    if intrinsic:
        sch.reorder(*outer, *reduction[:-1], *inner, reduction[-1])
    else:
        sch.reorder(*outer, *reduction, *inner)
    run_on_tile(sch, epilogue, contract, outer, lanes)
    sch.unroll(column)
    sch.unroll(channel_blocks)
    if intrinsic is None:
        sch.vectorize(lane)
    tiles_loop = sch.fuse(*outer)
    if not tile.serial:
        sch.parallel(tiles_loop)
    start = sch.decompose_reduction(contract, reduction[0])
    if short:
        for loop in reduction:
            sch.unroll(loop)
    elif intrinsic is None and _is_deep(block):
        sch.unroll(reduction[-1])
    if intrinsic:
        sch.vectorize(sch.get_loops(start)[-1])
        sch.tensorize(lane, intrinsic)


def run_on_tile(sch: Schedule, epilogue: SBlockRV, contract: SBlockRV, outer, lanes) -> None:
    """Run what follows the contraction on the tile while it is in registers."""
    sch.reverse_compute_at(epilogue, outer[-1], preserve_unit_loops=True)
    sch.set_scope(contract, 0, "local")
    *tile_loops, channel = sch.get_loops(epilogue)[len(outer) :]
    if extent_of(sch, channel) % lanes == 0:
        blocks, lane = sch.split(channel, [None, lanes])
        sch.vectorize(lane)
        tile_loops.append(blocks)
    for loop in tile_loops:
        sch.unroll(loop)


def _inline_between(
    sch: Schedule, contract: SBlockRV, *, pads_apart: bool, serial: bool
) -> SBlockRV:
    """Inline every block around the contraction; padding too, or run it apart.

    Returns the block that writes the output (`inline_behind`).
    """
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    names = [sch.get(block).name_hint for block in blocks]
    here = names.index(CONTRACT)
    for block, name in zip(blocks[:here], names[:here], strict=True):
        if name == PAD and pads_apart:
            schedule_spatial(sch, block, lanes=32, serial=serial)
        else:
            sch.compute_inline(block)
    return inline_behind(sch, contract)


def inline_behind(sch: Schedule, contract: SBlockRV) -> SBlockRV:
    """Inline every block between the contraction and the output, and give the one that writes it.

    That is a copy where the contraction wrote it itself.
    """
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    names = [sch.get(block).name_hint for block in blocks]
    behind = blocks[names.index(CONTRACT) + 1 :]
    if not behind:
        return sch.cache_write(contract, 0, "local")
    for block in behind[:-1]:
        sch.compute_inline(block)
    return behind[-1]


def schedule_spatial(sch: Schedule, block: SBlockRV, lanes: int, serial: bool = False) -> None:
    """Vectors over the last loop of an elementwise block, threads over the others."""
    *outer, last = sch.get_loops(block)
    width = math.gcd(extent_of(sch, last), lanes)
    serial = serial or is_small(sch, block)
    if width > 1:
        sch.vectorize(sch.split(last, [None, width])[1])
    if outer and not serial:
        sch.parallel(sch.fuse(*outer))


def is_small(sch: Schedule, block: SBlockRV) -> bool:
    """Whether a block is done before other threads are awake."""
    return math.prod(extent_of(sch, loop) for loop in sch.get_loops(block)) < _LEAST_SHARED_VALUES


def tile_loop(sch: Schedule, loop, inner: int):
    """Split a loop by a sampled factor: a knob that a record keeps as a decision.

    So what was found for one shape can be carried over to another (`tuning/transfer.py`).
    """
    decision = [extent_of(sch, loop) // inner, inner]
    factors = sch.sample_perfect_tile(loop, 2, max_innermost_factor=0, decision=decision)
    return sch.split(loop, factors)


def loops_of(sch: Schedule, block: SBlockRV, kind: int):
    """The loops of a block whose iteration variables are of one kind, outermost first."""
    variables = sch.get(block).iter_vars
    loops = sch.get_loops(block)
    return [loop for loop, var in zip(loops, variables, strict=True) if var.iter_type == kind]


def extent_of(sch: Schedule, loop) -> int:
    """How often a loop runs."""
    return int(sch.get(loop).extent)
