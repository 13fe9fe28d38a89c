"""From variants to tuned code for one board: lower, tune, schedule."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil
from typing import Protocol

from ...backends.build import schedule
from ...backends.conv_algorithms import Alternatives, alternatives, fastest
from ...backends.rpc.host.runner import RpcRunner
from ...backends.tuning.engine import tune
from ...backends.tuning.log.log import TuningLog
from ...backends.tuning.settings import Tuning, TuningReport
from ...backends.tuning.tasks import tasks_of
from ...errors import BoardError
from ...ir.model import Model
from ...targets import Board
from ..progress import Progress
from .code_jobs import CodeJob, order
from .farms import Farms
from .logs import best_schedules, known_times, open_log
from .site import Site


class Network(Protocol):
    """What is built: a variant, or a cell of one."""

    @property
    def name(self) -> str:
        """Its name, of which there is one for each network."""

    @property
    def model(self) -> Model:
        """The network, compressed."""


def order_code(
    site: Site, variants: Sequence[Network], tuning: Tuning, farms: Farms, progress: Progress
) -> tuple[TuningReport | None, tuple[CodeJob, ...]]:
    """Lower and tune for a board; its code is under way afterwards where a cluster builds it.

    One job for each network; a variant may be there at several shapes.
    """
    log = open_log(site)
    lowered = lower_all(variants, site.board, progress)
    report = tune_all(lowered, site, log, tuning, farms, progress)
    best, times = best_schedules(site, log), known_times(site, log)
    jobs = []
    for variant, ways in zip(variants, lowered, strict=True):
        prepared = fastest(ways, times)
        job = CodeJob(variant.name, prepared, schedule(prepared, best))
        jobs.append(order(job, farms.code))
    return report, tuple(jobs)


def tune_board(
    site: Site, variants: Sequence[Network], tuning: Tuning, farms: Farms, progress: Progress
) -> TuningReport | None:
    """Tune the variants' functions for a board into its log; None where nothing can be tuned.

    Raises:
        BoardError: the board is not at hand.

    """
    if not site.at_hand:
        raise BoardError(
            f"{site.board.name} is not this machine, so nothing can be timed on it; give --tracker"
        )
    lowered = lower_all(variants, site.board, progress)
    return tune_all(lowered, site, open_log(site), tuning, farms, progress)


def lower_all(variants: Sequence[Network], board: Board, progress: Progress) -> list[Alternatives]:
    """Lower every variant for a board, in every way that its layers can be done."""
    lowered = []
    for index, variant in enumerate(variants):
        progress.step(f"lower for {board.name}", index, len(variants), variant.name)
        lowered.append(alternatives(variant.model, board))
    progress.step(f"lower for {board.name}", len(variants), len(variants), "done")
    return lowered


def tune_all(
    lowered: Sequence[Alternatives],
    site: Site,
    log: TuningLog,
    tuning: Tuning,
    farms: Farms,
    progress: Progress,
) -> TuningReport | None:
    """Tune all functions, here or over RPC; None where nothing is (no board at hand, no trials)."""
    board = site.board
    if not (tuning.trials and site.at_hand):
        return None
    tasks = tasks_of((m for ways in lowered for m in ways.modules), lowered[0].direct.isa)
    label, start_s = f"tune on {board.name}", time.monotonic()

    def tell(done: int, total: int) -> None:
        passed_s, limit_s = time.monotonic() - start_s, tuning.time_limit_s
        if limit_s is not None and passed_s * total > done * limit_s:  # time ends it, not trials
            limit = ceil(limit_s)
            progress.step(label, min(int(passed_s), limit), limit, f"seconds, {done} trials")
        else:
            progress.step(label, done, total, "trials")

    if site.tracker is None or site.remote is None:
        return tune(tasks, board, log, tuning, tell, farm=farms.candidates)
    runner = RpcRunner(site.tracker, board, site.remote, timeout_s=tuning.timeout_s)
    try:
        return tune(
            tasks,
            board,
            log,
            tuning,
            tell,
            runner=runner,
            farm=farms.candidates,
            emulated=runner.emulated,
        )
    finally:
        runner.close()
