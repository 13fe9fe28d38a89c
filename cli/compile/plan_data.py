"""A plan as plain values, for --json."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ...backends.tuning.log.files import LineFile
from ...backends.tuning.log.lines import RECORDS
from ...backends.tuning.log.shipped import shipped_logs
from ...explore.notes import notes
from ...explore.plan import BoardPlan, Plan, RecipePlan
from ...ir.layers import macs_count, weight_bytes


def plan_data(plan: Plan) -> dict[str, Any]:
    """Everything that is decided before the long work."""
    model, bounds, metric = plan.model, plan.bounds, plan.metric
    return {
        "model": model.name,
        "source": str(plan.request.model),
        "inputs": msgspec.to_builtins(model.inputs),
        "outputs": msgspec.to_builtins(model.outputs),
        "further_shapes": [
            msgspec.to_builtins({"inputs": further.inputs, "outputs": further.outputs})
            for further in plan.further_shapes
        ],
        "padding": dict(plan.request.pad),
        "macs_count": macs_count(model),
        "weights_bytes": weight_bytes(model),
        "data": _data(plan),
        "metric": None if metric is None else metric.name,
        "direction": None if metric is None else metric.direction,
        "against": None if metric is None else metric.against,
        "max_drop": bounds.max_drop,
        "min_metric": bounds.min_metric,
        "latency_ms": bounds.latency_ms,
        "keep_dominated": not bounds.front_only,
        "recipes": [_recipe(recipe) for recipe in plan.recipes],
        "boards": [_board(plan, board) for board in plan.boards],
        "notes": list(notes(plan)),
    }


def run_on(board: BoardPlan) -> str | None:
    """Which machine runs a board's variants, or None."""
    return board.site.describe() if board.site.at_hand else None


def _data(plan: Plan) -> dict[str, Any] | None:
    if plan.splits is None:
        return None
    return {
        "source": str(plan.request.data),
        "seed": plan.request.seed,
        "calibration": None if plan.request.calibration is None else str(plan.request.calibration),
        "calibration_count": 0 if plan.calibration is None else len(plan.calibration),
        "validation_count": len(plan.splits.validation),
        "test_count": len(plan.splits.test),
    }


def _recipe(planned: RecipePlan) -> dict[str, Any]:
    model = None if planned.compressed is None else planned.compressed.model
    return {
        "name": planned.recipe.name,
        "passes": [repr(settings) for settings in planned.recipe.passes],
        "skipped": planned.skipped,
        "decisions": msgspec.to_builtins(planned.decisions),
        "macs_count": None if model is None else macs_count(model),
        "weights_bytes": None if model is None else weight_bytes(model),
    }


def _board(plan: Plan, planned: BoardPlan) -> dict[str, Any]:
    board, site, tuning = planned.board, planned.site, plan.request.tuning
    return {
        "name": board.name,
        "description": board.description,
        "is_this_machine": site.here,
        "run_on": run_on(planned),
        "threads_count": board.core_count,
        "trials_count": tuning.trials if site.at_hand else 0,
        "known_records_count": _records_count(site.log_folder),
        "shipped_records_count": sum(_records_count(folder) for folder in shipped_logs(board)),
        "log": str(site.log_folder),
        "output": str(planned.output),
        "obstacle": planned.obstacle,
    }


def _records_count(log: Path) -> int:
    """How many there are; none where they cannot be read, which the plan's work then tells."""
    records = LineFile(log / RECORDS)
    with suppress(OSError):
        records.read_on()
    return records.lines_count
