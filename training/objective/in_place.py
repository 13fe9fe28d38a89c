"""What several networks minimise that are trained at once: each learns from the dense one.

Source  J. Yu, T. Huang, Universally Slimmable Networks and Improved Training Techniques, ICCV 2019
        (in-place distillation); H. Cai et al., Once-for-All: Train One Network and Specialize It
        for Efficient Deployment, ICLR 2020; C. Li et al., Blockwisely Supervised Neural
        Architecture Search with Knowledge Distillation, CVPR 2020 (nearness of what blocks give)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tvm import relax

from ...ir.graph import Graph
from ...ir.model import Model
from ..settings import Distillation
from .loss import Loss
from .objective import Objective, compared, relative_error


class Several(Objective):
    """The mean loss of networks whose answers stand one after the other: `student` of each."""

    def __init__(
        self,
        dense: Model,
        teacher: Model | None,
        settings: Distillation | None,
        has_labels: bool,
        loss: Loss | None,
        of_classes: bool,
        crossings: Sequence[relax.Var] = (),
    ):
        super().__init__(dense, teacher, settings, has_labels, loss, of_classes)
        of_tasks = compared(dense)
        self.compared_count, self._crossings_count = len(of_tasks), len(crossings)
        self.student, self.outputs = (*of_tasks, *crossings, *_others(dense)), ()
        self._outputs_at = [_index(self.student, var) for var in Graph.of(dense).outputs()]

    def held_out(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Any, count: int
    ) -> float:
        """Return the mean over all networks."""
        wanted = self.rows(teacher[: self.compared_count], count)
        return float(
            np.mean(
                [
                    self.task(given, wanted, outputs, targets).item()
                    for given, _, outputs in self.each(student, count)
                ]
            )
        )

    def answers(self, values: Sequence[Tensor], count: int) -> list[list[Tensor]]:
        """Give the outputs for the first `count` samples, of each network."""
        return [outputs for *_, outputs in self.each(values, count)]

    def each(
        self, values: Sequence[Tensor], count: int | None = None
    ) -> list[tuple[list[Tensor], list[Tensor], list[Tensor]]]:
        """Give for each network what is compared, what crosses in it, and its outputs."""
        rows, width, first = self.rows(values, count), len(self.student), self.compared_count
        last = first + self._crossings_count
        networks = [rows[start : start + width] for start in range(0, len(rows), width)]
        return [
            (of[:first], of[first:last], [of[at] for at in self._outputs_at]) for of in networks
        ]


class InPlace(Several):
    """The loss of all answers of a run: the dense network's as usual, the members' to it."""

    def __init__(
        self,
        dense: Model,
        teacher: Model | None,
        settings: Distillation | None,
        has_labels: bool,
        loss: Loss | None = None,
        of_classes: bool = True,
    ):
        plain = without_features(settings)
        super().__init__(dense, teacher, plain, has_labels, loss, of_classes)
        own = plain or Distillation(feature_ratio=0)
        self._member_objective = Objective(dense, dense, own, has_labels, loss, of_classes)

    def loss(self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Any) -> Tensor:
        """Add up the losses of all who took part, over how many they are."""
        (dense, _, outputs), *members = self.each(student)
        wanted = [each.detach() for each in dense]
        given = [
            self._member_objective.task(each, wanted, own, targets) for each, _, own in members
        ]
        own = self.task(dense, self.rows(teacher[: self.compared_count]), outputs, targets)
        return torch.stack([own, *given]).mean()


class InPieces(Several):
    """The loss of combinations of a network's pieces: to the dense network, and where it is cut.

    What crosses from piece to piece must be near what crosses in the dense network, by
    `settings.feature_ratio`: so a cell fits beside any other.
    """

    def __init__(
        self,
        dense: Model,
        crossings: Sequence[relax.Var],
        settings: Distillation,
        has_labels: bool,
        loss: Loss | None,
        of_classes: bool,
    ):
        plain = without_features(settings)
        super().__init__(dense, dense, plain, has_labels, loss, of_classes, crossings)
        self.teacher = (*self.teacher, *crossings)
        self._crossing_ratio = settings.feature_ratio

    def loss(self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Any) -> Tensor:
        """Return the mean over the combinations that took part."""
        wanted = self.rows(teacher)
        first, at_crossings = wanted[: self.compared_count], wanted[self.compared_count :]
        return torch.stack(
            [
                self.task(given, first, outputs, targets)
                + self._crossing_ratio * _nearness(crossing, at_crossings)
                for given, crossing, outputs in self.each(student)
            ]
        ).mean()


def _nearness(given: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    pairs = zip(given, wanted, strict=True)
    return torch.stack([relative_error(ours, theirs) for ours, theirs in pairs]).mean()


def without_features(settings: Distillation | None) -> Distillation | None:
    """The same, outputs of layers not compared."""
    return None if settings is None else replace(settings, feature_ratio=0)


def answers_of(model: Model) -> tuple[relax.Var, ...]:
    """List what is compared of a network, then those outputs that are not."""
    return (*compared(model), *_others(model))


def _others(model: Model) -> tuple[relax.Var, ...]:
    found = compared(model)
    return tuple(var for var in Graph.of(model).outputs() if not any(map(var.same_as, found)))


def _index(variables: Sequence[relax.Var], var: relax.Var) -> int:
    return next(at for at, each in enumerate(variables) if each.same_as(var))
