"""What will be done: everything that is decided before the long work.

`adaspring compile` carries out the plan that `--dry-run` prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..backends.codegen import cuda
from ..backends.codegen.link import find_linker
from ..backends.codegen.processor import unknown_processor
from ..errors import AdaspringError, UsageError
from ..frontend import check, load_data, split
from ..frontend.data import Dataset, Splits, count_shared, split_apart
from ..ir.model import Model
from ..ir.quantized_layers import is_quantized
from ..library.devices import start as devices
from ..library.manifest import DecisionRecord
from ..library.streams.pairs import pair_states
from ..library.writer import check_replaceable, check_room
from ..metrics import Metric, resolve
from ..passes import Compressed
from ..targets import Board, is_this_machine
from .board.site import Site, find_site
from .compressor import Compressor
from .measure.layer_times import with_layer_times
from .progress import Progress, Silent
from .recipes import Recipe, find_recipes, why_skipped
from .request import Bounds, Request, find_boards
from .shapes.imports import import_shapes
from .variants import decision_records


@dataclass(frozen=True, kw_only=True)
class RecipePlan:
    """One recipe, the network that it leads to, or why it is not tried.

    A recipe that leaves every layer alone is not tried, and its decisions say why.
    """

    recipe: Recipe
    compressed: Compressed | None = None
    skipped: str | None = None

    @property
    def decisions(self) -> tuple[DecisionRecord, ...]:
        """Every layer's decision."""
        if self.compressed is None:
            return ()
        return decision_records(self.compressed.model, self.compressed.steps)


@dataclass(frozen=True, kw_only=True)
class BoardPlan:
    """One board: where it is, where its library goes, and what keeps its code from being built."""

    site: Site
    output: Path | None
    obstacle: str | None

    @property
    def board(self) -> Board:
        """The board."""
        return self.site.board


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A request whose files were read, whose boards were found, whose recipes were applied.

    `model` is the network at the first shape, that of the data where there are several; passes were
    planned there. `metric` and `bounds` are what the data and the request come to, the metric None
    without data. `calibration` are the samples that passes may look at.
    """

    request: Request
    model: Model
    further_shapes: tuple[Model, ...]
    splits: Splits | None
    metric: Metric | None
    bounds: Bounds
    calibration: Dataset | None
    training: Dataset | None
    recipes: tuple[RecipePlan, ...]
    boards: tuple[BoardPlan, ...]


def plan(request: Request, progress: Progress | None = None) -> Plan:
    """Read, find and decide; find out now what would fail after long work. Leaves nothing behind.

    Raises:
        AdaspringError: something given is missing, wrong, or does not fit the rest.

    """
    progress = progress or Silent()
    recipes = find_recipes(request.recipes)
    boards = plan_boards(request)
    progress.step("read", 0, 2, str(getattr(request.model, "name", request.model)))
    first, *further = import_shapes(request)
    states = pair_states(first.inputs, first.outputs, request.states)
    model = replace(first, states=states or first.states)
    for board in boards:
        if board.output is not None:
            check_room(board.output, _least_bytes(model))
    progress.step("read", 1, 2, "no data" if request.data is None else "data")
    calibration, training = _read(request.calibration, model), _read(request.training, model)
    splits, metric = _read_splits(request, model, calibration)
    _check_apart(training, splits)
    bounds = request.bounds.of(metric)
    progress.step("read", 2, 2, "done")
    if calibration is None and splits is not None:
        calibration = splits.calibration
    compressor = Compressor(model, calibration)
    timed = with_layer_times(recipes, [board.site for board in boards])
    judged = timed if metric is None else tuple(each.judged_by(metric) for each in timed)
    return Plan(
        request=request,
        model=model,
        further_shapes=tuple(further),
        splits=splits,
        metric=metric,
        bounds=bounds,
        calibration=calibration,
        training=training,
        recipes=plan_recipes(request, judged, model, boards, compressor, progress),
        boards=boards,
    )


def plan_boards(request: Request) -> tuple[BoardPlan, ...]:
    """Find each board's place, once; refuse where no board's code can be built."""
    boards = find_boards(request.boards)
    outputs = [_output(request, board, len(boards)) for board in boards]
    for output in outputs:
        if output is not None:
            check_replaceable(output)
    obstacles = [find_obstacle(board) for board in boards]
    if all(obstacles):
        raise AdaspringError("; ".join(dict.fromkeys(text for text in obstacles if text)))
    return tuple(
        BoardPlan(
            site=find_site(board, Path(request.logs), request.tracker),
            output=output,
            obstacle=obstacle,
        )
        for board, output, obstacle in zip(boards, outputs, obstacles, strict=True)
    )


def plan_recipes(
    request: Request,
    recipes: Sequence[Recipe],
    model: Model,
    boards: Sequence[BoardPlan],
    compressor: Compressor,
    progress: Progress,
) -> tuple[RecipePlan, ...]:
    """Compress by every recipe that is worth trying; say of the others why they are not."""
    quantized, found = is_quantized(model), []
    for index, recipe in enumerate(recipes):
        progress.step("compress", index, len(recipes), recipe.name)
        reason = why_skipped(
            recipe,
            boards=[board.board for board in boards],
            has_data=compressor.calibration is not None,
            named=bool(request.recipes),
            quantized=quantized,
        )
        found.append(_plan_recipe(recipe, reason, compressor))
    progress.step("compress", len(recipes), len(recipes), "done")
    return tuple(found)


def _plan_recipe(recipe: Recipe, reason: str | None, compressor: Compressor) -> RecipePlan:
    if reason is not None:
        return RecipePlan(recipe=recipe, skipped=reason)
    try:
        made = RecipePlan(recipe=recipe, compressed=compressor.compress(recipe.passes))
    except AdaspringError as error:
        return RecipePlan(recipe=recipe, skipped=str(error))
    if recipe.passes and all(decision.action == "kept" for decision in made.decisions):
        unchanged = "every layer is left alone, so it is the dense network"
        return RecipePlan(recipe=recipe, compressed=made.compressed, skipped=unchanged)
    return made


def find_obstacle(board: Board) -> str | None:
    """Say why code for a board cannot be built on this machine, or None."""
    if board.device == "cuda" and (reason := cuda.available()) is not None:
        return f"{board.name}: {reason}"
    if is_this_machine(board):
        try:
            devices.start(board.device, board.target, board.name)
        except AdaspringError as error:
            return str(error)
    if (unknown := unknown_processor(board)) is not None:
        return f"{board.name}: {unknown}"
    try:
        find_linker(board.architecture)
    except AdaspringError as error:
        return f"{board.name}: {error}"
    return None


def _output(request: Request, board: Board, boards_count: int) -> Path | None:
    if request.output is None or boards_count == 1:
        return request.output
    return request.output / board.name


def _least_bytes(model: Model) -> int:
    """What a library holds at least: the weights of the plainest variant."""
    return sum(value.nbytes for value in model.weights.values())


def _read(source: str | Path | Dataset | None, model: Model) -> Dataset | None:
    return None if source is None else check(load_data(source), model)


def _check_apart(training: Dataset | None, splits: Splits | None) -> None:
    """Refuse to train on what then says how good the result is; a few duplicates may be."""
    if training is None or splits is None:
        return
    held_out = (splits.validation, splits.test)
    count, total = sum(count_shared(part, training) for part in held_out), sum(map(len, held_out))
    if 2 * count > total:
        raise UsageError(
            f"{count} of the {total} held-out samples of --data are training samples too; give "
            "--retrain other samples, or nothing would tell what was lost"
        )


def _read_splits(
    request: Request, model: Model, calibration: Dataset | None
) -> tuple[Splits | None, Metric | None]:
    """The data in three parts and how they are judged; nothing where none were given.

    Where others calibrate and nothing is trained, the data are validation and test alone.
    """
    if request.data is None:
        return None, None
    if isinstance(request.data, Splits):
        return request.data, resolve(request.metric, model, request.data.validation)
    data = check(load_data(request.data), model)
    metric = resolve(request.metric, model, data)
    if calibration is not None and request.training is None:
        return split_apart(data, calibration, request.seed), metric
    return split(data, request.seed), metric
