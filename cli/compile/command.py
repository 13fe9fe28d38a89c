"""`adaspring compile`: the whole way from a trained network to a library for each board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..shared.answer import Answer, AsJson, Verbose
from ..shared.bars import Bars
from ..shared.faults import resumable
from .arguments import Arguments

if TYPE_CHECKING:
    from ...explore.compile import CompileResult
    from ...explore.request import Request

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="An .onnx file, a .pt2 file, or package.module:function."),
]
Target = Annotated[
    list[str],
    typer.Option("--target", metavar="BOARD", help="A board's name or .toml file; repeatable."),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Held-out samples with labels: an .npz with x and y, a folder of class folders, or "
        "package.module:function.",
    ),
]
Retrain = Annotated[
    str | None,
    typer.Option(
        "--retrain",
        metavar="TRAIN",
        help="Other samples: retrain on them what loses more than --max-drop.",
    ),
]
Together = Annotated[
    bool,
    typer.Option(
        "--together",
        help="Train all recipes' networks on the samples of --retrain first, on shared weights.",
    ),
]
MaxDrop = Annotated[
    float, typer.Option("--max-drop", min=0.0, max=1.0, help="Accuracy that a variant may lose.")
]
LatencyMs = Annotated[
    float | None, typer.Option("--latency-ms", help="Leave out variants whose p90 is above this.")
]
KeepDominated = Annotated[
    bool,
    typer.Option(
        "--keep-dominated",
        help="Keep variants that are better than dense though another is better in every figure.",
    ),
]
Trials = Annotated[
    int, typer.Option("--trials", min=0, help="Schedules to measure on a board; 0 tunes nothing.")
]
TimeLimit = Annotated[
    str | None,
    typer.Option("--time-limit", metavar="10m", help="How long a board is tuned at most."),
]
TunerName = Annotated[
    str,
    typer.Option(
        "--tuner",
        help="template: our schedules' knobs; sketch: a search of derived schedules; auto: the "
        "first where one fits, then the other.",
    ),
]
Tracker = Annotated[
    str | None,
    typer.Option(
        "--tracker",
        metavar="HOST:PORT",
        help="Tune and run on boards that are not this machine over RPC.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="HOST:PORT",
        help="Build on the hosts of a dask.distributed cluster; its scheduler's address.",
    ),
]
RecipeNames = Annotated[
    list[str] | None,
    typer.Option("--recipe", metavar="NAME", help="Only these, and dense; repeatable."),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="x=1,3,32,32", help="Fix an ONNX input's shape; repeatable."),
]
Logs = Annotated[Path, typer.Option("--logs", help="Where measured schedules are kept.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Of the split of the data and of the search.")
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="LIB", help="The library; of several boards, their folder."
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
    retrain: Retrain = None,
    together: Together = False,
    max_drop: MaxDrop = 0.02,
    latency_ms: LatencyMs = None,
    keep_dominated: KeepDominated = False,
    trials: Trials = 200,
    time_limit: TimeLimit = None,
    tuner: TunerName = "auto",
    tracker: Tracker = None,
    cluster: Cluster = None,
    recipe: RecipeNames = None,
    shape: Shapes = None,
    logs: Logs = Path("tuning_logs"),
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
    """
    arguments = Arguments(
        model=model,
        boards=tuple(target),
        data=data,
        retrain=retrain,
        together=together,
        max_drop=max_drop,
        latency_ms=latency_ms,
        keep_dominated=keep_dominated,
        trials=trials,
        time_limit=time_limit,
        tuner=tuner,
        tracker=tracker,
        cluster=cluster,
        recipes=tuple(recipe or ()),
        shapes=tuple(shape or ()),
        logs=logs,
        seed=seed,
        output=output,
    )
    return _carry_out(arguments, dry_run)


def _carry_out(arguments: Arguments, dry_run: bool) -> Answer:
    """Resolve, then print the plan or follow it."""
    with Bars() as bars:
        boards = arguments.find_boards()
        bars.step("load the compiler", 0, 1, "")
        from .request import notes, resolve

        bars.step("load the compiler", 1, 1, "")
        request = resolve(arguments, boards, bars)
        if dry_run:
            from .plan import plan
            from .tables import plan_answer

            return plan_answer(plan(request, arguments, bars))
        remarks = notes(request)
        for remark in remarks:
            bars.note(remark)
        result = _compile(request, bars)
    from .tables import result_answer

    return result_answer(request, result, remarks)


def _compile(request: Request, bars: Bars) -> CompileResult:
    from ...explore.compile import compile_libraries

    with resumable(request.logs):
        return compile_libraries(request, bars)
