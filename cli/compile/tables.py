"""How a plan and a result of `adaspring compile` are told, to people and to machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from rich.console import Console

from ...explore.compile import BoardResult, CompileResult
from ...explore.request import Request
from ...ir.model import TensorSpec
from ..shared.answer import Answer
from ..shared.library_tables import agreement_text, decision_table, dropped_table
from ..shared.tables import (
    COST_COLUMNS,
    ORIGIN_NOTE,
    bytes_text,
    cost_cells,
    count_text,
    line,
    shape_text,
    table,
)
from .plan import BoardPlan, Plan, RecipePlan


def plan_answer(plan: Plan) -> Answer:
    """Tell a plan: the network, every recipe layer by layer, every board."""
    shown = [
        line(f"{plan.model} ({plan.source}): {count_text(plan.macs_count)} MACs, "
             f"{bytes_text(plan.weights_bytes)} of weights", "bold"),
        line(f"inputs   {_specs(plan.inputs)}"),
        line(f"outputs  {_specs(plan.outputs)}"),
        line(f"data     {_data(plan)}"),
        line(f"bounds   {_bounds(plan)}"),
        *(decision_table(recipe.name, recipe.decisions)
          for recipe in plan.recipes if recipe.decisions),
        table("Recipes", ("recipe", "passes", ">MACs", ">weights", ""),
              map(_recipe_row, plan.recipes)),
        table("Boards", ("board", ">threads", ">trials", ">known", "tuning log", "library", ""),
              map(_board_row, plan.boards)),
        *(line(f"note: {text}") for text in plan.notes),
        line("dry run: nothing was built or written"),
    ]  # fmt: skip
    return Answer(data=msgspec.to_builtins(plan), shown=tuple(shown))


def result_answer(request: Request, result: CompileResult, notes: tuple[str, ...]) -> Answer:
    """Tell what was made for each board; failed where any board's library is missing."""
    data = {
        "model": request.model.name,
        "boards": [_board_data(board) for board in result.boards],
        "skipped": msgspec.to_builtins(result.skipped),
        "notes": list(notes),
    }
    shown = [part for board in result.boards for part in _board_shown(board)]
    failed = any(board.error is not None for board in result.boards)
    return Answer(data=data, shown=tuple(shown), failed=failed)


def board_report(console: Console, result: BoardResult) -> None:
    """Print what was made for one board."""
    for part in _board_shown(result):
        console.print(part)


def _board_data(result: BoardResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": result.board.name,
        "output": str(result.folder),
        "error": result.error,
        "measured_here": result.site is not None and result.site.here,
        "run_on": _run_on(result),
        "elapsed_s": result.elapsed_s,
        "tuning": msgspec.to_builtins(result.tuning),
        "variants": [],
        "dropped": [],
    }
    if result.manifest is not None:
        found["dropped"] = msgspec.to_builtins(result.manifest.dropped)
        for variant in msgspec.to_builtins(result.manifest.variants):
            del variant["decisions"], variant["weights"], variant["code"]
            variant["ratio_to_dense"] = result.latency_ratios.get(variant["name"])
            found["variants"].append(variant)
    return found


def _board_shown(result: BoardResult) -> Iterable[Any]:
    title = f"{result.board.name}: {result.folder}"
    if result.manifest is None:
        yield line(f"{result.board.name}: failed: {result.error}", "bold red")
        return
    rows = []
    for variant in result.manifest.variants:
        ratio = result.latency_ratios.get(variant.name)
        cells = (f"{ratio:.2f}" if ratio else "-", agreement_text(variant.agreement))
        rows.append((variant.name, *cost_cells(variant.cost), *cells))
    yield table(title, ("variant", *COST_COLUMNS, ">time / dense", "error"), rows)
    yield line(f"{ORIGIN_NOTE}; error: against the reference", "dim")
    if result.manifest.dropped:
        yield dropped_table(result.manifest.dropped)
    yield line(_how(result), "dim")


def _how(result: BoardResult) -> str:
    parts = [f"{result.elapsed_s:.0f} s"]
    if result.tuning is not None:
        lost = len(result.tuning.failed)
        parts.append(
            f"{result.tuning.measured_count} schedules measured, {result.tuning.reused_count} "
            f"from the log, {lost} lost" + (f" (first: {result.tuning.failed[0]})" if lost else "")
        )
    run_on = _run_on(result)
    if run_on is None:
        parts.append("not run: this is not that board, so no latency is known")
    elif result.site is not None and not result.site.here:
        parts.append(f"run on {run_on}")
        if result.site.emulated:
            parts.append("its outputs and accuracy are real, its times are not: no latency")
    return "; ".join(parts)


def _run_on(result: BoardResult) -> str | None:
    return result.site.describe() if result.site is not None and result.site.at_hand else None


def _recipe_row(recipe: RecipePlan) -> tuple[str, ...]:
    return (
        recipe.name,
        " → ".join(recipe.passes) or "nothing compressed",
        "-" if recipe.macs_count is None else count_text(recipe.macs_count),
        "-" if recipe.weights_bytes is None else bytes_text(recipe.weights_bytes),
        "" if recipe.skipped is None else f"skipped: {recipe.skipped}",
    )


def _board_row(board: BoardPlan) -> tuple[str, ...]:
    what = "built only, not run"
    if board.is_this_machine:
        what = "tuned, run and measured here"
    elif board.run_on is not None:
        what = f"tuned and run on {board.run_on}"
    if board.obstacle is not None:
        what = f"cannot be built: {board.obstacle}"
    return (
        board.name,
        str(board.threads_count),
        str(board.trials_count),
        _known(board),
        board.log,
        board.output,
        what,
    )


def _known(board: BoardPlan) -> str:
    if not board.shipped_records_count:
        return str(board.known_records_count)
    return f"{board.known_records_count} + {board.shipped_records_count} shipped"


def _specs(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {shape_text(spec.shape)}" for spec in specs)


def _data(plan: Plan) -> str:
    if plan.data is None:
        return "none, so accuracy is not known"
    data = plan.data
    return (
        f"{data.source}: {data.calibration_count} samples to calibrate, {data.validation_count} to "
        f"validate, {data.test_count} to test (seed {data.seed})"
    )


def _bounds(plan: Plan) -> str:
    bounds = f"accuracy may fall by {100 * plan.max_drop_ratio:g} points"
    if plan.latency_ms is not None:
        bounds += f", p90 at most {plan.latency_ms:g} ms"
    if plan.keep_dominated:
        bounds += ", variants stay though another is better in every figure"
    return bounds
