"""What a log knows of each function, in a few words and figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tvm import IRModule
from tvm.s_tir import SBlock, Schedule
from tvm.tirx import IterVar

from .contents import check_is_log
from .log import TuningLog
from .origin import Origin
from .records import Workload


@dataclass(frozen=True, kw_only=True)
class FunctionSummary:
    """One function, and what was measured; `shape` and `dtype` are those of `main_block`.

    `main_block` has the most iterations: over `shape`, and over `reduced_shape` in its sums.
    `noise_ratio` is of the fastest record: (median - least) / least of its times. `tuners`,
    `boards` and `tvm_versions` count records; `unknown` are those without an origin.
    """

    hash: str
    blocks: tuple[str, ...]
    main_block: str
    shape: tuple[int, ...]
    reduced_shape: tuple[int, ...]
    dtype: str
    records_count: int
    lost_count: int
    best_ms: float | None
    noise_ratio: float | None
    tuners: dict[str, int]
    boards: dict[str, int]
    tvm_versions: dict[str, int]


def summarize(folder: Path) -> tuple[FunctionSummary, ...]:
    """Every function of a log, the slowest first.

    Raises:
        BuildError: `folder` is no tuning log, or cannot be read.

    """
    check_is_log(folder)
    log = TuningLog(folder)
    slowest_first = sorted(log.workloads(), key=lambda w: (not w.measured, -w.best_s))
    return tuple(_summary(log, workload) for workload in slowest_first)


def _summary(log: TuningLog, workload: Workload) -> FunctionSummary:
    records = log.records(workload)
    origins = [record.origin for record in records]
    block = _main_block(workload.module)
    return FunctionSummary(
        hash=workload.hash,
        blocks=workload.block_names,
        main_block=str(block.name_hint),
        shape=_extents(block, IterVar.DataPar),
        reduced_shape=_extents(block, IterVar.CommReduce),
        dtype=str(block.writes[0].source.dtype),
        records_count=len(records),
        lost_count=len(log.losses(workload)),
        best_ms=1e3 * records[0].best_s if records else None,
        noise_ratio=records[0].noise_ratio if records else None,
        tuners=_counts(record.tuner for record in records),
        boards=_counts(_board(origin) for origin in origins),
        tvm_versions=_counts(o.tvm_version if o else "unknown" for o in origins),
    )


def _main_block(module: IRModule) -> SBlock:
    """The block with the most iterations."""
    sch = Schedule(module)
    root = sch.get_sblock(str(module["main"].body.block.name_hint))
    blocks = [sch.get(block) for block in sch.get_child_blocks(root)]
    return max(blocks, key=lambda block: math.prod(_extents(block)))


def _extents(block: SBlock, *kinds: int) -> tuple[int, ...]:
    """The extents of a block's axes, or of those of some kinds."""
    return tuple(
        int(var.dom.extent) for var in block.iter_vars if not kinds or var.iter_type in kinds
    )


def _board(origin: Origin | None) -> str:
    if origin is None:
        return "unknown"
    return f"{origin.board} (emulated)" if origin.emulated else origin.board


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
