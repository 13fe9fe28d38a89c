"""Tune a network's variants for boards, without building a library: the log is what comes out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backends.tuning.settings import TuningReport
from ..errors import AdaspringError
from ..ir.model import Model
from ..library import manifest as record
from ..targets import Board
from .board.farms import Farms, farms_of
from .board.tuned_code import tune_board
from .compile import BoardFailure, fail_board
from .plan import BoardPlan, Plan
from .plan import plan as make_plan
from .progress import Progress, Silent
from .request import Request
from .shapes.every_shape import at_every_shape
from .shortlist import find_variants, select_for_board
from .variants import Variant, make_probe


@dataclass(frozen=True, kw_only=True)
class TunedBoard:
    """What tuning for one board did; `report` is None where its kind is not tuned (GPUs)."""

    plan: BoardPlan
    report: TuningReport | None

    @property
    def board(self) -> Board:
        """The board."""
        return self.plan.board


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """All boards, the variants whose functions were tuned, and those that were not, and why."""

    boards: tuple[TunedBoard | BoardFailure, ...]
    variants: tuple[str, ...]
    skipped: tuple[record.Dropped, ...]


def tune_model(
    model: str | Path | Model, *, progress: Progress | None = None, **settings: Any
) -> TuneResult:
    """Measure schedules of a network's functions on boards, as `adaspring tune` does.

    `settings` are the other fields of `Request`.
    """
    return tune_variants(make_plan(Request(model=model, **settings), progress), progress)


def tune_variants(plan: Plan, progress: Progress | None = None) -> TuneResult:
    """Tune the functions of every planned variant that is good enough, each board in turn.

    A board that fails does not stop the others; where it is the only one, its error is raised.

    Raises:
        AdaspringError: nothing can be tuned for any board (the dense network does not run).

    """
    progress = progress or Silent()
    probe = make_probe(plan.model, plan.splits, plan.metric)
    with farms_of(plan.request) as farms:
        variants, skipped = find_variants(plan, probe, progress)
        shapes, lost = at_every_shape(plan, variants, probe, progress)
        every = [variant for shape in shapes for variant in shape.variants]
        boards = [_tune(plan, board, every, farms, progress) for board in plan.boards]
    names = tuple(variant.name for variant in shapes[0].variants)
    return TuneResult(boards=tuple(boards), variants=names, skipped=(*skipped, *lost))


def _tune(
    plan: Plan, board: BoardPlan, variants: Sequence[Variant], farms: Farms, progress: Progress
) -> TunedBoard | BoardFailure:
    start_s = time.monotonic()
    chosen, _ = select_for_board(variants, board.board)
    try:
        report = tune_board(board.site, chosen, plan.request.tuning, farms, progress)
    except AdaspringError as error:
        return fail_board(plan, board, error, start_s)
    return TunedBoard(plan=board, report=report)
