"""What `adaspring retrain` does, in this process or as one of several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ...errors import AdaspringError
from ...explore.progress import Progress, Silent
from ...explore.recipes import find_recipes
from ...explore.retrain.retrain import Compression, Retraining, compress, decisions, retrain
from ...frontend import check, load_data, load_model
from ...ir.layers import macs_count, weight_bytes
from ...training import Distillation, Epoch, Ranks, Settings, join_group, launch, pt2_bytes
from ..shared.bars import Bars
from ..shared.files import check_folder, write_whole


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The command line, checked; it may be sent to another process."""

    model: str
    data: str
    validation: str
    recipe: str
    distil: bool
    aware: bool
    settings: Settings
    shapes: dict[str, tuple[int, ...]]
    checkpoints: Path | None
    output: Path


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came out, in plain values."""

    sizes: dict[str, int]
    decisions: tuple[str, ...]
    dense_accuracy: float | None
    history: tuple[Epoch, ...]
    best: Epoch
    stopped: str
    output: Path


def resolve(arguments: Arguments, progress: Progress) -> Retraining:
    """Read network and data; find out now what would fail after long work."""
    check_folder(arguments.output)
    recipe = find_recipes((arguments.recipe,))[-1]
    progress.step("read", 0, 3, arguments.model)
    model = load_model(arguments.model, arguments.shapes or None)
    progress.step("read", 1, 3, arguments.data)
    data = check(load_data(arguments.data), model)
    progress.step("read", 2, 3, arguments.validation)
    validation = check(load_data(arguments.validation), model)
    progress.step("read", 3, 3, "done")
    settings = arguments.settings
    if arguments.distil:
        settings = replace(settings, distillation=Distillation())
    return Retraining(
        model=model,
        data=data,
        validation=validation,
        recipe=recipe,
        settings=settings,
        aware=arguments.aware,
        checkpoints=arguments.checkpoints,
    )


def run(arguments: Arguments, ranks: Ranks, progress: Progress) -> Report:
    """Compress, train, and write the network; the leading process writes."""
    request = resolve(arguments, progress)
    done = retrain(request, ranks, progress)
    if ranks.is_leader:
        write_whole(arguments.output, pt2_bytes(done.trained.model))
    return Report(
        sizes=sizes(request, done.compression),
        decisions=tuple(each.describe() for each in decisions(done.compression)),
        dense_accuracy=done.dense_accuracy,
        history=done.trained.history,
        best=done.trained.best,
        stopped=done.trained.stopped,
        output=arguments.output,
    )


def sizes(request: Retraining, compression: Compression) -> dict[str, int]:
    """Count work and weights before and after the recipe."""
    return {
        "samples_count": len(request.data),
        "validation_count": len(request.validation),
        "macs_count_before": macs_count(request.model),
        "macs_count_after": macs_count(compression.model),
        "weights_bytes_before": weight_bytes(request.model),
        "weights_bytes_after": weight_bytes(compression.model),
    }


def run_in_processes(arguments: Arguments, count: int) -> Report:
    """Do the same in several processes of this host; a lost one is started again.

    They go on from the checkpoints, which are in a temporary folder if the user gave none.
    """
    with Bars() as bars:
        resolve(arguments, bars)  # what is wrong is said here, and once
    with TemporaryDirectory(prefix="adaspring-checkpoints-") as folder:
        kept = replace(arguments, checkpoints=arguments.checkpoints or Path(folder))
        outcome = launch(_in_group, (kept,), count)
    if isinstance(outcome, AdaspringError):
        raise outcome
    return outcome


def run_in_group(arguments: Arguments) -> tuple[Report, bool]:
    """Do it as a process that torchrun started; tell whether this is the one that prints."""
    with join_group() as ranks:
        if not ranks.is_leader:
            return run(arguments, ranks, Silent()), False
        with Bars() as bars:
            return run(arguments, ranks, bars), True


def _in_group(arguments: Arguments) -> Report | AdaspringError:
    """Return an error as a value: what the user did wrong is not to be tried again."""
    try:
        return run_in_group(arguments)[0]
    except AdaspringError as error:
        return error


def plan(arguments: Arguments, progress: Progress) -> tuple[Retraining, Compression]:
    """Compress alone, for its decisions."""
    request = resolve(arguments, progress)
    return request, compress(request)
