"""The metric of networks in training, on the validation data of all processes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ...errors import DataError
from ...frontend.data import Dataset
from ...metrics import Metric
from ..distributed import Ranks

Part = tuple[np.ndarray, list[tuple[np.ndarray, ...]], tuple[np.ndarray, ...]]


class Judge:
    """Collects what networks answer, batch by batch, and what the dense network does."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._parts: list[Part] = []

    def add(
        self, rows: np.ndarray, answers: Sequence[Sequence[Tensor]], dense: Sequence[Tensor]
    ) -> None:
        """Keep the outputs of each network, and the dense one's, for some samples."""
        self._parts.append((rows, [_arrays(outputs) for outputs in answers], _arrays(dense)))

    def value(self, data: Dataset, ranks: Ranks, *, must_be_known: bool) -> float | None:
        """Compute the metric, the mean over networks; None where it is not a finite number.

        Raises:
            DataError: it is none, and must be known.

        """
        parts = ranks.gathered(self._parts)
        order = np.argsort(np.concatenate([rows for rows, _, _ in parts]), kind="stable")
        dense = _joined([dense for _, _, dense in parts], order)
        networks = zip(*(answers for _, answers, _ in parts), strict=True)
        targets = data.targets if self._metric.against == "labels" else dense
        assert targets is not None, "the metric was chosen for these data"
        try:
            values = [self._metric.value(_joined(each, order), targets) for each in networks]
        except DataError:
            if must_be_known:
                raise
            return None
        return float(np.mean(values))


def _arrays(values: Sequence[Tensor]) -> tuple[np.ndarray, ...]:
    return tuple(value.detach().cpu().numpy() for value in values)


def _joined(parts: Sequence[tuple[np.ndarray, ...]], order: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(column)[order] for column in zip(*parts, strict=True))
