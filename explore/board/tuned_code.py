"""From candidates to tuned code for one board: lower, tune, build."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tvm import IRModule
from tvm.s_tir.schedule import Trace

from ...backends.build import schedule
from ...backends.conv_algorithms import Alternatives, Known, alternatives, fastest
from ...backends.rpc.description import EMULATED_SUFFIX
from ...backends.rpc.host.runner import RpcRunner
from ...backends.tuning import (
    TuningLog,
    TuningReport,
    best_known,
    fastest_known,
    shipped_logs,
    tasks_of,
    tune,
)
from ...errors import BoardError
from ...targets import Board
from ..candidates import Candidate
from ..farms import Farms
from ..progress import Progress
from ..request import Request
from .code_jobs import CodeJob, order
from .site import Site, site_of

Best = Callable[[IRModule], Trace | None]


@dataclass(frozen=True, kw_only=True)
class BoardCode:
    """One board's variants, tuned and scheduled; `jobs` get their code."""

    site: Site
    tuning: TuningReport | None
    jobs: tuple[CodeJob, ...]


def order_code(
    request: Request,
    board: Board,
    candidates: Sequence[Candidate],
    farms: Farms,
    progress: Progress,
) -> BoardCode:
    """Lower and tune for a board; its code is under way afterwards where a cluster builds it."""
    site = site_of(request.tracker, board)
    log = log_of(request, site)
    lowered = lower_all(candidates, board, progress)
    report = tune_all(request, lowered, site, log, farms, progress)
    best, times = best_of(request, site, log), times_of(request, site, log)
    jobs = [
        order(candidate.name, schedule(fastest(ways, times), best), farms.code)
        for candidate, ways in zip(candidates, lowered, strict=True)
    ]
    return BoardCode(site=site, tuning=report, jobs=tuple(jobs))


def tune_board(
    request: Request,
    board: Board,
    candidates: Sequence[Candidate],
    farms: Farms,
    progress: Progress,
) -> TuningReport | None:
    """Tune the candidates' functions for a board into its log; None where nothing can be tuned.

    Raises:
        BoardError: the board is not at hand.

    """
    site = site_of(request.tracker, board)
    if not site.at_hand:
        raise BoardError(
            f"{board.name} is not this machine, so nothing can be timed on it; give --tracker"
        )
    lowered = lower_all(candidates, board, progress)
    return tune_all(request, lowered, site, log_of(request, site), farms, progress)


def log_folder(request: Request, site: Site) -> Path:
    """Where what is measured at `site` goes; an emulated board's times stay apart."""
    return request.logs / (site.board.name + (EMULATED_SUFFIX if site.emulated else ""))


def log_of(request: Request, site: Site) -> TuningLog:
    """The user's log of a board, over those that come with the package."""
    shipped = () if site.emulated else shipped_logs(site.board)
    return TuningLog(log_folder(request, site), shipped)


def best_of(request: Request, site: Site, log: TuningLog) -> Best:
    """The fastest known schedule of a function; of an emulated board's, where there is no other."""
    best = best_known(log)
    if not site.emulated:
        return best
    real = best_known(log_of(request, replace(site, emulated=False)))

    def real_first(module: IRModule) -> Trace | None:
        found = real(module)
        return best(module) if found is None else found

    return real_first


def times_of(request: Request, site: Site, log: TuningLog) -> Known:
    """The records whose times count: not those of an emulated board."""
    return fastest_known(log_of(request, replace(site, emulated=False)) if site.emulated else log)


def lower_all(
    candidates: Sequence[Candidate], board: Board, progress: Progress
) -> list[Alternatives]:
    """Lower every candidate for a board, in every way that its layers can be done."""
    lowered = []
    for index, candidate in enumerate(candidates):
        progress.step(f"lower for {board.name}", index, len(candidates), candidate.name)
        lowered.append(alternatives(candidate.model, board))
    progress.step(f"lower for {board.name}", len(candidates), len(candidates), "done")
    return lowered


def tune_all(
    request: Request,
    lowered: Sequence[Alternatives],
    site: Site,
    log: TuningLog,
    farms: Farms,
    progress: Progress,
) -> TuningReport | None:
    """Tune all functions, here or over RPC; None for what is not tuned (GPUs, no trials)."""
    board, settings = site.board, request.tuning
    if not (settings.trials and site.at_hand) or board.device != "cpu":
        return None
    tasks = tasks_of((m for ways in lowered for m in ways.modules), lowered[0].direct.isa)
    label = f"tune on {board.name}"

    def tell(done: int, total: int) -> None:
        progress.step(label, done, total, "trials")

    if site.tracker is None:
        return tune(tasks, board, log, settings, tell, farm=farms.candidates)
    runner = RpcRunner(site.tracker, board, timeout_s=settings.timeout_s)
    try:
        return tune(
            tasks,
            board,
            log,
            settings,
            tell,
            runner=runner,
            farm=farms.candidates,
            emulated=runner.emulated,
        )
    finally:
        runner.close()
