"""From a plan to libraries: tune, build, measure, gate, and write one for each board."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backends.tuning.settings import TuningReport
from ..errors import AdaspringError
from ..files.replace import TemporaryFolder
from ..ir.model import Model
from ..library import manifest as record
from ..targets import Board
from .accuracy.doubts import doubts
from .assemble import write_contenders
from .board.code_jobs import CodeJob, build_all
from .board.farms import Farms, farms_of
from .board.tuned_code import order_code
from .contenders import lost_on_test, make_contender, pass_gate
from .measure.elsewhere import agreement_elsewhere
from .measure.variants import measure_variants
from .plan import BoardPlan, Plan
from .plan import plan as make_plan
from .progress import Progress, Silent
from .request import Request
from .shortlist import find_variants, select_for_board
from .variants import Probe, Variant, make_probe


@dataclass(frozen=True, kw_only=True)
class BoardResult:
    """What came out for one board.

    `lost_on_test` names those that pass on the validation split, which decides, but lose more than
    allowed on the test split.
    """

    plan: BoardPlan
    folder: Path
    manifest: record.Manifest
    latency_ratios: dict[str, float]
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
        doubted = doubts(plan.model, variants[0], probe)
        for doubt in doubted:
            progress.note(f"warning: {doubt}")
        begun: Iterable[_BoardWork | BoardFailure] = (
            _begin(plan, board, variants, farms, progress) for board in plan.boards
        )
        if farms.code is not None:
            begun = list(begun)  # the code of all boards is under way before any is waited for
        boards = [_finish(plan, work, skipped, probe, progress) for work in begun]
    return CompileResult(boards=tuple(boards), skipped=skipped, doubts=doubted)


@dataclass(frozen=True)
class _BoardWork:
    """A board whose code is ordered; `unsuited` are not for this board."""

    plan: BoardPlan
    start_s: float
    variants: tuple[Variant, ...]
    unsuited: tuple[record.Dropped, ...]
    tuning: TuningReport | None
    jobs: tuple[CodeJob, ...]


def _begin(
    plan: Plan, board: BoardPlan, variants: Sequence[Variant], farms: Farms, progress: Progress
) -> _BoardWork | BoardFailure:
    start_s = time.monotonic()
    if board.obstacle is not None:
        return BoardFailure(plan=board, error=board.obstacle, elapsed_s=0.0)
    chosen, unsuited = select_for_board(variants, board.board)
    try:
        tuning, jobs = order_code(board.site, chosen, plan.request.tuning, farms, progress)
    except AdaspringError as error:
        return fail_board(plan, board, error, start_s)
    return _BoardWork(board, start_s, chosen, unsuited, tuning, jobs)


def _finish(
    plan: Plan,
    work: _BoardWork | BoardFailure,
    skipped: Sequence[record.Dropped],
    probe: Probe,
    progress: Progress,
) -> BoardResult | BoardFailure:
    if isinstance(work, BoardFailure):
        return work
    try:
        return _write_library(plan, work, skipped, probe, progress)
    except AdaspringError as error:
        return fail_board(plan, work.plan, error, work.start_s)


def _write_library(
    plan: Plan,
    work: _BoardWork,
    skipped: Sequence[record.Dropped],
    probe: Probe,
    progress: Progress,
) -> BoardResult:
    board, site, folder = work.plan.board, work.plan.site, work.plan.output
    assert folder is not None, "a library is compiled into a folder"
    with TemporaryFolder("build") as name:
        built = build_all(work.jobs, board, Path(name), progress)
        measured = measure_variants(
            site, plan.model, work.variants, built, probe, Path(name), progress
        )
        elsewhere: dict[str, float] = {}
        if not site.at_hand:
            elsewhere = agreement_elsewhere(
                plan.model, work.variants, work.jobs, probe, Path(name), progress
            )
        contenders = [
            make_contender(
                each,
                built[each.name],
                site,
                measured.get(each.name),
                probe,
                elsewhere.get(each.name),
            )
            for each in work.variants
        ]
        kept, dropped = pass_gate(contenders, plan.bounds, plan.metric)
        left_out = (*skipped, *work.unsuited, *dropped)
        manifest = write_contenders(folder, plan.model, board, kept, left_out, built)
    return BoardResult(
        plan=work.plan,
        folder=folder,
        manifest=manifest,
        latency_ratios={
            n: m.latency.ratio_to_plainest for n, m in measured.items() if m.latency is not None
        },
        lost_on_test=lost_on_test(contenders[0], kept, plan.bounds),
        tuning=work.tuning,
        elapsed_s=time.monotonic() - work.start_s,
    )


def fail_board(plan: Plan, board: BoardPlan, error: AdaspringError, start_s: float) -> BoardFailure:
    """A failure that does not stop the other boards; raised where there are none."""
    if len(plan.boards) == 1:
        raise error
    return BoardFailure(plan=board, error=str(error), elapsed_s=time.monotonic() - start_s)
