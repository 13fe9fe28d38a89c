"""The pieces on a board: built, timed alone and together, and what follows for all combinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ...backends.build import Built, build_unscheduled
from ...errors import BoardError
from ...ir.pieces.levels import Levels
from ...library.evolve.space import Cells
from ...library.manifest import Agreement, board_record
from ...library.parts import CellParts, CompositionParts, FormParts, LibraryParts, VariantParts
from ...library.pieces import composition as record
from ...library.records import Cost
from ...library.writer import write_library
from ...targets import Board, null
from ..accuracy.rounding import excused
from ..assemble import ELSEWHERE, cell_parts, library_parts
from ..board.code_jobs import CodeJob, build_all
from ..board.site import Site
from ..combinations.sample import first
from ..costs import make_cost
from ..gate import tolerance_ratio
from ..measure.local import latency_of
from ..plan import Plan
from ..progress import Progress
from .affordable import MOST_UNCUT_RATIO
from .cells import Cell
from .compose import Composed
from .forms import CellForm
from .local import Ran, Times, run
from .measure import run_at
from .predictions import (
    combination_records,
    held_out_of,
    latency_prediction,
    metric_prediction,
    within_bounds,
)
from .remote import LEAST_SAMPLES, RUN_SECONDS

_FITTED, _HELD_OUT = 40, 60
_MOST_SCATTER = 1 / 3
"""Where predicted latencies are wrong by more, deadlines cannot be kept by them."""


class NotInPieces(Exception):
    """Why a library does not offer its network in pieces."""


class CutTooDear(NotInPieces):
    """So many pieces cost too much time; fewer may not."""


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
        CutTooDear: so many pieces cost too much time.
        NotInPieces: pieces put together compute something else, or the board is gone, or a GPU.

    """
    if site.at_hand and site.board.device != "cpu":
        raise NotInPieces("pieces are run and timed on processors alone, not yet on GPUs")
    work.mkdir()
    built = build_all(jobs, site.board, work, progress)
    parts = library_parts(plan.model, site.board, (whole,), ())
    if site.at_hand:
        pieces = _parts(composed, built, site.board)
        library = replace(parts, composition=pieces)
        found = _run_there(composed, library, plan, site, work, progress)
    else:
        found = _run_elsewhere(composed, jobs, parts, plan, work, progress)
    agreements = _farthest(composed, _check_outputs(composed, found, site.at_hand))
    if found.times is not None:
        check_cut(len(composed.pieces.dense), found.times.uncut_ratio)
    combinations = combination_records(composed, found, site)
    metric = metric_prediction(composed, plan, len(combinations))
    latency = None if found.times is None else latency_prediction(composed, found.times)
    scatter = (latency.bound_ratio if latency is not None else None) or 0.0
    if metric is not None and scatter > _MOST_SCATTER:
        metric = None
        progress.note(
            f"combinations take up to {100 * scatter:.0f} % more or less than "
            "their cells tell: those that were measured run alone; a quieter machine tells more"
        )
    if metric is None:  # what is listed runs, and nothing else
        combinations = within_bounds(combinations, composed, plan)
    return replace(
        _parts(composed, built, site.board, found.times, agreements),
        metric=metric,
        latency=latency,
        combinations=combinations,
        uncut_ratio=None if found.times is None else found.times.uncut_ratio,
    )


def _run_there(
    composed: Composed,
    library: LibraryParts,
    plan: Plan,
    site: Site,
    work: Path,
    progress: Progress,
) -> Ran:
    """Run and time combinations on their board."""
    chosen, inputs = _chosen(composed), composed.probe.inputs
    if site.here:
        count = _samples_count(composed, library.variants[0], len(chosen))
        inputs = tuple(value[:count] for value in inputs)
    names = {cells: composed.choices.name(cells) for cells in chosen}
    stage, steps = f"measure pieces on {site.board.name}", 1

    def tell(done: int, total: int, what: str) -> None:
        nonlocal steps
        steps = total
        progress.step(stage, done, total, what)

    try:
        found = run_at(site, plan.model, library, names, inputs, work, tell)
    except BoardError as gone:  # the whole variants are measured
        raise NotInPieces(str(gone)) from gone
    progress.step(stage, steps, steps, "done")
    return found


def _run_elsewhere(
    composed: Composed,
    jobs: Sequence[CodeJob],
    parts: LibraryParts,
    plan: Plan,
    work: Path,
    progress: Progress,
) -> Ran:
    """Run what cells are lowered to for a board that is not at hand, unscheduled, for one call.

    Every cell is run among dense ones, and with those of its kind. `parts` has the whole network
    since a library has one; it is not run.
    """
    board, stage = null(), f"check the pieces' lowering for {parts.board.name} here"
    folder, built = work / "elsewhere", dict[str, Built]()
    folder.mkdir()
    for done, job in enumerate(jobs):
        progress.step(stage, done, len(jobs), job.name)
        built[job.name] = build_unscheduled(job.prepared, board, folder / f"{job.name}.so")
    library = replace(parts, board=board_record(board), composition=_parts(composed, built, board))
    write_library(folder / "pieces.lib", library)
    names = {cells: composed.choices.name(cells) for cells in first(composed.choices)}
    inputs = [value[: plan.model.batch] for value in composed.probe.inputs]
    found = run(folder / "pieces.lib", plan.model, names, inputs, folder, seconds=0)
    progress.step(stage, len(jobs), len(jobs), "done")
    return found


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
    affordable = int(1e3 * RUN_SECONDS / (latency.value * combinations_count))
    return min(len(composed.probe.inputs[0]), max(affordable, LEAST_SAMPLES))


def _check_outputs(composed: Composed, ran: Ran, at_hand: bool) -> dict[Cells, Agreement]:
    """How far combinations are from the reference, none farther than it may be."""
    found = {}
    for cells, outputs in ran.outputs.items():
        wanted = [value[: len(outputs[0])] for value in composed.answers(cells)]
        allowed = max(
            tolerance_ratio(composed.pieces.cells[index][cell].model)
            for index, cell in enumerate(cells)
        )
        floats = partial(composed.answers.unrounded, cells, len(outputs[0]))
        there = excused(outputs, wanted, allowed, floats)
        allowed = max(allowed, there.rounding_ratio)
        if not there.ratio <= allowed:
            raise NotInPieces(
                f"{composed.choices.name(cells)} differs from the reference by "
                f"{there.ratio:.2g} of the largest value (tolerance {allowed:g})"
            )
        found[cells] = Agreement(
            max_error_ratio=there.ratio,
            tolerance_ratio=allowed,
            reference="combinations that have it, operator by operator in torch float32",
            ran="combinations that have it, on their board" if at_hand else ELSEWHERE,
        )
    return found


def _farthest(composed: Composed, agreements: Mapping[Cells, Agreement]) -> dict[str, Agreement]:
    """Of each cell that was run, by name: the farthest of all combinations that have it."""
    found = dict[str, Agreement]()
    for cells, agreement in sorted(agreements.items(), key=lambda row: row[1].max_error_ratio):
        for index, cell in enumerate(cells):
            found[composed.pieces.cells[index][cell].name] = agreement
    return found


def check_cut(count: int, uncut_ratio: float) -> None:
    """Refuse so many pieces where they cost too much time: CutTooDear."""
    if uncut_ratio > MOST_UNCUT_RATIO:
        raise CutTooDear(
            f"{count} pieces, tuned, take {uncut_ratio:.3f} of the time of the whole (allowed "
            f"{MOST_UNCUT_RATIO})"
        )


def _parts(
    composed: Composed,
    built: Mapping[str, Built],
    board: Board,
    times: Times | None = None,
    agreements: Mapping[str, Agreement] = MappingProxyType({}),
) -> CompositionParts:
    def parts_of(cell: Cell) -> CellParts:
        forms = [each for each in composed.forms if each.cell is cell]
        return replace(
            cell_parts(
                cell.recipe,
                cell.decisions(),
                built[cell.name],
                _cost(cell, built[cell.name], board, times),
            ),
            agreement=agreements.get(cell.name),
            forms=tuple(_form_parts(each, built[each.name], board, times) for each in forms),
        )

    return CompositionParts(
        segments=tuple(
            (composed.pieces.layer_names(index), tuple(map(parts_of, cells)))
            for index, cells in enumerate(composed.pieces.cells)
        )
    )


def _form_parts(each: CellForm, built: Built, board: Board, times: Times | None) -> FormParts:
    return FormParts(
        code_path=built.code,
        functions=built.functions,
        weights=built.weights,
        cost=_cost(each, built, board, times),
        takes=_record(each.form.takes),
        gives=_record(each.form.gives),
    )


def _record(levels: Levels | None) -> record.Levels | None:
    if levels is None:
        return None
    return record.Levels(**asdict(levels))


def _cost(each: Cell | CellForm, built: Built, board: Board, times: Times | None) -> Cost:
    latency = None
    if times is not None:
        latency = latency_of(times.cells[each.name], 1.0, f"{times.where}, this piece alone")
    return make_cost(each.model, built, board, latency)
