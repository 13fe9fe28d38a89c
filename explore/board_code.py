"""From candidates to tuned code for one board: lower, tune, build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..backends.build import Built, Prepared, build, prepare
from ..backends.rpc.runner import RpcRunner
from ..backends.tuning import TuningLog, TuningReport, best_known, shipped_logs, tasks_of, tune
from ..errors import BoardError
from ..targets import Board, is_this_machine
from .candidates import Candidate
from .progress import Progress
from .request import Request


def tune_board(
    request: Request, board: Board, candidates: Sequence[Candidate], progress: Progress
) -> TuningReport | None:
    """Tune the candidates' functions for a board into its log; None where nothing can be tuned.

    Raises:
        BoardError: the board is not at hand.

    """
    if not (is_this_machine(board) or request.tracker):
        raise BoardError(
            f"{board.name} is not this machine, so nothing can be timed on it; give --tracker"
        )
    log = log_of(request, board)
    prepared = prepare_all(candidates, board, progress)
    return tune_all(request, prepared, board, log, progress)


def log_of(request: Request, board: Board) -> TuningLog:
    """The user's log of a board, over those that come with the package."""
    return TuningLog(request.logs / board.name, shipped_logs(board))


def prepare_all(
    candidates: Sequence[Candidate], board: Board, progress: Progress
) -> list[Prepared]:
    """Lower every candidate for a board."""
    prepared = []
    for index, candidate in enumerate(candidates):
        progress.step(f"lower for {board.name}", index, len(candidates), candidate.name)
        prepared.append(prepare(candidate.model, board))
    progress.step(f"lower for {board.name}", len(candidates), len(candidates), "done")
    return prepared


def tune_all(
    request: Request,
    prepared: Sequence[Prepared],
    board: Board,
    log: TuningLog,
    progress: Progress,
) -> TuningReport | None:
    """Tune all functions, here or over RPC; None for what is not tuned (GPUs, no trials)."""
    settings = request.tuning
    if not settings.trials or board.device != "cpu":
        return None
    tasks = tasks_of((p.module for p in prepared), prepared[0].isa)
    label = f"tune on {board.name}"

    def tell(done: int, total: int) -> None:
        progress.step(label, done, total, "trials")

    if is_this_machine(board) or request.tracker is None:
        return tune(tasks, board, log, settings, tell)
    runner = RpcRunner(request.tracker, board, timeout_s=settings.timeout_s)
    try:
        return tune(tasks, board, log, settings, tell, runner=runner, emulated=runner.emulated)
    finally:
        runner.close()


def build_all(
    candidates: Sequence[Candidate],
    prepared: Sequence[Prepared],
    log: TuningLog,
    work: Path,
    board: Board,
    progress: Progress,
) -> dict[str, Built]:
    """Build every candidate with the fastest known schedules, into `work`."""
    best = best_known(log)
    built = {}
    for index, (candidate, ready) in enumerate(zip(candidates, prepared, strict=True)):
        progress.step(f"build for {board.name}", index, len(candidates), candidate.name)
        built[candidate.name] = build(ready, best, work / f"{candidate.name}.so")
    progress.step(f"build for {board.name}", len(candidates), len(candidates), "done")
    return built
