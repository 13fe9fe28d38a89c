"""Tune a network's variants for boards, without building a library: the log is what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..backends.tuning import TuningReport
from ..errors import AdaspringError
from ..library import manifest as record
from ..targets import Board
from .board.site import site_of
from .board.tuned_code import log_folder, tune_board
from .candidates import Candidate, make_probe
from .farms import Farms, farms_of
from .progress import Progress, Silent
from .request import Request
from .shortlist import find_candidates, suited


@dataclass(frozen=True, kw_only=True)
class TunedBoard:
    """What tuning for one board did; `error` where it could not."""

    board: Board
    log: Path
    report: TuningReport | None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """All boards, the variants whose functions were tuned, and those that were not, and why."""

    boards: tuple[TunedBoard, ...]
    variants: tuple[str, ...]
    skipped: tuple[record.Dropped, ...]


def tune_variants(request: Request, progress: Progress | None = None) -> TuneResult:
    """Tune the functions of every variant of `request` that keeps accuracy, each board in turn.

    `request.output` is not used. A board that fails does not stop the others.

    Raises:
        AdaspringError: nothing can be tuned for any board (the dense network does not run).

    """
    progress = progress or Silent()
    probe = make_probe(request.model, request.splits)
    with farms_of(request) as farms:
        candidates, skipped = find_candidates(request, probe, progress)
        boards = [_tuned(request, board, candidates, farms, progress) for board in request.boards]
    return TuneResult(
        boards=tuple(boards),
        variants=tuple(candidate.name for candidate in candidates),
        skipped=skipped,
    )


def _tuned(
    request: Request,
    board: Board,
    candidates: Sequence[Candidate],
    farms: Farms,
    progress: Progress,
) -> TunedBoard:
    folder = request.logs / board.name
    try:
        folder = log_folder(request, site_of(request.tracker, board))
        chosen, _ = suited(candidates, board)
        report = tune_board(request, board, chosen, farms, progress)
    except AdaspringError as error:
        if len(request.boards) == 1:
            raise
        return TunedBoard(board=board, log=folder, report=None, error=str(error))
    return TunedBoard(board=board, log=folder, report=report)
