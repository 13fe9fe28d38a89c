"""What is made of a network in pieces before any board: cells, and how good combinations are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import BoardError, BuildError
from ...ir.model import Model
from ...library.evolve.space import Cells, Floats
from ...library.records import sign_of
from ..board.site import Site
from ..combinations.bound import data_noise
from ..combinations.choices import Choices
from ..combinations.survey import Survey, least_budget, survey
from ..costs import count_macs
from ..plan import Plan
from ..progress import Progress
from ..recipes import OF_PIECES, Recipe, why_unsuited
from ..retrain.cells import retrain_cells
from ..variants import Probe
from .affordable import divide_affordably
from .answers import Answers
from .cells import Cell, Pieces, compress_pieces, compressors_of
from .divide import divide
from .forms import CellForm, forms_of

_STAGE = "judge combinations"
_MOST_SAMPLES = 1000
_SECONDS, _MOST = 240.0, 600
_INT8_SPEEDUP = 3.0  # modelled, to choose what is measured


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A network in pieces, whose combinations were judged on samples of the validation split.

    `probe` has those samples, `answers` what combinations give for them in the reference. `forms`
    are those of the cells for one board.
    """

    pieces: Pieces
    choices: Choices
    survey: Survey
    answers: Answers
    probe: Probe
    forms: tuple[CellForm, ...] = ()

    @property
    def networks(self) -> tuple[Cell | CellForm, ...]:
        """All that has code of its own."""
        return (*self.pieces.every, *self.forms)


def compose(plan: Plan, probe: Probe, progress: Progress) -> Composed | None:
    """Cut the network, compress its pieces, survey their combinations; None where it stays whole.

    With training data, cells of all pieces are trained together first. A cell that alone, among
    dense ones, loses more than is allowed is left out.
    """
    assert plan.calibration is not None, "combinations need data"
    dense = _divide(plan, probe, progress)
    if len(dense) < 2:
        progress.note("there is no place to cut the network that is worth it: it stays whole")
        return None
    planned = [each.recipe for each in plan.recipes if each.skipped is None]
    also = () if plan.request.recipes else OF_PIECES
    recipes = [recipe for recipe in (*planned, *also) if _suits(recipe, plan)]
    part = probe.first(_MOST_SAMPLES)
    most_drop = np.inf if plan.bounds.max_drop is None else plan.bounds.max_drop
    compressors = compressors_of(dense, plan.calibration)
    every = compress_pieces(dense, recipes, compressors, progress)
    if plan.training is not None:
        every = retrain_cells(every, compressors, plan, part, progress)
    judge = _Judge(every, part, progress)
    pieces = _good_enough(every, judge, most_drop)
    choices = Choices(kinds=pieces.kinds)
    if choices.combinations_count == 1:
        progress.note("no piece of the network can be compressed within the bounds: it stays whole")
        return None
    if pieces.kinds != every.kinds:  # else what was run is not run again
        judge = _Judge(pieces, part, progress)
    found = survey(
        choices,
        judge,
        [_costs([cell.model for cell in cells]) for cells in pieces.cells],
        judge.budget(choices),
        most_drop=most_drop,
        data_noise=_data_noise(part, len(probe.inputs[0]) - probe.validation_count),
        seed=plan.request.seed,
    )
    return Composed(pieces=pieces, choices=choices, survey=found, answers=judge.answers, probe=part)


def _divide(plan: Plan, probe: Probe, progress: Progress) -> tuple[Model, ...]:
    """Cut where one tensor alone crosses; as often as the first board that can be timed affords."""
    most, sample = plan.request.segments, [value[: plan.model.batch] for value in probe.inputs]
    sites = [board.site for board in plan.boards if board.obstacle is None]
    for site in sorted(sites, key=lambda site: not site.here):
        if not site.at_hand or site.emulated or site.board.device != "cpu":
            continue
        try:
            return divide_affordably(plan.model, most, site, sample, progress)
        except (BoardError, BuildError) as error:  # its variants will fail, too; the others' not
            progress.note(f"what cutting costs was not measured on {site.board.name}: {error}")
    return divide(plan.model, most)


def _suits(recipe: Recipe, plan: Plan) -> bool:
    """Whether all boards can gain by a recipe: they have the same cells."""
    boards = [board.board for board in plan.boards if board.obstacle is None]
    return all(why_unsuited(recipe, board) is None for board in boards)


def for_board(composed: Composed | None, site: Site) -> Composed | None:
    """The network in pieces, with the forms of its cells for a board."""
    if composed is None:
        return None
    return replace(composed, forms=forms_of(composed.pieces, site.board))


class _Judge:
    """Gives the metric of combinations, turned so that more is better."""

    def __init__(self, pieces: Pieces, probe: Probe, progress: Progress) -> None:
        assert probe.metric is not None, "combinations are judged by a metric"
        self.answers = Answers(pieces, probe.inputs)
        self._probe, self._progress = probe, progress
        self._sign = sign_of(probe.metric.direction)
        self._done, self._expected = 0, sum(pieces.counts)

    def __call__(self, combinations: Sequence[Cells]) -> list[float]:
        return [self._judge(cells) for cells in combinations]

    def budget(self, choices: Choices) -> int:
        """How many combinations to measure: as many as go in some minutes, and enough."""
        start = time.monotonic()
        self([choices.dense])
        affordable = int(_SECONDS / max(time.monotonic() - start, 1e-3))
        enough = max(least_budget(choices), min(affordable, _MOST))
        self._expected = min(enough, choices.combinations_count)
        return self._expected

    def _judge(self, cells: Cells) -> float:
        self._progress.step(_STAGE, self._done, max(self._expected, self._done + 1), "metric")
        value = self._probe.validation_value(self.answers(cells))
        assert value is not None, "the probe has targets"
        self._done += 1
        return self._sign * value


def _data_noise(part: Probe, fresh_count: int) -> float:
    """How far the metric of the dense network may be on as many other samples."""
    assert part.metric is not None, "combinations are judged by a metric"
    assert part.targets is not None, "combinations are judged by targets"
    return data_noise([part.metric.score(part.dense_outputs, part.targets)], fresh_count)


def _good_enough(pieces: Pieces, judge: _Judge, most_drop: float) -> Pieces:
    """The cells that alone lose no more than is allowed."""
    choices = Choices(kinds=pieces.kinds)
    (dense,) = judge([choices.dense])
    kept = []
    for segment, cells in enumerate(pieces.cells):
        values = judge([choices.among_dense((segment, index)) for index in range(len(cells))])
        pairs = zip(cells, values, strict=True)
        kept.append(tuple(cell for cell, value in pairs if dense - value <= most_drop))
    return Pieces(dense=pieces.dense, cells=tuple(kept))


def _costs(models: Sequence[Model]) -> Floats:
    """What cells cost, modelled: near the front by this is where combinations are measured."""
    counts = [count_macs(model) for model in models]
    return np.array([1.0 + count.float32 + count.int8 / _INT8_SPEEDUP for count in counts])
