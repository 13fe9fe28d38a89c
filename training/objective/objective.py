"""What training minimises: a loss against targets, and nearness to a teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count, takewhile
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tvm import relax

from ...errors import TrainingError
from ...ir.graph import Graph, shape_of
from ...ir.layers import Layer, layers
from ...ir.model import Model
from ..settings import Distillation
from .loss import Loss, compute

_SOFT = ("relax.nn.softmax", "relax.nn.log_softmax")


class Objective:
    """The loss of a network against targets, a teacher, or both.

    Against targets it is `loss`, or where `has_labels` cross-entropy. `of_classes`: the first
    output, if it is (batch, classes), is compared with the teacher's as scores of classes; other
    outputs are by their relative squared error.

    `student` and `teacher` list which variables of their IRs it reads: what is compared (scores
    before a softmax, other outputs), the layers whose outputs are compared, then for a `loss` the
    outputs. `outputs` and `teacher_outputs` are what a metric reads.
    """

    def __init__(
        self,
        model: Model,
        teacher: Model | None,
        settings: Distillation | None,
        has_labels: bool,
        loss: Loss | None = None,
        of_classes: bool = True,
    ):
        if (teacher is None) != (settings is None):
            raise TrainingError("distillation takes both a teacher and its settings; give both")
        if teacher is None and loss is None and not has_labels:
            raise TrainingError(
                "the data have no labels to train on by cross-entropy; add class numbers y, give "
                "--loss, or distil from the dense network"
            )
        self._settings, self._loss, self._batch = settings, loss, model.batch
        self._has_labels, self._of_classes = has_labels and loss is None, of_classes
        read: tuple[relax.Var, ...] = (scores(model),) if self._has_labels else ()
        self.outputs = Graph.of(model).outputs()
        self.teacher: tuple[relax.Var, ...] = ()
        self.teacher_outputs: tuple[relax.Var, ...] = ()
        pairs: Sequence[tuple[Layer, Layer]] = ()
        if teacher is not None and settings is not None:
            read, self.teacher = compared(model), compared(teacher)
            self.teacher_outputs = Graph.of(teacher).outputs()
            if list(map(shape_of, read)) != list(map(shape_of, self.teacher)):
                raise TrainingError(
                    f"{teacher.name} gives outputs of other shapes than {model.name}"
                )
            pairs = match_layers(model, teacher) if settings.feature_ratio else ()
        self._compared, self._features = len(read), len(pairs)
        self.student = (*read, *(ours.output for ours, _ in pairs))
        self.student += self.outputs if loss is not None else ()
        self.teacher += tuple(theirs.output for _, theirs in pairs)

    def loss(self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Any) -> Tensor:
        """Return the mean loss of a batch of mapped values, features included."""
        first, last = self._compared, self._compared + self._features
        outputs = self.rows(student[last:])
        total = self.task(self.rows(student[:first]), self.rows(teacher[:first]), outputs, targets)
        if self._settings is not None and last > first:
            pairs = zip(student[first:last], teacher[first:last], strict=True)
            near = torch.stack([relative_error(ours, theirs) for ours, theirs in pairs])
            total = total + self._settings.feature_ratio * near.mean()
        return total

    def held_out(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Any, count: int
    ) -> float:
        """Return the mean loss of the first `count` samples, without the features."""
        first, last = self._compared, self._compared + self._features
        given = self.rows(student[:first], count)
        outputs = self.rows(student[last : len(self.student)], count)
        return self.task(given, self.rows(teacher[:first], count), outputs, targets).item()

    def answers(self, values: Sequence[Tensor], count: int) -> list[list[Tensor]]:
        """Give the outputs for the first `count` samples, of each network: one here."""
        return [self.rows(values[len(self.student) :], count)]

    def task(
        self,
        given: Sequence[Tensor],
        wanted: Sequence[Tensor],
        outputs: Sequence[Tensor],
        targets: Any,
    ) -> Tensor:
        """Return the mean loss of samples against targets and the teacher's `wanted`."""
        hard = None
        if self._loss is not None and targets is not None:
            hard = compute(self._loss, outputs, targets)
        elif self._has_labels:
            hard = F.cross_entropy(given[0], targets)
        if not wanted or self._settings is None:
            assert hard is not None, "without a teacher there are targets"
            return hard
        soft = self._nearness(given, wanted, self._settings.temperature)
        share = self._settings.label_ratio
        return soft if hard is None else share * hard + (1 - share) * soft

    def rows(self, values: Sequence[Tensor], count: int | None = None) -> list[Tensor]:
        """Shape mapped values (S, batch, …) as (samples, …), and keep the first `count`."""
        return [(v.flatten(0, 1) if v.shape[1:2] == (self._batch,) else v)[:count] for v in values]

    def _nearness(self, given: Sequence[Tensor], wanted: Sequence[Tensor], heat: float) -> Tensor:
        """Average over what is compared: a divergence of scores, relative errors of others."""
        terms = [relative_error(ours, theirs) for ours, theirs in zip(given, wanted, strict=True)]
        if self._of_classes and given[0].ndim == 2:
            terms[0] = heat**2 * F.kl_div(
                F.log_softmax(given[0] / heat, -1),
                F.log_softmax(wanted[0] / heat, -1),
                reduction="batchmean",
                log_target=True,
            )
        return torch.stack(terms).mean()


def compared(model: Model) -> tuple[relax.Var, ...]:
    """Find what is compared with a teacher's: float outputs, scores before a final softmax."""
    outputs = Graph.of(model).outputs()
    floats = [var for var in outputs if str(var.ty.dtype).startswith("float")]
    if not floats:
        raise TrainingError(f"{model.name} gives integers alone, which no gradient reaches")
    return tuple(_before_softmax(model, var) if len(shape_of(var)) == 2 else var for var in floats)


def scores(model: Model) -> relax.Var:
    """Find the class scores (batch, classes): the first output, before a final softmax."""
    var = Graph.of(model).outputs()[0]
    if len(shape_of(var)) != 2:
        raise TrainingError(
            f"{model.name} gives {shape_of(var)}; cross-entropy needs class scores (batch, "
            "classes): give --loss, or distil without labels"
        )
    return _before_softmax(model, var)


def _before_softmax(model: Model, var: relax.Var) -> relax.Var:
    graph = Graph.of(model)
    for op in _SOFT:
        made = graph.call(var, op)
        if made is not None and int(made.attrs.axis) in (-1, 1):
            return graph.origin(made.args[0])
    return var


def match_layers(model: Model, teacher: Model) -> tuple[tuple[Layer, Layer], ...]:
    """Pair the layers whose outputs have equal shapes; of a split layer its last part counts.

    Uses of one weight are paired in order.

    Layers that give what is compared anyway are left out.
    """
    ours: dict[str, list[Layer]] = {}
    for layer in layers(model):
        ours.setdefault(layer.name, []).append(layer)
    last = compared(model)
    pairs, seen = [], Counter[str]()
    for theirs in layers(teacher):
        parts = (f"{theirs.name}.{index}" for index in count())
        uses, at = ours.get(theirs.name, []), seen[theirs.name]
        seen[theirs.name] += 1
        found = uses[at] if at < len(uses) else None
        for name in takewhile(ours.__contains__, () if uses else parts):
            found = ours[name][-1]
        if found is None or any(found.output.same_as(var) for var in last):
            continue
        if found.output_shape == theirs.output_shape:
            pairs.append((found, theirs))
    return tuple(pairs)


def relative_error(given: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared error over the mean square of what is wanted."""
    power = wanted.float().square().mean().clamp(min=1e-12)
    return F.mse_loss(given.float(), wanted.float()) / power
