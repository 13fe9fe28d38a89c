"""What `adaspring retrain` does, in this process or as one of several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import AdaspringError
from ...explore.progress import Progress, Silent
from ...explore.retrain.retrain import (
    RetrainPlan,
    RetrainRequest,
    plan_retraining,
    read_inputs,
    retrain,
)
from ...files.replace import TemporaryFolder
from ...ir.layers import macs_count, weight_bytes
from ...metrics import Metric
from ...training import Epoch, Ranks, join_group, launch, pt2_bytes
from ..shared.bars import Bars
from ..shared.files import check_folder, write_whole


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came out, in plain values; it may be sent to another process."""

    sizes: dict[str, int]
    decisions: tuple[str, ...]
    metric: Metric
    dense_metric: float
    history: tuple[Epoch, ...]
    best: Epoch
    stopped: str
    output: Path


def plan(request: RetrainRequest, output: Path, ranks: Ranks, progress: Progress) -> RetrainPlan:
    """Read network and data, and compress; find out now what would fail after long work."""
    check_folder(output)
    return plan_retraining(request, ranks, progress)


def run(request: RetrainRequest, output: Path, ranks: Ranks, progress: Progress) -> Report:
    """Compress, train, and write the network; the leading process writes."""
    done = retrain(plan(request, output, ranks, progress), ranks, progress)
    if ranks.is_leader:
        write_whole(output, pt2_bytes(done.trained.model))
    return Report(
        sizes=sizes(done.plan),
        decisions=tuple(each.describe() for each in done.plan.decisions),
        metric=done.plan.metric,
        dense_metric=done.dense_metric,
        history=done.trained.history,
        best=done.trained.best,
        stopped=done.trained.stopped,
        output=output,
    )


def sizes(plan: RetrainPlan) -> dict[str, int]:
    """Count work and weights before and after the recipe."""
    return {
        "samples_count": len(plan.data),
        "validation_count": len(plan.validation),
        "macs_count_before": macs_count(plan.model),
        "macs_count_after": macs_count(plan.compressed.model),
        "weights_bytes_before": weight_bytes(plan.model),
        "weights_bytes_after": weight_bytes(plan.compressed.model),
    }


def run_in_processes(request: RetrainRequest, output: Path, count: int) -> Report:
    """Do the same in several processes of this host; a lost one is started again.

    They go on from the checkpoints, which are in a temporary folder if the user gave none.
    """
    with Bars() as bars:
        check_folder(output)
        read_inputs(request, bars)  # what is wrong is said here, and once
    with TemporaryFolder("checkpoints") as folder:
        kept = replace(request, checkpoints=request.checkpoints or Path(folder))
        outcome = launch(_in_group, (kept, output), count)
    if isinstance(outcome, AdaspringError):
        raise outcome
    return outcome


def run_in_group(request: RetrainRequest, output: Path) -> tuple[Report, bool]:
    """Do it as a process that torchrun started; tell whether this is the one that prints."""
    with join_group() as ranks:
        if not ranks.is_leader:
            return run(request, output, ranks, Silent()), False
        with Bars() as bars:
            return run(request, output, ranks, bars), True


def _in_group(request: RetrainRequest, output: Path) -> Report | AdaspringError:
    """Return an error as a value: what the user did wrong is not to be tried again."""
    try:
        return run_in_group(request, output)[0]
    except AdaspringError as error:
        return error
