"""`adaspring tune`: measured schedules for a network's functions, without building a library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .compile.arguments import Arguments
from .compile.command import (
    Cluster,
    Data,
    Logs,
    MaxDrop,
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
from .shared.answer import Answer, AsJson, Verbose
from .shared.bars import Bars
from .shared.faults import resumable

if TYPE_CHECKING:
    from ..explore.request import Request
    from ..explore.tune import TunedBoard, TuneResult


def tune(
    model: Model,
    target: Target = ["host"],  # noqa: B006 (typer copies it)
    data: Data = None,
    max_drop: MaxDrop = 0.02,
    trials: Trials = 1000,
    time_limit: TimeLimit = None,
    tuner: TunerName = "auto",
    tracker: Tracker = None,
    cluster: Cluster = None,
    recipe: RecipeNames = None,
    shape: Shapes = None,
    logs: Logs = Path("tuning_logs"),
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
    arguments = Arguments(
        model=model,
        boards=tuple(target),
        data=data,
        retrain=None,
        together=False,
        max_drop=max_drop,
        latency_ms=None,
        keep_dominated=True,
        trials=trials,
        time_limit=time_limit,
        tuner=tuner,
        tracker=tracker,
        cluster=cluster,
        recipes=tuple(recipe or ()),
        shapes=tuple(shape or ()),
        logs=logs,
        seed=seed,
        output=Path("."),
    )
    with Bars() as bars:
        boards = arguments.find_boards()
        bars.step("load the compiler", 0, 1, "")
        from .compile.request import resolve_tuning

        bars.step("load the compiler", 1, 1, "")
        result = _tune(resolve_tuning(arguments, boards, bars), bars)
    return _answer(result)


def _tune(request: Request, bars: Bars) -> TuneResult:
    from ..explore.tune import tune_variants

    with resumable(request.logs):
        return tune_variants(request, bars)


def _answer(result: TuneResult) -> Answer:
    from .shared.tables import line, table

    columns = ("board", ">measured", ">from the log", ">lost", ">s", "log", "ended because")
    shown = [
        table("Tuned", columns, [_row(board) for board in result.boards]),
        line(f"variants: {', '.join(result.variants)}", "dim"),
    ]
    for board in result.boards:
        if board.report is not None and board.report.stages_s:
            parts = [f"{name} {seconds:.1f} s" for name, seconds in board.report.stages_s.items()]
            shown.append(line(f"{board.board.name}, seconds of work: {', '.join(parts)}", "dim"))
        for reason in board.report.failed[:3] if board.report else ():
            shown.append(line(f"lost on {board.board.name}: {reason}", "dim"))
    data: dict[str, Any] = {
        "boards": [
            {
                "name": board.board.name,
                "log": str(board.log),
                "error": board.error,
                "tuning": msgspec.to_builtins(board.report),
            }
            for board in result.boards
        ],
        "variants": list(result.variants),
        "skipped": msgspec.to_builtins(result.skipped),
    }
    failed = any(board.report is None for board in result.boards)
    return Answer(data=data, shown=tuple(shown), failed=failed)


def _row(board: TunedBoard) -> tuple[str, ...]:
    report = board.report
    if report is None:
        why = board.error or "only CPUs are tuned; GPUs get TVM's default schedules"
        return (board.board.name, "-", "-", "-", "-", str(board.log), why)
    return (
        board.board.name,
        str(report.measured_count),
        str(report.reused_count),
        str(len(report.failed)),
        f"{report.elapsed_s:.0f}",
        str(board.log),
        report.ended,
    )
