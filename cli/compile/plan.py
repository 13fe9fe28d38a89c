"""What `adaspring compile` would do, found without building or writing anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...backends.tuning import shipped_logs
from ...errors import AdaspringError
from ...explore.board.site import site_of
from ...explore.board.tuned_code import log_folder
from ...explore.candidates import decision_records, why_unchanged
from ...explore.progress import Progress
from ...explore.recipes import Recipe, why_skipped
from ...explore.request import Request
from ...ir.layers import macs_count, weight_bytes
from ...ir.model import TensorSpec
from ...ir.quantized_layers import is_quantized
from ...library.manifest import DecisionRecord
from ...passes import run
from ...targets import Board
from .arguments import Arguments
from .request import board_obstacle, notes


@dataclass(frozen=True, kw_only=True)
class RecipePlan:
    """One recipe: each layer's decision, and the size it leads to; `skipped` says why not."""

    name: str
    passes: tuple[str, ...]
    skipped: str | None
    decisions: tuple[DecisionRecord, ...]
    macs_count: int | None
    weights_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class BoardPlan:
    """One board: what happens for it, and where its files go."""

    name: str
    description: str
    is_this_machine: bool
    run_on: str | None
    threads_count: int
    trials_count: int
    known_records_count: int
    shipped_records_count: int
    log: str
    output: str
    obstacle: str | None


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """How many samples do what."""

    source: str
    seed: int
    calibration_count: int
    validation_count: int
    test_count: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is decided before the long work."""

    model: str
    source: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs_count: int
    weights_bytes: int
    data: DataPlan | None
    max_drop_ratio: float
    latency_ms: float | None
    keep_dominated: bool
    recipes: tuple[RecipePlan, ...]
    boards: tuple[BoardPlan, ...]
    notes: tuple[str, ...]


def plan(request: Request, arguments: Arguments, progress: Progress) -> Plan:
    """Run every recipe's passes on the network, and list what would follow."""
    recipes = []
    for index, recipe in enumerate(request.recipes):
        progress.step("plan", index, len(request.recipes), recipe.name)
        recipes.append(plan_recipe(request, recipe))
    progress.step("plan", len(recipes), len(recipes), "done")
    return Plan(
        model=request.model.name,
        source=arguments.model,
        inputs=request.model.inputs,
        outputs=request.model.outputs,
        macs_count=macs_count(request.model),
        weights_bytes=weight_bytes(request.model),
        data=_data(request, arguments),
        max_drop_ratio=request.bounds.max_drop,
        latency_ms=request.bounds.latency_ms,
        keep_dominated=not request.bounds.front_only,
        recipes=tuple(recipes),
        boards=tuple(plan_board(request, board) for board in request.boards),
        notes=notes(request),
    )


def plan_recipe(request: Request, recipe: Recipe) -> RecipePlan:
    """Compress by one recipe, for its decisions alone."""
    names = tuple(repr(settings) for settings in recipe.passes)
    calibration = request.splits.calibration if request.splits else None
    has_data = calibration is not None
    reason = why_skipped(
        recipe,
        boards=request.boards,
        has_data=has_data,
        named=request.recipes_named,
        quantized=is_quantized(request.model),
    )
    if reason is not None:
        return _skipped(recipe, names, reason)
    try:
        compressed = run(request.model, recipe.passes, calibration)
    except AdaspringError as error:
        return _skipped(recipe, names, str(error))
    decisions = decision_records(compressed.model, compressed.steps)
    return RecipePlan(
        name=recipe.name,
        passes=names,
        skipped=why_unchanged(recipe, decisions),
        decisions=decisions,
        macs_count=macs_count(compressed.model),
        weights_bytes=weight_bytes(compressed.model),
    )


def plan_board(request: Request, board: Board) -> BoardPlan:
    """Tell what is done for one board."""
    site = site_of(request.tracker, board)
    log = log_folder(request, site)
    return BoardPlan(
        name=board.name,
        description=board.description,
        is_this_machine=site.here,
        run_on=site.describe() if site.at_hand else None,
        threads_count=board.core_count,
        trials_count=request.tuning.trials if site.at_hand and board.device == "cpu" else 0,
        known_records_count=_records_count(log),
        shipped_records_count=sum(_records_count(folder) for folder in shipped_logs(board)),
        log=str(log),
        output=str(request.folder(board)),
        obstacle=board_obstacle(board),
    )


def _records_count(log: Path) -> int:
    records = log / "records.jsonl"
    return records.read_bytes().count(b"\n") if records.is_file() else 0


def _skipped(recipe: Recipe, names: tuple[str, ...], reason: str) -> RecipePlan:
    return RecipePlan(
        name=recipe.name,
        passes=names,
        skipped=reason,
        decisions=(),
        macs_count=None,
        weights_bytes=None,
    )


def _data(request: Request, arguments: Arguments) -> DataPlan | None:
    if request.splits is None or arguments.data is None:
        return None
    return DataPlan(
        source=arguments.data,
        seed=arguments.seed,
        calibration_count=len(request.splits.calibration),
        validation_count=len(request.splits.validation),
        test_count=len(request.splits.test),
    )
