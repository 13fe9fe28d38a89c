"""Cut data into the batches of training, the same ones however many processes share them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, UsageError
from ..frontend.data import Dataset
from ..frontend.targets import Targets, take_targets
from ..ir.model import Model
from .distributed import Ranks

VALIDATION_RUNS = 64


@dataclass(frozen=True)
class Batch:
    """Mapped inputs (S, *shape), which samples of the data they are, and what is right for them.

    `targets` are tensors, a dict of them, or a list of objects, of the `rows`, or None; the last
    run may be filled up with more samples.
    """

    inputs: tuple[Tensor, ...]
    targets: Any
    rows: np.ndarray

    @property
    def count(self) -> int:
        """How many samples they are."""
        return len(self.rows)


class Batches:
    """Batches of `batch` samples, dealt out evenly to the processes.

    Each epoch has an order of its own, from seed and epoch; what is left after the last whole batch
    waits for another epoch.
    """

    def __init__(
        self, model: Model, data: Dataset, batch: int, seed: int, ranks: Ranks, device: torch.device
    ):
        self._model, self._runs_of = model, model.batch
        share = self._runs_of * ranks.count
        if batch % share:
            raise UsageError(
                f"a batch of {batch} samples cannot be divided among {ranks.count} processes in "
                f"runs of {self._runs_of}; give a multiple of {share}"
            )
        if len(data) < batch:
            raise DataError(
                f"{len(data)} samples to train on are fewer than a batch of {batch}; give more "
                "samples, or a smaller batch"
            )
        self._data, self._batch, self._seed = data, batch, seed
        self._ranks, self._device = ranks, device
        self.steps = len(data) // batch

    def epoch(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield this process's part of the batches of an epoch, from step `first`."""
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._data))
        part = self._batch // self._ranks.count
        for step in range(first, self.steps):
            start = step * self._batch + self._ranks.rank * part
            yield self._cut(order[start : start + part], part)

    def held_out(self, data: Dataset) -> Iterator[Batch]:
        """Yield this process's part of validation data; the last run is filled up."""
        size = VALIDATION_RUNS * self._runs_of
        for start in range(self._ranks.rank * size, len(data), self._ranks.count * size):
            rows = np.arange(start, min(start + size, len(data)))
            filled = -(-len(rows) // self._runs_of) * self._runs_of
            yield self._cut(np.resize(rows, filled), len(rows), data)

    def _cut(self, rows: np.ndarray, count: int, data: Dataset | None = None) -> Batch:
        source = data or self._data
        inputs = tuple(
            torch.from_numpy(array).to(self._device)
            for array in self._model.cut_runs(source.inputs, rows.reshape(-1, self._runs_of))
        )
        rows = rows[:count]
        return Batch(inputs, _on_device(take_targets(source.targets, rows), self._device), rows)


def _on_device(targets: Targets | None, device: torch.device) -> Any:
    """Numbers as tensors; texts and objects stay in a list."""
    if targets is None:
        return None
    if not isinstance(targets, np.ndarray):
        return {name: _on_device(value, device) for name, value in targets.items()}
    if targets.dtype.kind not in "biuf":
        return list(targets)
    return torch.from_numpy(np.ascontiguousarray(targets)).to(device)
