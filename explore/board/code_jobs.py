"""The code of one board's variants: ordered from a cluster ahead, or built here when wanted."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import tvm

from ...backends.build import Built, Prepared, Scheduled, compile_bytes, compile_library
from ...backends.farm import Farm, JobLost
from ...errors import BuildError
from ...targets import Board
from ..progress import Progress
from .farms import code_farm

# Two worker processes compile 1.7 times as fast as this one does, three seconds a megabyte of IR,
# but take five to start (measured on two Zen 4 cores, ResNet-18 and its variants).
WORTH_A_FARM_BYTES = 6 << 20


@dataclass(frozen=True)
class CodeJob:
    """One variant, lowered, then scheduled; `ordered` where a cluster is at it."""

    name: str
    prepared: Prepared
    scheduled: Scheduled
    ordered: Future[bytes] | None = None


def order(job: CodeJob, cluster: Farm | None) -> CodeJob:
    """Have the cluster begin at once, where there is one."""
    if cluster is None:
        return job
    module = tvm.ir.save_json(job.scheduled.module)
    return replace(job, ordered=cluster.submit(compile_bytes, module, job.scheduled.board))


def build_all(
    jobs: Sequence[CodeJob], board: Board, work: Path, progress: Progress
) -> dict[str, Built]:
    """Get every variant's code, into `work`.

    Without a cluster, large networks are compiled side by side in worker processes, small ones
    here, one after the other: whichever ends first.
    """
    paths = {job.name: work / f"{job.name}.so" for job in jobs}
    stage = f"build for {board.name}"
    progress.step(stage, 0, len(jobs), jobs[0].name)
    if all(job.ordered is not None for job in jobs):
        _receive(jobs, paths, stage, progress)
    elif _is_large(jobs):
        with code_farm(len(jobs)) as farm:
            _receive([order(job, farm) for job in jobs], paths, stage, progress)
    else:
        for done, job in enumerate(jobs):
            progress.step(stage, done, len(jobs), job.name)
            compile_library(job.scheduled.module, board, paths[job.name])
    progress.step(stage, len(jobs), len(jobs), "done")
    return {job.name: job.scheduled.built(paths[job.name]) for job in jobs}


def _is_large(jobs: Sequence[CodeJob]) -> bool:
    if len(jobs) == 1:
        return False
    return sum(len(tvm.ir.save_json(job.scheduled.module)) for job in jobs) > WORTH_A_FARM_BYTES


def _receive(
    jobs: Sequence[CodeJob], paths: dict[str, Path], stage: str, progress: Progress
) -> None:
    """Write each library as it comes."""
    names = {job.ordered: job.name for job in jobs if job.ordered is not None}
    for done, future in enumerate(as_completed(names), start=1):
        try:
            paths[names[future]].write_bytes(future.result())
        except JobLost as lost:
            raise BuildError(f"{stage}: compiling {names[future]} {lost}") from lost
        progress.step(stage, done, len(jobs), names[future])
