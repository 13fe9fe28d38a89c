"""From a plan to libraries: tune, build, measure, gate, and write one for each board."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..backends.build import Built
from ..backends.tuning.settings import TuningReport
from ..errors import AdaspringError
from ..files.replace import TemporaryFolder
from ..ir.model import Model
from ..library import manifest as record
from ..library.parts import CompositionParts, VariantParts
from ..library.writer import write_library
from ..targets import Board
from .accuracy.doubts import doubts
from .accuracy.rounding import Apart
from .assemble import library_of
from .board.code_jobs import CodeJob, build_all
from .board.farms import Farms, farms_of
from .board.tuned_code import order_code
from .cells.compose import Composed, compose, for_board
from .cells.in_fewer import compose_affordably
from .contenders import join_shapes, lost_on_test, make_contender, pass_gate
from .gate import Contender
from .measure.elsewhere import agreement_elsewhere
from .measure.variants import measure_variants
from .plan import BoardPlan, Plan
from .plan import plan as make_plan
from .progress import Progress, Silent
from .request import Request
from .shapes.every_shape import AtShape, at_every_shape
from .shortlist import find_variants, select_for_board
from .variants import make_probe


@dataclass(frozen=True, kw_only=True)
class BoardResult:
    """What came out for one board.

    `latency_ratios` are times over that of dense, at the first shape and at the further ones.
    `lost_on_test` names those that pass on the validation split, which decides, but lose more than
    allowed on the test split.
    """

    plan: BoardPlan
    folder: Path
    manifest: record.Manifest
    latency_ratios: dict[str, float]
    further_latency_ratios: tuple[dict[str, float], ...]
    lost_on_test: tuple[str, ...]
    tuning: TuningReport | None
    elapsed_s: float

    @property
    def board(self) -> Board:
        """The board."""
        return self.plan.board


@dataclass(frozen=True, kw_only=True)
class BoardFailure:
    """Why nothing came out for one board."""

    plan: BoardPlan
    error: str
    elapsed_s: float

    @property
    def board(self) -> Board:
        """The board."""
        return self.plan.board


@dataclass(frozen=True, kw_only=True)
class CompileResult:
    """All boards, the recipes that could not be tried, and what looks wrong with the data."""

    boards: tuple[BoardResult | BoardFailure, ...]
    skipped: tuple[record.Dropped, ...]
    doubts: tuple[str, ...]

    @property
    def failures(self) -> tuple[BoardFailure, ...]:
        """The boards that have no library."""
        return tuple(board for board in self.boards if isinstance(board, BoardFailure))


def compile_model(
    model: str | Path | Model,
    output: str | Path,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> CompileResult:
    """Make a library of variants for each board, as `adaspring compile` does.

    `settings` are the other fields of `Request`.
    """
    request = Request(model=model, output=Path(output), **settings)
    return compile_libraries(make_plan(request, progress), progress)


def compile_libraries(plan: Plan, progress: Progress | None = None) -> CompileResult:
    """Carry out a plan.

    A board that fails does not stop the others; where it is the only one, its error is raised.

    Raises:
        AdaspringError: nothing can be made for any board (the dense network does not run).

    """
    progress = progress or Silent()
    probe = make_probe(plan.model, plan.splits, plan.metric)
    with farms_of(plan.request) as farms:
        variants, skipped = find_variants(plan, probe, progress)
        composed = compose(plan, probe, progress) if plan.request.segments > 1 else None
        shapes, lost = at_every_shape(plan, variants, probe, progress)
        skipped = (*skipped, *lost)
        doubted = doubts(plan.model, variants[0], probe)
        for doubt in doubted:
            progress.note(f"warning: {doubt}")
        begun: Iterable[_BoardWork | BoardFailure] = (
            _begin(plan, board, shapes, composed, farms, progress) for board in plan.boards
        )
        if farms.code is not None:
            begun = list(begun)  # the code of all boards is under way before any is waited for
        boards = [_finish(plan, work, skipped, progress) for work in begun]
    return CompileResult(boards=tuple(boards), skipped=skipped, doubts=doubted)


@dataclass(frozen=True)
class _BoardWork:
    """A board whose code is ordered, for each shape; `unsuited` are not for this board.

    `composed` is the network in pieces, where it was cut, and `cell_jobs` their code.
    """

    plan: BoardPlan
    start_s: float
    shapes: tuple[AtShape, ...]
    unsuited: tuple[record.Dropped, ...]
    composed: Composed | None
    tuning: TuningReport | None
    jobs: tuple[tuple[CodeJob, ...], ...]
    cell_jobs: tuple[CodeJob, ...]
    farms: Farms


def _begin(
    plan: Plan,
    board: BoardPlan,
    shapes: Sequence[AtShape],
    composed: Composed | None,
    farms: Farms,
    progress: Progress,
) -> _BoardWork | BoardFailure:
    start_s = time.monotonic()
    if board.obstacle is not None:
        return BoardFailure(plan=board, error=board.obstacle, elapsed_s=0.0)
    chosen, unsuited = select_for_board(shapes[0].variants, board.board)
    suited = tuple(shape.only(chosen) for shape in shapes)
    whole = [variant for shape in suited for variant in shape.variants]
    composed = for_board(composed, board.site)
    cells = () if composed is None else composed.networks
    try:
        tuning, jobs = order_code(
            board.site, (*whole, *cells), plan.request.tuning, farms, progress
        )
    except AdaspringError as error:
        return fail_board(plan, board, error, start_s)
    count = len(chosen)
    by_shape = tuple(jobs[at : at + count] for at in range(0, len(whole), count))
    cell_jobs = jobs[len(whole) :]
    return _BoardWork(
        board, start_s, suited, unsuited, composed, tuning, by_shape, cell_jobs, farms
    )


def _finish(
    plan: Plan,
    work: _BoardWork | BoardFailure,
    skipped: Sequence[record.Dropped],
    progress: Progress,
) -> BoardResult | BoardFailure:
    if isinstance(work, BoardFailure):
        return work
    try:
        return _write_library(plan, work, skipped, progress)
    except AdaspringError as error:
        return fail_board(plan, work.plan, error, work.start_s)


def _write_library(
    plan: Plan,
    work: _BoardWork,
    skipped: Sequence[record.Dropped],
    progress: Progress,
) -> BoardResult:
    board, folder = work.plan.board, work.plan.output
    assert folder is not None, "a library is compiled into a folder"
    with TemporaryFolder("build") as name:
        found = [
            _measure(work, index, Path(name) / str(index), progress)
            for index in range(len(work.shapes))
        ]
        contenders = join_shapes([shape.contenders for shape in found])
        kept, dropped = pass_gate(contenders, plan.bounds, plan.metric)
        parts = library_of(
            [shape.model for shape in work.shapes],
            board,
            kept,
            (*skipped, *work.unsuited, *dropped),
            [shape.built for shape in found],
            plan.request.pad,
        )
        composition = _compose(plan, work, parts.variants[0], Path(name), progress)
        manifest = write_library(folder, replace(parts, composition=composition))
    return BoardResult(
        plan=work.plan,
        folder=folder,
        manifest=manifest,
        latency_ratios=found[0].latency_ratios,
        further_latency_ratios=tuple(shape.latency_ratios for shape in found[1:]),
        lost_on_test=lost_on_test(contenders[0], kept, plan.bounds),
        tuning=work.tuning,
        elapsed_s=time.monotonic() - work.start_s,
    )


def _compose(
    plan: Plan, work: _BoardWork, whole: VariantParts, folder: Path, progress: Progress
) -> CompositionParts | None:
    """The network in pieces, where it was cut and that is worth it."""
    if work.composed is None:
        return None
    alone, probe = replace(plan, boards=(work.plan,)), work.shapes[0].probe
    return compose_affordably(
        work.composed, work.cell_jobs, whole, alone, probe, work.farms, folder, progress
    )


@dataclass(frozen=True)
class _Found:
    """What was built and measured at one shape."""

    built: dict[str, Built]
    contenders: list[Contender]

    @property
    def latency_ratios(self) -> dict[str, float]:
        """Each variant's time over that of dense, where it was timed."""
        ratios = {each.name: each.latency_ratio for each in self.contenders}
        return {name: ratio for name, ratio in ratios.items() if ratio is not None}


def _measure(work: _BoardWork, index: int, folder: Path, progress: Progress) -> _Found:
    """Build every variant at one shape, run it, and compare it with its reference."""
    folder.mkdir()
    site, shape, jobs = work.plan.site, work.shapes[index], work.jobs[index]
    built = build_all(jobs, site.board, folder, progress)
    measured = measure_variants(
        site, shape.model, shape.variants, built, shape.probe, folder, progress
    )
    elsewhere: dict[str, Apart] = {}
    if not site.at_hand:
        elsewhere = agreement_elsewhere(
            shape.model, shape.variants, jobs, shape.probe, folder, progress
        )
    contenders = [
        make_contender(
            shape.model,
            each,
            built[each.name],
            site,
            measured.get(each.name),
            shape.probe,
            elsewhere.get(each.name),
        )
        for each in shape.variants
    ]
    return _Found(built, contenders)


def fail_board(plan: Plan, board: BoardPlan, error: AdaspringError, start_s: float) -> BoardFailure:
    """A failure that does not stop the other boards; raised where there are none."""
    if len(plan.boards) == 1:
        raise error
    return BoardFailure(plan=board, error=str(error), elapsed_s=time.monotonic() - start_s)
