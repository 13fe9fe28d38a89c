"""The cost model of a run: one for all tasks, which begins with what the log has measured."""

from __future__ import annotations

from collections.abc import Sequence

from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.cost_model import CostModel, XGBModel
from tvm.s_tir.meta_schedule.runner import RunnerResult
from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate
from tvm.target import Target

from ...schedule.default import replay
from ..log.log import Record, TuningLog, Workload
from .context import Context

_WARMUP_COUNT = 32
_RECORDS_PER_WORKLOAD, _WORKLOADS = 16, 40


def cost_model(log: TuningLog, target: Target, thread_count: int) -> CostModel:
    """Gradient-boosted trees over TVM's features of each store (Ansor, section 5.2).

    Warm-started from the fastest sketches of the log's functions.
    """
    model = XGBModel(num_warmup_samples=_WARMUP_COUNT, num_tuning_cores=thread_count)
    for workload in log.workloads()[:_WORKLOADS]:
        sketches = [r for r in log.records(workload) if r.tuner == "sketch"]
        if sketches:
            _learn(model, workload, sketches[:_RECORDS_PER_WORKLOAD], target)
    return model


def _learn(model: CostModel, workload: Workload, records: Sequence[Record], target: Target) -> None:
    candidates, results = [], []
    arguments = ArgInfo.from_prim_func(workload.module["main"])
    for record in records:
        schedule = replay(workload.module["main"], record.trace)
        candidates.append(MeasureCandidate(schedule, arguments))
        results.append(RunnerResult(list(record.run_secs), None))
    model.update(Context(workload.module, target), candidates, results)
