"""How a contraction runs on a GPU: one register tile of outputs for each thread.

Before  for n, h, w, c: for kernel, c_in: contract; then pad, bias, activation … as loops apart
After   a group of threads for a block of (h, w, c); a thread sums rows × columns × channels in
        registers through the whole reduction, channels in vectors of four, and what is behind the
        contraction runs on what it holds. What it reads of the image is padded on the way.

No local memory and no barrier: neighbouring threads read neighbouring channels of a weight, and the
same pixels, which the caches of a GPU for phones serve as well as its local memory, which is the
same memory there.

Source: Arm, "Mali GPU OpenCL Developer Guide", chapters 8 and 9; Volkov, "Better performance at
        lower occupancy", GTC 2010.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm.s_tir import Schedule
from tvm.s_tir.schedule import SBlockRV, Trace
from tvm.tirx import IterVar

from ..kernels import intrinsics
from ..kernels.compute import CONTRACT, DEPTH, PAD
from ..kernels.isa import VECTOR, InstructionSet
from .contraction import (
    block_names,
    divisors,
    dot_of,
    extent_of,
    inline_behind,
    loops_of,
    run_on_tile,
)

MOST_SUMS = 32
"""Of four bytes: half the registers that a thread of a Mali has while as many as can be run."""
MOST_THREADS = 256
_CHANNEL_STEP = 4  # input channels that are read at once
_PARTS = 3  # of a loop: groups, threads, what a thread does
_WANTED_THREADS = 4096  # in all: fewer leave a GPU waiting for its memory


@dataclass(frozen=True)
class GpuShape:
    """What the knobs depend on: the extents of what a function writes, and what it sums over."""

    images: int
    rows: int
    columns: int
    channels: int
    taps: int

    @property
    def lanes(self) -> int:
        """Channels in a vector."""
        return math.gcd(self.channels, VECTOR)


@dataclass(frozen=True)
class GpuTile:
    """The knobs: what a thread sums (`row`, `column`, `vectors`), and how many are a group."""

    row_threads: int
    row: int
    column_threads: int
    column: int
    vector_threads: int
    vectors: int

    @property
    def threads(self) -> int:
        """Threads in a group."""
        return self.row_threads * self.column_threads * self.vector_threads

    def sums(self, lanes: int) -> int:
        """What a thread keeps in registers."""
        return self.row * self.column * self.vectors * lanes


def gpu_shape(sch: Schedule) -> GpuShape | None:
    """The shape of the one contraction in the function of `sch`, or None where there is none."""
    if block_names(sch).count(CONTRACT) != 1:
        return None
    contract = sch.get_sblock(CONTRACT)
    extents = [extent_of(sch, loop) for loop in loops_of(sch, contract, IterVar.DataPar)]
    if len(extents) < 2:
        return None
    *lead, columns, channels = extents
    rows = lead.pop() if lead and _shares_weights(sch, contract) else 1
    taps = math.prod(extent_of(sch, loop) for loop in loops_of(sch, contract, IterVar.CommReduce))
    return GpuShape(math.prod(lead), rows, columns, channels, taps)


def _shares_weights(sch: Schedule, contract: SBlockRV) -> bool:
    """Whether all rows are multiplied by the same: not in a product of two activations."""
    return _names(sch, contract) != ["rc"]


def _names(sch: Schedule, contract: SBlockRV) -> list[str]:
    """What a contraction sums over, by the names that its kernel gives."""
    variables = sch.get(contract).iter_vars
    summed = [v for v in variables if v.iter_type == IterVar.CommReduce]
    return [v.var.name.removeprefix("v_") for v in summed]


def gpu_tiles(shape: GpuShape, most_threads: int = MOST_THREADS) -> tuple[GpuTile, ...]:
    """Every tile worth trying, the one expected fastest first (it is used where none is tuned).

    `most_threads` is what the device allows in a group.

    For each step of the reduction a thread reads `vectors` of the weight, and a pixel's channels
    four at a time: the fewer reads for what it multiplies, the better, as long as there are threads
    enough to keep the GPU busy, in groups of many.
    """
    found = [
        GpuTile(row_threads, row, column_threads, column, vector_threads, vectors)
        for row in divisors(shape.rows, 4)
        for column in divisors(shape.columns, 8)
        for vectors in divisors(shape.channels // shape.lanes, 4)
        if row * column * vectors * shape.lanes <= MOST_SUMS
        for vector_threads in divisors(shape.channels // shape.lanes // vectors, 64)
        for column_threads in divisors(shape.columns // column, 32)
        for row_threads in divisors(shape.rows // row, 8)
        if row_threads * column_threads * vector_threads <= min(most_threads, MOST_THREADS)
    ]
    return tuple(sorted(found, key=lambda tile: _expected_cost(tile, shape)))


def _expected_cost(tile: GpuTile, shape: GpuShape) -> tuple[float, int]:
    sums = tile.row * tile.column
    loads = 1 / sums + 1 / (VECTOR * tile.vectors)
    vectors = shape.images * shape.rows * shape.columns * shape.channels // shape.lanes
    threads = vectors / (sums * tile.vectors)
    idle = max(0.0, math.log2(_WANTED_THREADS / threads))
    alone = max(0.0, math.log2(64 / tile.threads)) + max(0.0, math.log2(8 / tile.vector_threads))
    return 1 + loads + idle / 2 + alone / 4, tile.threads


def schedule_gpu_contraction(sch: Schedule, tile: GpuTile, isa: InstructionSet) -> None:
    """Schedule the one function of `sch` by `tile`; raises ScheduleError where it does not fit."""
    contract = sch.get_sblock(CONTRACT)
    names = _names(sch, contract)
    *lead, columns, channels = loops_of(sch, contract, IterVar.DataPar)
    reduction = dict(zip(names, loops_of(sch, contract, IterVar.CommReduce), strict=True))
    lanes = math.gcd(extent_of(sch, channels), VECTOR)
    shared = bool(lead) and _shares_weights(sch, contract)
    rows = lead.pop() if shared else sch.add_unit_loop(columns)
    epilogue = inline_behind(sch, contract)
    image = _image(sch, contract, isa)

    row_groups, row_thread, row = _parts(sch, rows, tile.row_threads, tile.row)
    column_groups, column_thread, column = _parts(sch, columns, tile.column_threads, tile.column)
    vectors, lane = sch.split(channels, [None, lanes])
    groups, thread, vector = _parts(sch, vectors, tile.vector_threads, tile.vectors)
    dot = dot_of(sch.get(contract), isa)
    intrinsic = dot.intrinsic if dot and lanes == dot.lanes else None
    depth = [reduction.pop(DEPTH)] if intrinsic else []
    steps, within = _steps(sch, reduction)
    above = [*lead, row_groups, column_groups]
    outer = [*above, groups, row_thread, column_thread, thread]
    sch.reorder(*outer, *steps, *within, row, column, vector, lane, *depth)
    _read_ahead(sch, image, steps[-1])
    run_on_tile(sch, epilogue, contract, outer, lanes)
    sch.bind(sch.fuse(*above), "blockIdx.x")  # the only axis that CUDA lets be as long as any image
    sch.bind(groups, "blockIdx.y")
    for loop, axis in ((thread, "x"), (column_thread, "y"), (row_thread, "z")):
        sch.bind(loop, f"threadIdx.{axis}")
    for loop in (*within, row, column, vector):
        sch.unroll(loop)
    if intrinsic is None:
        sch.vectorize(lane)
    start = sch.decompose_reduction(contract, steps[0])
    if intrinsic:
        sch.vectorize(sch.get_loops(start)[-1])
        sch.tensorize(lane, intrinsic)


def sums_of(trace: Trace) -> int:
    """What a thread keeps in registers by a schedule of the template, 0 for any other."""
    tiles = [tile for tile in trace.decisions.values() if len(tile) == _PARTS]
    return VECTOR * math.prod(int(tile[-1]) for tile in tiles) if tiles else 0


def _parts(sch: Schedule, loop, threads: int, inner: int):
    """Split a loop in groups, threads and what a thread does: knobs that a record keeps."""
    decision = [extent_of(sch, loop) // (threads * inner), threads, inner]
    factors = sch.sample_perfect_tile(loop, _PARTS, max_innermost_factor=0, decision=decision)
    return sch.split(loop, factors)


def _steps(sch: Schedule, reduction) -> tuple[list, list]:
    """The loops of a reduction that go in steps, and what is unrolled within a step."""
    if "rc" not in reduction:
        return [reduction["rh"]], [reduction["rw"]]
    channels = reduction["rc"]
    within = math.gcd(extent_of(sch, channels), _CHANNEL_STEP)
    channel_steps, channel = sch.split(channels, [None, within])
    depth = [reduction[DEPTH]] if DEPTH in reduction else []
    if "rh" not in reduction:
        return [channel_steps], [channel, *depth]
    return [reduction["rh"], channel_steps], [reduction["rw"], channel, *depth]


def _image(sch: Schedule, contract: SBlockRV, isa: InstructionSet) -> SBlockRV:
    """The block that brings what is multiplied into registers: padding, or a copy."""
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    names = [sch.get(block).name_hint for block in blocks]
    for block, name in zip(blocks[: names.index(CONTRACT)], names, strict=False):
        if name != PAD:
            sch.compute_inline(block)
        elif isa.int8.intrinsic == intrinsics.DP4A and pads_by_what_it_reads(sch, block):
            pad_apart(sch, block)
        else:
            sch.set_scope(block, 0, "local")
            return block
    return sch.cache_read(contract, 0, "local")


def pads_by_what_it_reads(sch: Schedule, pad: SBlockRV) -> bool:
    """Whether it pads by a quantized zero: TVM has no CUDA for a vector of one byte of memory."""
    return len(sch.get(pad).reads) > 1


def pad_apart(sch: Schedule, pad: SBlockRV) -> None:
    """Pad in a kernel of its own, a thread for each value."""
    groups, thread = sch.split(sch.fuse(*sch.get_loops(pad)), [None, MOST_THREADS])
    sch.bind(groups, "blockIdx.x")
    sch.bind(thread, "threadIdx.x")


def _read_ahead(sch: Schedule, image: SBlockRV, step) -> None:
    """Read what a step multiplies, channels in vectors."""
    sch.compute_at(image, step, preserve_unit_loops=True)
    variables = len(sch.get(image).iter_vars)
    *places, channels = sch.get_loops(image)[-variables:]
    vectors, lane = sch.split(channels, [None, math.gcd(extent_of(sch, channels), VECTOR)])
    for loop in (*places, vectors):
        sch.unroll(loop)
    sch.vectorize(lane)
