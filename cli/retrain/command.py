"""`adaspring retrain`: win back by training what compression cost in accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ...errors import UsageError
from ...library.score import Score
from ..shared.answer import Answer, AsJson, Verbose
from ..shared.bars import Bars
from ..shared.faults import Interrupted
from ..shared.options import CheckImport, LossName, MetricName, Model, Shapes
from ..shared.parse import parse_duration, parse_shapes

if TYPE_CHECKING:
    from ...explore.retrain.retrain import RetrainRequest
    from .run import Report

Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="TRAIN",
        help="Samples to train on: an .npz with x and y, a folder of class folders, or "
        "package.module:function.",
    ),
]
Held = Annotated[
    str,
    typer.Option(
        "--validation", metavar="HELD", help="Other samples, on which the best epoch is chosen."
    ),
]
RecipeName = Annotated[
    str, typer.Option("--recipe", metavar="NAME", help="How to compress before training.")
]
Distil = Annotated[
    bool,
    typer.Option(
        "--distil", help="Learn from the uncompressed network too; labels are not needed then."
    ),
]
Aware = Annotated[
    bool, typer.Option("--qat", help="Quantization-aware training: train under int8 rounding.")
]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Most epochs to train.")]
BatchSize = Annotated[
    int, typer.Option("--batch", min=1, help="Batch size, over all processes together.")
]
Rate = Annotated[
    float, typer.Option("--learning-rate", help="Learning rate of AdamW, with cosine decay to 0.")
]
Patience = Annotated[
    int, typer.Option("--patience", min=1, help="Early stopping: epochs without improvement.")
]
TimeLimit = Annotated[
    str | None,
    typer.Option("--time-limit", metavar="10m", help="Time to train in; as many epochs as fit it."),
]
Checkpoints = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints", metavar="DIR", help="Save checkpoints here, and resume from them."
    ),
]
Processes = Annotated[
    int, typer.Option("--nproc", min=1, help="Processes on this machine that train together.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the order of samples.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="OUT.pt2", help="The retrained network.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what compression decides; train nothing.")
]


def retrain(
    model: Model,
    data: Data,
    validation: Held,
    output: Output,
    recipe: RecipeName = "dense",
    metric: MetricName = None,
    loss: LossName = None,
    distil: Distil = False,
    qat: Aware = False,
    epochs: Epochs = 20,
    batch: BatchSize = 64,
    learning_rate: Rate = 1e-3,
    patience: Patience = 5,
    time_limit: TimeLimit = None,
    checkpoints: Checkpoints = None,
    nproc: Processes = 1,
    shape: Shapes = None,
    check_import: CheckImport = True,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> Answer:
    """Compress a network by a recipe, retrain it, and write it as a .pt2 that compile takes.

    With --checkpoints, Ctrl-C or a crash loses a minute at most: the same command goes on. Under
    torchrun it is one of the processes that torchrun started, on however many hosts.

    For example:
      adaspring retrain net.onnx --data train.npz --validation held.npz -o n.pt2
      adaspring retrain net.pt2 --data T.npz --validation H.npz --recipe int8 --qat -o n.pt2
      torchrun --nproc-per-node 4 -m adaspring retrain net.pt2 --data … --validation … -o n.pt2
    """
    if output.suffix != ".pt2":
        raise UsageError(f"{output} is written as a .pt2 file; name it so")
    shapes = parse_shapes(shape)
    with Bars() as bars, bars.loading("the compiler"):
        from ...explore.retrain.retrain import RetrainRequest
        from ...training import Distillation, Settings
    request = RetrainRequest(
        model=model,
        data=data,
        validation=validation,
        recipe=recipe,
        metric=metric,
        loss=loss,
        settings=Settings(
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            patience=patience,
            seed=seed,
            time_limit_s=parse_duration("--time-limit", time_limit),
            distillation=Distillation() if distil else None,
        ),
        aware=qat,
        shapes=shapes,
        check_import=check_import,
        checkpoints=checkpoints,
    )
    return _plan(request, output) if dry_run else _carry_out(request, output, nproc)


def _carry_out(request: RetrainRequest, output: Path, count: int) -> Answer:
    from ...training import started_by_torchrun
    from .run import run_in_group, run_in_processes

    if started_by_torchrun() and count > 1:
        raise UsageError("--nproc starts processes, but torchrun started this one; leave it out")
    with _resumable(request.checkpoints):
        if count > 1:
            return _answer(run_in_processes(request, output, count))
        report, prints = run_in_group(request, output)
    if not prints:
        raise typer.Exit(0)
    return _answer(report)


@contextmanager
def _resumable(checkpoints: Path | None) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = (
            f"{checkpoints} keeps the run, so the same command goes on from there"
            if checkpoints is not None
            else "nothing was kept; give --checkpoints to go on from where a run was"
        )
        raise Interrupted(f"interrupted; {kept}") from None


def _answer(report: Report) -> Answer:
    from ..shared.tables import bytes_text, count_text, line, table

    start, best, sizes = report.history[0], report.best, report.sizes
    values = (report.dense_metric, start.validation_metric, best.validation_metric)
    dense, compressed, retrained = (_score(report, value) for value in values)
    rows = [
        ("before compression", "-", dense),
        ("compressed", f"{start.validation_loss:.4g}", compressed),
        ("retrained", f"{best.validation_loss:.4g}", retrained),
    ]
    macs = (count_text(sizes[f"macs_count_{when}"]) for when in ("before", "after"))
    weights = (bytes_text(sizes[f"weights_bytes_{when}"]) for when in ("before", "after"))
    columns = ("network", ">loss", f">{report.metric.name}")
    shown = (
        table("On the validation data", columns, rows),
        line(f"{report.metric.explain()}", "dim"),
        line(f"MACs {' → '.join(macs)}, float weights {' → '.join(weights)}"),
        line(f"best in epoch {best.epoch} of {len(report.history) - 1}; {report.stopped}"),
        line(f"wrote {report.output}"),
    )
    return Answer(data=_data(report), shown=shown)


def _score(report: Report, value: float | None) -> str:
    """Write a value, with its interval where it is a share of samples."""
    from ...metrics.classes import SHARES
    from ..shared.tables import score_text

    if value is None:
        return "-"
    if report.metric not in SHARES:
        return report.metric.describe(value)
    return score_text(value, Score.of_share(value, report.sizes["validation_count"]).interval)


def _data(report: Report) -> dict[str, Any]:
    metric = report.metric
    return {
        "output": str(report.output),
        "metric": metric.name,
        "direction": metric.direction,
        "against": metric.against,
        "dense_metric": report.dense_metric,
        "compressed_metric": report.history[0].validation_metric,
        "retrained_metric": report.best.validation_metric,
        "best_epoch": report.best.epoch,
        "stopped": report.stopped,
        **report.sizes,
        "history": msgspec.to_builtins(report.history),
        "decisions": list(report.decisions),
    }


def _plan(request: RetrainRequest, output: Path) -> Answer:
    from ...training import Ranks
    from ..shared.tables import count_text, line
    from .run import plan, sizes

    with Bars() as bars:
        planned = plan(request, output, Ranks(), bars)
    found, counts = [each.describe() for each in planned.decisions], sizes(planned)
    shown = [line(text) for text in found or ["nothing is compressed"]]
    after = f"{count_text(counts['macs_count_before'])} → {count_text(counts['macs_count_after'])}"
    shown += [line(f"MACs {after}"), line(f"then: {request.settings!r}")]
    data = {**counts, "decisions": found, "settings": repr(request.settings)}
    return Answer(data=data, shown=tuple(shown))
