"""Gradients through a network's IR, by torch's autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tvm import relax

from ..errors import UnsupportedOperator
from ..ir.graph import Graph
from ..ir.model import Model
from .execution import Execution


class GradientExecution(Execution):
    """A run through which gradients flow: what the table does not cover is refused."""

    def _fall_back(self, call: relax.Call, args: tuple[Any, ...], axes: tuple[Any, ...]) -> Any:
        raise UnsupportedOperator(
            f"{call.op.name} in this form has no gradient here; compress without gradients"
        )


def weight_gradients(
    model: Model,
    inputs: Sequence[Tensor],
    loss: Callable[[tuple[Tensor, ...]], Tensor],
    names: Sequence[str],
) -> dict[str, np.ndarray]:
    """Differentiate a loss of the mapped outputs (S, *shape) by the named weights."""
    outputs = Graph.of(model).outputs()
    weights = {name: torch.from_numpy(np.array(array)) for name, array in model.weights.items()}
    wanted = [weights[name].requires_grad_() for name in names]
    execution = GradientExecution(model, inputs, keep=outputs, weights=weights)
    for _ in execution:
        pass
    value = loss(tuple(execution.values[var] for var in outputs))
    found = torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True)
    return {name: gradient.numpy() for name, gradient in zip(names, found, strict=True)}
