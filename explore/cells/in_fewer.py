"""The pieces on a board: fewer of them, where so many cost too much time once they are tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...library.parts import CompositionParts, VariantParts
from ..board.code_jobs import CodeJob
from ..board.farms import Farms
from ..board.tuned_code import order_code
from ..plan import Plan
from ..progress import Progress
from ..variants import Probe
from .compose import Composed, compose, for_board
from .on_board import CutTooDear, NotInPieces, compose_on_board


def compose_affordably(
    composed: Composed,
    jobs: Sequence[CodeJob],
    whole: VariantParts,
    plan: Plan,
    probe: Probe,
    farms: Farms,
    work: Path,
    progress: Progress,
) -> CompositionParts | None:
    """Do what `compose_on_board` does, in fewer pieces until they cost hardly any time.

    What a cut costs was measured before anything was tuned; tuned pieces take less, so that what
    lies between them weighs more. Fewer pieces get cells and code of their own, by the schedules
    that are known by then. `plan` is for one board. None where no cut is worth it, pieces put
    together compute something else, or the board is gone: the reason is noted.
    """
    (board,), count = plan.boards, len(composed.pieces.dense)
    site, folder = board.site, work / f"{count}-pieces"
    try:
        return compose_on_board(composed, jobs, whole, plan, site, folder, progress)
    except CutTooDear as why:
        progress.note(f"on {site.board.name} {why}: fewer")
    except NotInPieces as why:
        progress.note(f"the network stays whole on {site.board.name}: {why}")
        return None
    request = replace(plan.request, segments=count - 1)
    plan = replace(plan, request=request)
    fewer = for_board(compose(plan, probe, progress), site)
    if fewer is None:
        return None
    untuned = replace(request.tuning, trials=0)
    _, jobs = order_code(site, fewer.networks, untuned, farms, progress)
    return compose_affordably(fewer, jobs, whole, plan, probe, farms, work, progress)
