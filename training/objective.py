"""What training minimises: cross-entropy with labels, and nearness to a teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count, takewhile

import torch
import torch.nn.functional as F
from torch import Tensor
from tvm import relax

from ..errors import TrainingError
from ..ir.graph import Graph, shape_of
from ..ir.layers import Layer, layers
from ..ir.model import Model
from .settings import Distillation

_SOFT = ("relax.nn.softmax", "relax.nn.log_softmax")


class Objective:
    """The loss of a network against labels, a teacher, or both.

    `student` and `teacher` list which variables of their IRs it reads: the scores first, then the
    layers whose outputs are compared.
    """

    def __init__(
        self, model: Model, teacher: Model | None, settings: Distillation | None, has_labels: bool
    ):
        if (teacher is None) != (settings is None):
            raise TrainingError("distillation takes both a teacher and its settings; give both")
        if teacher is None and not has_labels:
            raise TrainingError("the data have no labels; add y, or distil from the dense network")
        self._settings, self._has_labels = settings, has_labels
        self.student: tuple[relax.Var, ...] = (scores(model),)
        self.teacher: tuple[relax.Var, ...] = ()
        if teacher is not None and settings is not None:
            self.teacher = (scores(teacher),)
            if shape_of(self.student[0]) != shape_of(self.teacher[0]):
                raise TrainingError(
                    f"{teacher.name} gives scores of another shape than {model.name}"
                )
            pairs = match_layers(model, teacher) if settings.feature_ratio else ()
            self.student += tuple(ours.output for ours, _ in pairs)
            self.teacher += tuple(theirs.output for _, theirs in pairs)

    def loss(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], labels: Tensor | None
    ) -> Tensor:
        """Return the mean loss of a batch of mapped values, features included."""
        wanted = rows(teacher[0]) if teacher else None
        total = self.task(rows(student[0]), wanted, labels)
        if self._settings is not None and len(student) > 1:
            near = [_relative(a, b) for a, b in zip(student[1:], teacher[1:], strict=True)]
            total = total + self._settings.feature_ratio * torch.stack(near).mean()
        return total

    def held_out(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        labels: Tensor | None,
        count: int,
    ) -> tuple[float, float]:
        """Return the mean loss of the first `count` samples, and how many are right."""
        given = rows(student[0])[:count]
        wanted = rows(teacher[0])[:count] if teacher else None
        right = 0.0 if labels is None else float((given.argmax(1) == labels).sum())
        return self.task(given, wanted, labels).item(), right

    def task(self, given: Tensor, wanted: Tensor | None, labels: Tensor | None) -> Tensor:
        """Return the mean loss of scores (N, classes) against labels and the teacher's scores."""
        hard = F.cross_entropy(given, labels) if self._has_labels else None
        if wanted is None or self._settings is None:
            assert hard is not None, "without a teacher there are labels"
            return hard
        heat = self._settings.temperature
        soft = heat**2 * F.kl_div(
            F.log_softmax(given / heat, -1),
            F.log_softmax(wanted / heat, -1),
            reduction="batchmean",
            log_target=True,
        )
        share = self._settings.label_ratio
        return soft if hard is None else share * hard + (1 - share) * soft


def rows(value: Tensor) -> Tensor:
    """Shape mapped scores (S, batch, classes) as (samples, classes)."""
    return value.flatten(0, 1)


def scores(model: Model) -> relax.Var:
    """Find the class scores (batch, classes): the first output, before a final softmax."""
    graph = Graph.of(model)
    var = graph.outputs()[0]
    if len(shape_of(var)) != 2:
        raise TrainingError(
            f"{model.name} gives {shape_of(var)}; training needs class scores (batch, classes)"
        )
    for op in _SOFT:
        made = graph.call(var, op)
        if made is not None and int(made.attrs.axis) in (-1, 1):
            return graph.origin(made.args[0])
    return var


def match_layers(model: Model, teacher: Model) -> tuple[tuple[Layer, Layer], ...]:
    """Pair the layers whose outputs have equal shapes; of a split layer its last part counts.

    Uses of one weight are paired in order.

    The layer that gives the scores is left out: they are compared anyway.
    """
    ours: dict[str, list[Layer]] = {}
    for layer in layers(model):
        ours.setdefault(layer.name, []).append(layer)
    last = scores(model)
    pairs, seen = [], Counter[str]()
    for theirs in layers(teacher):
        parts = (f"{theirs.name}.{index}" for index in count())
        uses, at = ours.get(theirs.name, []), seen[theirs.name]
        seen[theirs.name] += 1
        found = uses[at] if at < len(uses) else None
        for name in takewhile(ours.__contains__, () if uses else parts):
            found = ours[name][-1]
        if found is None or found.output.same_as(last):
            continue
        if found.output_shape == theirs.output_shape:
            pairs.append((found, theirs))
    return tuple(pairs)


def _relative(given: Tensor, wanted: Tensor) -> Tensor:
    power = wanted.float().square().mean().clamp(min=1e-12)
    return F.mse_loss(given.float(), wanted.float()) / power
