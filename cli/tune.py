"""`adaspring tune`: measured schedules for a network's functions, without building a library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .shared.answer import Answer, AsJson, Verbose
from .shared.bars import Bars
from .shared.faults import resumable
from .shared.options import (
    Calibration,
    CheckImport,
    Cluster,
    Data,
    Logs,
    MaxDrop,
    MetricName,
    MinMetric,
    Model,
    RecipeNames,
    Seed,
    Shapes,
    Target,
    TimeLimit,
    Tracker,
    Trials,
    TunerName,
)
from .shared.parse import parse_shapes, parse_tracker, parse_tuning

if TYPE_CHECKING:
    from ..explore.compile import BoardFailure
    from ..explore.request import Request
    from ..explore.tune import TunedBoard, TuneResult


def tune(
    model: Model,
    target: Target = ["host"],  # noqa: B006 (typer copies it)
    data: Data = None,
    metric: MetricName = None,
    calibration: Calibration = None,
    max_drop: MaxDrop = None,
    min_metric: MinMetric = None,
    trials: Trials = 1000,
    time_limit: TimeLimit = None,
    tuner: TunerName = "auto",
    tracker: Tracker = None,
    cluster: Cluster = None,
    recipe: RecipeNames = None,
    shape: Shapes = None,
    check_import: CheckImport = True,
    logs: Logs = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> Answer:
    """Measure schedules for a network's functions; compile uses them without measuring again.

    The functions of all variants are tuned, each distinct one once. Ctrl-C loses nothing: the
    same command goes on from there.

    For example:
      adaspring tune net.onnx --time-limit 30m
      adaspring tune net.onnx --target raspberry-pi-5 --tracker 127.0.0.1:9190
      adaspring tune net.pt2 --data held-out.npz --recipe int8 --tuner template
    """
    from ..explore.request import Bounds, Request, default_logs, find_boards

    request = Request(
        model=model,
        boards=find_boards(target),
        data=data,
        metric=metric,
        calibration=calibration,
        recipes=tuple(recipe or ()),
        bounds=Bounds(max_drop=max_drop, min_metric=min_metric),
        tuning=parse_tuning(trials, time_limit, tuner, seed),
        shapes=parse_shapes(shape),
        check_import=check_import,
        logs=logs or default_logs(),
        tracker=parse_tracker(tracker),
        cluster=cluster,
        seed=seed,
    )
    return _answer(_tune(request))


def _tune(request: Request) -> TuneResult:
    with Bars() as bars:
        with bars.loading("the compiler"):
            from ..explore.plan import plan as make_plan
            from ..explore.tune import tune_variants
        plan = make_plan(request, bars)
        with resumable(request.logs):
            return tune_variants(plan, bars)


def _answer(result: TuneResult) -> Answer:
    from ..explore.compile import BoardFailure
    from .shared.tables import line, table

    columns = ("board", ">measured", ">from the log", ">lost", ">s", "log", "ended because")
    shown = [
        table("Tuned", columns, [_row(board) for board in result.boards]),
        line(f"variants: {', '.join(result.variants)}", "dim"),
    ]
    reports = {
        board.board.name: None if isinstance(board, BoardFailure) else board.report
        for board in result.boards
    }
    for name, report in reports.items():
        if report is not None and report.stages_s:
            parts = [f"{stage} {seconds:.1f} s" for stage, seconds in report.stages_s.items()]
            shown.append(line(f"{name}, seconds of work: {', '.join(parts)}", "dim"))
        for reason in report.failed[:3] if report else ():
            shown.append(line(f"lost on {name}: {reason}", "dim"))
    data: dict[str, Any] = {
        "boards": [
            {
                "name": board.board.name,
                "log": str(board.plan.site.log_folder),
                "error": board.error if isinstance(board, BoardFailure) else None,
                "tuning": msgspec.to_builtins(reports[board.board.name]),
            }
            for board in result.boards
        ],
        "variants": list(result.variants),
        "skipped": msgspec.to_builtins(result.skipped),
    }
    failed = any(report is None for report in reports.values())
    return Answer(data=data, shown=tuple(shown), failed=failed)


def _row(board: TunedBoard | BoardFailure) -> tuple[str, ...]:
    from ..explore.compile import BoardFailure

    name, log = board.board.name, str(board.plan.site.log_folder)
    if isinstance(board, BoardFailure):
        return (name, "-", "-", "-", "-", log, board.error)
    report = board.report
    if report is None:
        why = "only CPUs are tuned; GPUs get TVM's default schedules"
        return (name, "-", "-", "-", "-", log, why)
    return (
        name,
        str(report.measured_count),
        str(report.reused_count),
        str(len(report.failed)),
        f"{report.elapsed_s:.0f}",
        log,
        report.ended,
    )
