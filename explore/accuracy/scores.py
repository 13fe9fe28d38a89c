"""What a variant scores on the samples that decide and on those that are reported."""

from __future__ import annotations

from dataclasses import dataclass

from ...library.score import Score
from ...metrics import Metric


@dataclass(frozen=True, kw_only=True)
class Scores:
    """By a metric, on the split that decides and on the one that is reported; where they were run.

    `where` is None where the board was not run and the reference executor's count.
    """

    metric: Metric
    validation: Score
    test: Score
    where: str | None
