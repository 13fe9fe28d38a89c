"""The tuning logs of a board: the user's own, over those that come with the package."""

from __future__ import annotations

from collections.abc import Callable

from tvm import IRModule
from tvm.s_tir.schedule import Trace

from ...backends.conv_algorithms import Known
from ...backends.tuning.log.log import TuningLog
from ...backends.tuning.log.shipped import shipped_logs
from ...backends.tuning.search.transfer import best_known, fastest_known
from .site import Site

Best = Callable[[IRModule], Trace | None]


def open_log(site: Site) -> TuningLog:
    """The user's log of what was measured at a site, over the shipped ones where it is real."""
    return TuningLog(site.log_folder) if site.emulated else open_board_log(site)


def open_board_log(site: Site) -> TuningLog:
    """The user's log of the real board, over the shipped ones."""
    return TuningLog(site.logs / site.board.name, shipped_logs(site.board))


def best_schedules(site: Site, log: TuningLog) -> Best:
    """The fastest known schedule of a function; of an emulated board's, where there is no other."""
    best = best_known(log)
    if not site.emulated:
        return best
    real = best_known(open_board_log(site))

    def real_first(module: IRModule) -> Trace | None:
        found = real(module)
        return best(module) if found is None else found

    return real_first


def known_times(site: Site, log: TuningLog) -> Known:
    """The records whose times count: not those of an emulated board."""
    return fastest_known(open_board_log(site) if site.emulated else log)
