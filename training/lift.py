"""A network's IR as a torch module, so that torch's autograd and optimizers train it.

Before  Model: Relax bindings, weights as named NumPy arrays (`layer1.0.conv1.weight`)
After   torch.nn.Module: a parameter for each float weight, a buffer for each other, same names

Inputs have the network's own shapes, or one more leading axis: (S, *shape) is S runs at once, the
whole network mapped over them by torch.vmap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tvm import relax

from ..errors import InputError, ModelError, UnsupportedOperator
from ..ir.graph import Graph, variables
from ..ir.model import Model
from ..reference.gradients import GradientExecution


class TorchModel(nn.Module):
    """A network as a module; its parameters are the model's float weights, under their names.

    `ir` is the network that runs: the model itself, or what a subclass makes of it. `forward`
    returns the values of `wanted` (variables of the IR; the outputs by default), a tuple.
    `evolved` gives the model with the weights as they are now.
    """

    execution: type[GradientExecution] = GradientExecution
    reads_all_each_step = True

    def __init__(self, model: Model, ir: Model | None = None):
        super().__init__()
        self.model, self.ir = model, ir or model
        graph = Graph.of(self.ir)
        _check_operators(self.ir, graph, self.execution.table)
        self.wanted: Sequence[relax.Var] = graph.outputs()
        self._constants: dict[Any, Tensor] = {}
        for name, array in model.weights.items():
            place(self, name, torch.from_numpy(np.array(array)))
        held = self.tensors()
        missing = next((name for name in model.weights if name not in held), None)
        if missing is not None:
            raise ModelError(f"{model.name}: torch cannot hold a weight named {missing!r}")

    def tensors(self) -> dict[str, Tensor]:
        """Give every weight, trained or not, by the model's name for it."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def ir_weights(self) -> Mapping[str, Tensor]:
        """Give the values that the weights of `ir` have in a run."""
        return self.tensors()

    def weights_read(self) -> frozenset[str]:
        """Name the weights of `ir` that decide the wanted values."""
        graph, names = Graph.of(self.ir), self.ir.weight_names()
        reached: set[relax.Var] = set()
        left = list(self.wanted)
        while left:
            var = left.pop()
            if var not in reached:
                reached.add(var)
                left += variables(graph.producers[var]) if var in graph.producers else ()
        return frozenset(names[var] for var in reached if var in names)

    def at_step(self, step: int | None) -> None:
        """Told which step of training comes next; None is validation. Nothing hangs on it here."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run once, or S times where each input has an axis S in front."""
        ranks = [len(spec.shape) for spec in self.model.inputs]
        given = [value.ndim for value in inputs]
        weights = self.ir_weights()
        if given == ranks:
            return self._run(weights, inputs)
        if given != [rank + 1 for rank in ranks]:
            shapes = ", ".join(f"{spec.name} {spec.shape}" for spec in self.model.inputs)
            raise InputError(f"{self.model.name} takes {shapes}, or a leading axis before each")
        return torch.vmap(lambda *each: self._run(weights, each))(*inputs)

    def _run(self, weights: Mapping[str, Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        execution = self.execution(
            self.ir,
            inputs,
            self.wanted,
            weights=weights,
            constants=self._constants,
            mapped=False,
        )
        for _ in execution:
            pass
        return tuple(execution.values[var] for var in self.wanted)

    def evolved(self) -> Model:
        """Return the model with the weights as they are now."""
        now = self.tensors()
        weights = {name: now[name].detach().cpu().numpy().copy() for name in self.model.weights}
        return self.model.evolved(self.model.module, weights)


def _check_operators(model: Model, graph: Graph, table: Mapping[str, Any]) -> None:
    for var, value in graph.bindings:
        if isinstance(value, relax.Call) and value.op.name not in table:
            raise UnsupportedOperator(
                f"{model.name}: {value.op.name} ({var.name}) has no gradient here, so the network "
                "cannot be trained; compress it without retraining"
            )


def place(root: nn.Module, name: str, value: Tensor) -> None:
    """Put a tensor where torch finds it under a dotted name.

    Written into torch's own dictionaries: names such as `type` or `forward` are attributes of
    every module, which register_parameter refuses.
    """
    *path, leaf = name.split(".")
    for part in path:
        root = root._modules.setdefault(part, nn.Module())
    if value.is_floating_point():
        root._parameters[leaf] = nn.Parameter(value)
    else:
        root._buffers[leaf] = value
