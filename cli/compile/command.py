"""`adaspring compile`: the whole way from a trained network to a library for each board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..shared.answer import Answer, AsJson, Verbose
from ..shared.bars import Bars
from ..shared.faults import resumable
from ..shared.options import (
    Calibration,
    CheckImport,
    Cluster,
    Data,
    Logs,
    LossName,
    MaxDrop,
    MetricName,
    MinMetric,
    Model,
    Pad,
    RecipeNames,
    Seed,
    Shapes,
    States,
    Target,
    TimeLimit,
    Tracker,
    Trials,
    TunerName,
)
from ..shared.parse import (
    parse_duration,
    parse_pad,
    parse_shapes,
    parse_states,
    parse_tracker,
    parse_tuning,
)

if TYPE_CHECKING:
    from ...explore.request import Request

Retrain = Annotated[
    str | None,
    typer.Option(
        "--retrain",
        metavar="TRAIN",
        help="Training samples, with or without labels: retrain variants that lose more than "
        "--max-drop, and with --segments all cells together.",
    ),
]
Together = Annotated[
    bool,
    typer.Option(
        "--together",
        help="First train all recipes' networks together on the samples of --retrain, with "
        "shared weights.",
    ),
]
RetrainTime = Annotated[
    str | None,
    typer.Option(
        "--retrain-time",
        metavar="10m",
        help="Time for each retraining; as many epochs as fit it.",
    ),
]
LatencyMs = Annotated[
    float | None, typer.Option("--latency-ms", help="Drop variants whose p90 latency exceeds this.")
]
KeepDominated = Annotated[
    bool,
    typer.Option(
        "--keep-dominated",
        help="Also keep variants that another variant beats in every figure.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="LIB", help="The library; of several boards, their folder."
    ),
]
Segments = Annotated[
    int,
    typer.Option(
        "--segments",
        metavar="N",
        help="Also cut the network into at most N pieces with compressed cells for each, which "
        "the app puts together; 1: leave it whole.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan, layer by layer; write nothing.")
]


def compile_model(
    model: Model,
    output: Output,
    target: Target = ["host"],  # noqa: B006 (typer copies it)
    data: Data = None,
    metric: MetricName = None,
    calibration: Calibration = None,
    retrain: Retrain = None,
    together: Together = False,
    loss: LossName = None,
    retrain_time: RetrainTime = None,
    max_drop: MaxDrop = None,
    min_metric: MinMetric = None,
    latency_ms: LatencyMs = None,
    keep_dominated: KeepDominated = False,
    trials: Trials = 200,
    time_limit: TimeLimit = None,
    tuner: TunerName = "auto",
    tracker: Tracker = None,
    cluster: Cluster = None,
    recipe: RecipeNames = None,
    shape: Shapes = None,
    pad: Pad = None,
    segments: Segments = 1,
    state: States = None,
    check_import: CheckImport = True,
    logs: Logs = None,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> Answer:
    """Compress, tune, build and measure a network; write a library of variants for each board.

    Ctrl-C loses nothing that was measured: the same command goes on from there.

    For example:
      adaspring compile net.onnx --data held-out.npz -o net.lib
      adaspring compile net.pt2 --target host --target raspberry-pi-5 -o libs
      adaspring compile net.onnx --data held-out.npz -o net.lib --dry-run
      adaspring compile sr.onnx --data pairs.npz --metric psnr --max-drop 0.3 -o sr.lib
    """
    from ...explore.request import Bounds, Request, default_logs, find_boards

    request = Request(
        model=model,
        output=output,
        boards=find_boards(target),
        data=data,
        metric=metric,
        calibration=calibration,
        training=retrain,
        together=together,
        loss=loss,
        retrain_time_s=parse_duration("--retrain-time", retrain_time),
        recipes=tuple(recipe or ()),
        segments=segments,
        bounds=Bounds(
            max_drop=max_drop,
            min_metric=min_metric,
            latency_ms=latency_ms,
            front_only=not keep_dominated,
        ),
        tuning=parse_tuning(trials, time_limit, tuner, seed),
        shapes=parse_shapes(shape),
        pad=parse_pad(pad),
        states=parse_states(state),
        check_import=check_import,
        logs=logs or default_logs(),
        tracker=parse_tracker(tracker),
        cluster=cluster,
        seed=seed,
    )
    return _carry_out(request, dry_run)


def _carry_out(request: Request, dry_run: bool) -> Answer:
    """Plan, then print the plan or execute it."""
    with Bars() as bars:
        with bars.loading("the compiler"):
            from ...explore.compile import compile_libraries
            from ...explore.notes import notes
            from ...explore.plan import plan as make_plan
            from .tables import plan_answer, result_answer
        plan = make_plan(request, bars)
        if dry_run:
            return plan_answer(plan)
        remarks = notes(plan)
        for remark in remarks:
            bars.note(remark)
        with resumable(request.logs):
            result = compile_libraries(plan, bars)
    return result_answer(plan, result, remarks)
