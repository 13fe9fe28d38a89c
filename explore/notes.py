"""What the user should know of a plan before it is carried out: what is left out, and why."""

from __future__ import annotations

from collections.abc import Iterator

from ..passes import Kept
from ..passes.quantize.imported import imported_layers
from ..training.run.schedule import duration
from ..training.together import SAMPLED
from .plan import BoardPlan, Plan


def notes(plan: Plan) -> tuple[str, ...]:
    """Say it, a sentence each."""
    found = imported_layers(plan.model)
    if found:
        floats = [decision.layer for decision in found if isinstance(decision, Kept)]
        but = f", {len(floats)} of them in floats ({', '.join(floats[:3])})" if floats else ""
        first = [
            f"the network came quantized and is compiled as it is: {len(found)} layers{but}"
            f"{_skipping(plan, '; these')}"
        ]
        data = ["no --data: no metric is measured"]
    else:
        first = []
        data = [f"no --data: no metric is measured{_skipping(plan, ', and these')}"]
    judged = [f"judged by {plan.metric.explain()}"] if plan.metric is not None else []
    boards = (text for board in plan.boards for text in _board_notes(plan, board))
    return (
        *plan.model.notes,
        *first,
        *(data if plan.splits is None else judged),
        *_training_notes(plan),
        *boards,
    )


def _training_notes(plan: Plan) -> Iterator[str]:
    if plan.request.segments > 1 and plan.training is not None:
        limit_s = plan.request.retrain_time_s
        within = "" if limit_s is None else f", within {duration(limit_s)}"
        yield (
            f"the cells of at most {plan.request.segments} pieces are trained together on "
            f"{len(plan.training)} samples{within}: in each step the dense network, which teaches, "
            f"the smallest combination and {SAMPLED} at random; what makes combinations better is "
            "kept"
        )


def _skipping(plan: Plan, these: str) -> str:
    """Name the recipes that are not even tried."""
    names = [each.recipe.name for each in plan.recipes if each.skipped and not each.compressed]
    return f"{these} recipes are skipped: {', '.join(names)}" if names else ""


def _board_notes(plan: Plan, planned: BoardPlan) -> Iterator[str]:
    board, site = planned.board, planned.site
    if planned.obstacle is not None:
        yield f"cannot be built: {planned.obstacle}"
    if site.emulated:
        yield (
            f"{board.name} is emulated: its outputs and metric are real, its times mean nothing, "
            f"so no latency is recorded; schedules timed there go to {site.log_folder}"
        )
    if not site.at_hand:
        yield (
            f"{board.name} is not this machine: nothing is tuned or run there; schedules that its "
            "log holds are used"
        )
    elif plan.request.tuning.trials == 0:
        yield f"--trials 0: nothing is tuned on {board.name}, so it is slower than it can be"
    if planned.output is not None and planned.output.exists():
        yield f"{planned.output} is replaced"
