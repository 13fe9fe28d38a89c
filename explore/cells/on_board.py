"""The pieces on a board: built, timed alone and together, and what follows for all combinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ...backends.build import Built
from ...ir.pieces.levels import Levels
from ...library.evolve.space import Cells
from ...library.parts import CellParts, CompositionParts, FormParts, VariantParts
from ...library.pieces import composition as record
from ...library.records import Cost
from ...library.writer import write_library
from ..assemble import cell_parts, library_parts
from ..board.code_jobs import CodeJob, build_all
from ..board.site import Site
from ..costs import make_cost
from ..gate import tolerance_ratio
from ..measure.local import latency_of
from ..plan import Plan
from ..progress import Progress
from ..variants import agreement_ratio
from .affordable import MOST_UNCUT_RATIO
from .cells import Cell
from .compose import Composed
from .forms import CellForm
from .measure import Timed, run
from .predictions import combination_records, held_out_of, latency_prediction, metric_prediction

_FITTED, _HELD_OUT = 40, 60
_RUN_SECONDS, _LEAST_SAMPLES = 20.0, 16


class NotInPieces(Exception):
    """Why a library does not offer its network in pieces."""


def compose_on_board(
    composed: Composed,
    jobs: Sequence[CodeJob],
    whole: VariantParts,
    plan: Plan,
    site: Site,
    work: Path,
    progress: Progress,
) -> CompositionParts:
    """Build the cells, measure them and combinations of them, and say what the library will.

    `whole` is the plainest variant, against which cutting is held.

    Raises:
        NotInPieces: cutting costs too much, or pieces put together compute something else.

    """
    work.mkdir()
    built = build_all(jobs, site.board, work, progress)
    chosen = _chosen(composed)
    library = work / "pieces.lib"
    parts = _parts(composed, built, site, {})
    write_library(
        library,
        replace(library_parts(plan.model, site.board, (whole,), ()), composition=parts),
    )
    stage = f"measure pieces on {site.board.name}"
    progress.step(stage, 0, 1, "cells and combinations in turn")
    rows = slice(0, _samples_count(composed, whole, len(chosen)))
    inputs = [value[rows] for value in composed.probe.inputs]
    names = {cells: composed.choices.name(cells) for cells in chosen}
    timed = run(library, plan.model, names, inputs, work)
    progress.step(stage, 1, 1, "done")
    _check_outputs(composed, timed)
    _check_cut(len(composed.pieces.dense), timed.uncut_ratio)
    return replace(
        _parts(composed, built, site, timed.cells),
        metric=metric_prediction(composed, timed, plan),
        latency=latency_prediction(composed, timed),
        combinations=combination_records(composed, timed, site),
        uncut_ratio=timed.uncut_ratio,
    )


def _chosen(composed: Composed) -> list[Cells]:
    """Which combinations are timed: the dense one, some to fit to, some held out; all of few."""
    if composed.choices.combinations_count <= _FITTED + _HELD_OUT:
        return list(dict.fromkeys((composed.choices.dense, *composed.choices.all())))
    held_out = held_out_of(composed)[:_HELD_OUT]
    others = [cells for cells in composed.survey.measured if cells not in set(held_out)]
    spread = np.linspace(0, len(others) - 1, min(_FITTED, len(others))).astype(int)
    fitted = [others[index] for index in spread]
    return list(dict.fromkeys((composed.choices.dense, *fitted, *held_out)))


def _samples_count(composed: Composed, whole: VariantParts, combinations_count: int) -> int:
    """As many samples as all combinations run in some seconds."""
    latency = whole.cost.latency_p50_ms
    assert latency is not None, "the whole network was timed"
    affordable = int(1e3 * _RUN_SECONDS / (latency.value * combinations_count))
    return min(len(composed.probe.inputs[0]), max(affordable, _LEAST_SAMPLES))


def _check_outputs(composed: Composed, timed: Timed) -> None:
    for cells, outputs in timed.outputs.items():
        wanted = [value[: len(outputs[0])] for value in composed.answers(cells)]
        found = agreement_ratio(outputs, wanted)
        models = [composed.pieces.cells[index][cell].model for index, cell in enumerate(cells)]
        allowed = max(tolerance_ratio(model) for model in models)
        if not found <= allowed:
            raise NotInPieces(
                f"{composed.choices.name(cells)} differs from the reference by {found:.2g} of the "
                f"largest value (tolerance {allowed:g})"
            )


def _check_cut(count: int, uncut_ratio: float) -> None:
    if uncut_ratio > MOST_UNCUT_RATIO:
        raise NotInPieces(
            f"the {count} pieces take {uncut_ratio:.3f} of the time of the whole network (allowed "
            f"{MOST_UNCUT_RATIO}); ask for fewer --segments"
        )


def _parts(
    composed: Composed,
    built: Mapping[str, Built],
    site: Site,
    times: Mapping[str, np.ndarray],
) -> CompositionParts:
    segments = tuple(
        (
            composed.pieces.layer_names(index),
            tuple(_cell_parts(composed, cell, built, site, times) for cell in cells),
        )
        for index, cells in enumerate(composed.pieces.cells)
    )
    return CompositionParts(segments=segments)


def _cell_parts(
    composed: Composed,
    cell: Cell,
    built: Mapping[str, Built],
    site: Site,
    times: Mapping[str, np.ndarray],
) -> CellParts:
    cost = _cost(cell, built[cell.name], site, times)
    forms = [each for each in composed.forms if each.cell is cell]
    return replace(
        cell_parts(cell.recipe, cell.decisions(), built[cell.name], cost),
        forms=tuple(_form_parts(each, built[each.name], site, times) for each in forms),
    )


def _form_parts(
    each: CellForm, built: Built, site: Site, times: Mapping[str, np.ndarray]
) -> FormParts:
    return FormParts(
        code_path=built.code,
        functions=built.functions,
        weights=built.weights,
        cost=_cost(each, built, site, times),
        takes=_record(each.form.takes),
        gives=_record(each.form.gives),
    )


def _record(levels: Levels | None) -> record.Levels | None:
    if levels is None:
        return None
    return record.Levels(**asdict(levels))


def _cost(each: Cell | CellForm, built: Built, site: Site, times: Mapping[str, np.ndarray]) -> Cost:
    found = times.get(each.name)
    latency = None if found is None else latency_of(found, 1.0, "app side, this piece alone")
    return make_cost(each.model, built, site.board, latency)
