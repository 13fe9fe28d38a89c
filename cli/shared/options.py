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
        help="Held-out samples with labels: an .npz with x and y, a folder of class folders, or "
        "package.module:function.",
    ),
]
MaxDrop = Annotated[
    float, typer.Option("--max-drop", min=0.0, max=1.0, help="Accuracy that a variant may lose.")
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
Logs = Annotated[
    Path | None,
    typer.Option(
        "--logs",
        help="Where measured schedules are kept, a folder for each board.",
        show_default="the user's cache folder",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Of the split of the data and of the search.")
]
