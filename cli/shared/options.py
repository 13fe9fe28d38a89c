"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
        help="Held-out samples, with or without labels: an .npz with x and y, a folder of class "
        "folders, or package.module:function.",
    ),
]
MetricName = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="top1, top5, auc, f1, map, mse, psnr, cosine, relative-error, cer, agreement, or "
        "package.module:function.",
        show_default="top1; without labels, nearness to the dense network",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        min=0.0,
        help="How much worse the metric may get, in its unit; 0.01 is a point.",
        show_default="0.02; what is usual for the metric",
    ),
]
MinMetric = Annotated[
    float | None,
    typer.Option("--min-metric", help="The worst value of the metric that is kept."),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="DATA",
        help="Samples for calibration, in place of a part of --data; no labels needed.",
    ),
]
LossName = Annotated[
    str | None,
    typer.Option(
        "--loss",
        metavar="FUNCTION",
        help="package.module:function of (outputs, targets) to train with, in torch, in place of "
        "cross-entropy.",
    ),
]
Trials = Annotated[
    int, typer.Option("--trials", min=0, help="Schedules to measure per board; 0: no tuning.")
]
TimeLimit = Annotated[
    str | None,
    typer.Option("--time-limit", metavar="10m", help="Tuning time limit per board."),
]
TunerName = Annotated[
    str,
    typer.Option(
        "--tuner",
        help="template: hand-written schedules with tunable parameters; sketch: a search over "
        "derived schedules; auto: template where one fits, then sketch.",
    ),
]
Tracker = Annotated[
    str | None,
    typer.Option(
        "--tracker",
        metavar="HOST:PORT",
        help="The RPC tracker of remote boards, to tune and run on them.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="HOST:PORT",
        help="The scheduler of a dask.distributed cluster, to build on its hosts.",
    ),
]
RecipeNames = Annotated[
    list[str] | None,
    typer.Option("--recipe", metavar="NAME", help="Try only these recipes, and dense; repeatable."),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="x=1,3,32,32",
        help="Fix the free dimensions of an input; repeatable. Given several times for one input, "
        "or as 'ids=1,{16,32,64}', the library holds each shape.",
    ),
]
Pad = Annotated[
    list[str] | None,
    typer.Option(
        "--pad",
        metavar="ids=0",
        help="Let apps pad this input with a value to the next larger shape; repeatable. It is "
        "refused where that changes an output.",
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="h=hn",
        help="An input that an app's stream takes from an output of the call before; repeatable.",
    ),
]
CheckImport = Annotated[
    bool,
    typer.Option(
        "--check-import/--no-check-import",
        help="Compare what was imported with the source, run by torch or ONNX Runtime.",
    ),
]
Logs = Annotated[
    Path | None,
    typer.Option(
        "--logs",
        help="Where measured schedules are kept, a folder for each board.",
        show_default="the user's cache folder",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Seed of the data split and of the search.")
]
