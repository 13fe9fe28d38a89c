"""Whether trained cells are better than refitted ones: the same combinations of both, run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from ...library.evolve.space import Cells
from ...library.records import sign_of
from ...training.combinations import draw
from ..cells.answers import Answers
from ..cells.cells import Pieces
from ..combinations.choices import Choices
from ..plan import Plan
from ..progress import Progress
from ..variants import Probe

COMPARED = 32
"""How many combinations say whether training made the cells better."""


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """The metric over a sample of combinations, turned so that more is better."""

    mean: float
    worst: float
    held_count: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A sample of combinations before training and after it, in words too."""

    before: Sampled
    after: Sampled
    text: str

    @property
    def is_better(self) -> bool:
        """Whether the mean is better, and no fewer keep within what may be lost."""
        held_more = self.after.held_count >= self.before.held_count
        return held_more and self.after.mean > self.before.mean

    def describe(self) -> str:
        """Say what is kept, and by which figures."""
        return f"{'better and kept' if self.is_better else 'not better, so left out'}: {self.text}"


def compare(
    refitted: Pieces, trained: Pieces, plan: Plan, probe: Probe, progress: Progress
) -> Verdict:
    """Run the same combinations of both on the validation samples."""
    metric, bounds = probe.metric, plan.bounds
    assert metric is not None, "combinations are judged by a metric"
    sign, most_drop = sign_of(metric.direction), inf if bounds.max_drop is None else bounds.max_drop
    names = _sampled_names(refitted, trained, plan.request.seed)
    assert names, "cells that were trained are cells again"
    base = probe.validation_value(probe.dense_outputs)
    assert base is not None, "the probe has targets"
    found = []
    for index, pieces in enumerate((refitted, trained)):
        progress.step("compare trained cells", index, 2, f"{len(names)} combinations")
        answers = Answers(pieces, probe.inputs)
        values = np.array([_value(pieces, answers, probe, each) for each in names])
        held_count = int((sign * (base - values) <= most_drop).sum())
        turned = sign * values
        found.append(Sampled(mean=turned.mean(), worst=turned.min(), held_count=held_count))
    progress.step("compare trained cells", 2, 2, "done")
    before, after = found
    mean, worst = (
        f"{metric.describe(sign * a)} → {metric.describe(sign * b)}"
        for a, b in ((before.mean, after.mean), (before.worst, after.worst))
    )
    text = (
        f"{metric.name} of {len(names)} combinations on the validation split, refitted → trained: "
        f"mean {mean}, worst {worst}, within the allowed drop {before.held_count} → "
        f"{after.held_count}"
    )
    return Verdict(before=before, after=after, text=text)


def _sampled_names(refitted: Pieces, trained: Pieces, seed: int) -> list[tuple[str, ...]]:
    """Combinations that both have, but the dense one, as names of cells."""
    both = [
        [name for name in before if name in after]
        for before, after in zip(refitted.kinds, trained.kinds, strict=True)
    ]
    dense = Choices(kinds=tuple(map(tuple, both))).dense
    drawn = draw(list(map(len, both)), COMPARED, np.random.default_rng(seed), {dense})
    return [tuple(names[cell] for names, cell in zip(both, cells, strict=True)) for cells in drawn]


def _value(pieces: Pieces, answers: Answers, probe: Probe, names: Sequence[str]) -> float:
    cells: Cells = tuple(kinds.index(name) for kinds, name in zip(pieces.kinds, names, strict=True))
    value = probe.validation_value(answers(cells))
    assert value is not None, "the probe has targets"
    return value
