"""How a plan and a result of `adaspring compile` are told, to people and to machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from rich.console import Console

from ...explore.compile import BoardFailure, BoardResult, CompileResult
from ...explore.plan import Plan
from ...explore.request import Bounds
from ...ir.model import TensorSpec
from ...library.manifest import Manifest
from ...metrics import Metric
from ..shared.answer import Answer
from ..shared.library_tables import (
    agreement_text,
    at_shape,
    decision_table,
    dropped_table,
    padding_text,
)
from ..shared.pieces_tables import pieces_shown
from ..shared.tables import (
    bytes_text,
    cost_cells,
    cost_columns,
    count_text,
    line,
    origin_note,
    shape_text,
    table,
)
from .plan_data import plan_data, run_on


def plan_answer(plan: Plan) -> Answer:
    """Tell a plan: the network, every recipe layer by layer, every board."""
    data = plan_data(plan)
    model, recipes = plan.model, plan.recipes
    shown = [
        line(f"{model.name} ({data['source']}): {count_text(data['macs_count'])} MACs, "
             f"{bytes_text(data['weights_bytes'])} of weights", "bold"),
        line(f"inputs   {_specs(model.inputs)}"),
        line(f"outputs  {_specs(model.outputs)}"),
        *(line(f"also     {_specs(further.inputs)}") for further in plan.further_shapes),
        *([line(f"padding  {padding_text(plan.request.pad)}")] if plan.request.pad else []),
        line(f"data     {_data(data['data'])}"),
        *([line(f"metric   {plan.metric.explain()}")] if plan.metric else []),
        line(f"bounds   {_bounds(plan.bounds, plan.metric)}"),
        *(decision_table(each.recipe.name, each.decisions) for each in recipes if each.decisions),
        table("Recipes", ("recipe", "passes", ">MACs", ">weights", ""),
              map(_recipe_row, data["recipes"])),
        table("Boards", ("board", ">threads", ">trials", ">known", "tuning log", "library", ""),
              map(_board_row, data["boards"])),
        *(line(f"note: {text}") for text in data["notes"]),
        line("dry run: nothing was built or written"),
    ]  # fmt: skip
    return Answer(data=data, shown=tuple(shown))


def result_answer(plan: Plan, result: CompileResult, notes: tuple[str, ...]) -> Answer:
    """Tell what was made for each board; failed where any board's library is missing."""
    data = {
        "model": plan.model.name,
        "boards": [_board_data(board) for board in result.boards],
        "skipped": msgspec.to_builtins(result.skipped),
        "notes": list(notes),
        "warnings": list(result.doubts),
    }
    shown = [part for board in result.boards for part in _board_shown(board)]
    shown += [line(f"warning: {text}", "bold yellow") for text in result.doubts]
    return Answer(data=data, shown=tuple(shown), failed=bool(result.failures))


def board_report(console: Console, result: BoardResult | BoardFailure) -> None:
    """Print what was made for one board."""
    for part in _board_shown(result):
        console.print(part)


def _board_data(result: BoardResult | BoardFailure) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": result.board.name,
        "output": str(result.plan.output),
        "error": None,
        "measured_here": False,
        "run_on": None,
        "elapsed_s": result.elapsed_s,
        "tuning": None,
        "variants": [],
        "dropped": [],
    }
    if isinstance(result, BoardFailure):
        return {**found, "error": result.error}
    variants = msgspec.to_builtins(result.manifest.variants)
    for variant in variants:
        del variant["decisions"], variant["weights"], variant["code"]
        variant["ratio_to_dense"] = result.latency_ratios.get(variant["name"])
        further = zip(variant["further_shapes"], result.further_latency_ratios, strict=True)
        for executable, ratios in further:
            del executable["weights"], executable["code"]
            executable["ratio_to_dense"] = ratios.get(variant["name"])
    return {
        **found,
        "measured_here": result.plan.site.here,
        "run_on": run_on(result.plan),
        "tuning": msgspec.to_builtins(result.tuning),
        "variants": variants,
        "composition": _composition_data(result.manifest),
        "dropped": msgspec.to_builtins(result.manifest.dropped),
    }


def _composition_data(manifest: Manifest) -> dict[str, Any] | None:
    """The network in pieces as the manifest has it, less what only the library's files need."""
    if manifest.composition is None:
        return None
    data: dict[str, Any] = msgspec.to_builtins(manifest.composition)
    for cell in (cell for segment in data["segments"] for cell in segment["cells"]):
        del cell["decisions"], cell["weights"], cell["code"]
    return data


def _board_shown(result: BoardResult | BoardFailure) -> Iterable[Any]:
    if isinstance(result, BoardFailure):
        yield line(f"{result.board.name}: failed: {result.error}", "bold red")
        return
    title = f"{result.board.name}: {result.folder}"
    rows, below = [], result.lost_on_test
    costs = [variant.cost for variant in result.manifest.variants]
    all_ratios = (result.latency_ratios, *result.further_latency_ratios)
    for variant in result.manifest.variants:
        name = f"{variant.name} !" if variant.name in below else variant.name
        for index, each in enumerate(variant.executables):
            ratio = all_ratios[index].get(variant.name)
            cells = (f"{ratio:.2f}" if ratio else "-", agreement_text(each.agreement))
            rows.append((at_shape(result.manifest, index, name), *cost_cells(each.cost), *cells))
    yield table(title, ("variant", *cost_columns(costs), ">time / dense", "error"), rows)
    yield line(f"{origin_note(costs)}; error: against the reference", "dim")
    if below:
        yield line("! on the test split it falls by more than --max-drop", "yellow")
    yield from pieces_shown(result.manifest)
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
    site = result.plan.site
    if not site.at_hand:
        parts.append("not run on that board: no latency is known; error: its lowering's, run here")
    elif not site.here:
        parts.append(f"run on {site.describe()}")
        if site.emulated:
            parts.append("its outputs and metric are real, its times are not: no latency")
    return "; ".join(parts)


def _recipe_row(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        recipe["name"],
        " → ".join(recipe["passes"]) or "nothing compressed",
        "-" if recipe["macs_count"] is None else count_text(recipe["macs_count"]),
        "-" if recipe["weights_bytes"] is None else bytes_text(recipe["weights_bytes"]),
        "" if recipe["skipped"] is None else f"skipped: {recipe['skipped']}",
    )


def _board_row(board: Mapping[str, Any]) -> tuple[str, ...]:
    what = "built only, not run"
    if board["is_this_machine"]:
        what = "tuned, run and measured here"
    elif board["run_on"] is not None:
        what = f"tuned and run on {board['run_on']}"
    if board["obstacle"] is not None:
        what = f"cannot be built: {board['obstacle']}"
    return (
        board["name"],
        str(board["threads_count"]),
        str(board["trials_count"]),
        _known(board),
        board["log"],
        board["output"],
        what,
    )


def _known(board: Mapping[str, Any]) -> str:
    if not board["shipped_records_count"]:
        return str(board["known_records_count"])
    return f"{board['known_records_count']} + {board['shipped_records_count']} shipped"


def _specs(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {shape_text(spec.shape)}" for spec in specs)


def _data(data: Mapping[str, Any] | None) -> str:
    if data is None:
        return "none, so no metric is known"
    given = "" if data["calibration"] is None else f" of {data['calibration']}"
    return (
        f"{data['source']}: {data['calibration_count']} samples{given} to calibrate, "
        f"{data['validation_count']} to validate, {data['test_count']} to test "
        f"(seed {data['seed']})"
    )


def _bounds(bounds: Bounds, metric: Metric | None) -> str:
    parts = []
    if metric is not None and bounds.max_drop is not None:
        may = "fall" if metric.direction == "higher" else "rise"
        parts.append(f"{metric.name} may {may} by {metric.describe_change(bounds.max_drop)}")
    if metric is not None and bounds.min_metric is not None:
        parts.append(f"{metric.name} no worse than {metric.describe(bounds.min_metric)}")
    if bounds.latency_ms is not None:
        parts.append(f"p90 at most {bounds.latency_ms:g} ms")
    if not bounds.front_only:
        parts.append("variants stay though another is better in every figure")
    return ", ".join(parts) or "none"
