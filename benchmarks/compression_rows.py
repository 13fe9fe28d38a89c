"""What is compared in `compression.py`, and one row of what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import torch
from datasets import Part, Parts
from torch import nn
from trained import Task

from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.model import Model

OURS = "adaspring"
MULTIPLE_OF = 8
# What a network's `retraining` may be; the last two saw labels.
NONE, BATCH_NORM, FINE_TUNED, TOGETHER = "none", "batch norm", "fine-tuned", "together"
LABELLED = (FINE_TUNED, TOGETHER)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One compressed network: who made it, its accuracy on the test part, and its size.

    `speed_ratio` is how many times as fast as our dense network it runs on this machine, None where
    it was not timed.
    """

    data: str
    seed: int
    by: str
    variant: str
    retraining: str
    accuracy_ratio: float
    macs_count: int
    weights_bytes: int
    speed_ratio: float | None = None


@dataclass(frozen=True)
class Bench:
    """A trained network and its data; what is compared on them, and the threads of runtimes."""

    task: Task
    seed: int
    parts: Parts
    network: nn.Module
    pruned_percent: tuple[int, ...]
    threads: int

    @property
    def example_shape(self) -> tuple[int, ...]:
        """That of one sample, as a batch."""
        return (1, *self.parts.test.x.shape[1:])

    @cached_property
    def dense(self) -> Model:
        """The network, imported."""
        return self.imported(self.network)

    def imported(self, network: nn.Module) -> Model:
        """A network of the same input, imported."""
        return from_torch(network, (torch.zeros(self.example_shape),), name=self.task.name)

    @property
    def row(self) -> partial[Row]:
        """A row of this network."""
        return partial(Row, data=self.task.name, seed=self.seed)


def dataset(part: Part) -> Dataset:
    """As passes and the reference executor take it."""
    return Dataset(inputs=(part.x,), targets=part.y)
