"""The reference executor: a network's IR run operator by operator in torch float32.

It shares no code with the backends, so a build can be held against it. An operator that
`operators.TABLE` does not hold (or does not cover in that form) is compiled alone for this machine
by TVM's own legalization and run sample by sample: complete, but slow, and for that one operator
not independent of TVM.

A network's leading dimension is fixed, mostly to 1. Many samples run at once all the same: each
call is mapped over them with torch.vmap, which gives batched kernels and the IR's own meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, InputError
from ..ir.graph import Graph
from ..ir.model import Model, sample_shape
from .arrays import to_array, to_tensor
from .device import best_device, full_float32
from .execution import Execution

if TYPE_CHECKING:
    from ..frontend.data import Dataset

CHUNK_SAMPLES = 64
"""Samples that run together in `evaluate`; bounds the memory for activations."""

CALIBRATION_RUNS = 128
"""Runs of calibration samples that passes look at; more gained nothing in what was measured."""


class Reference:
    """A network ready to run in torch, on the CPU or another device."""

    def __init__(self, model: Model, device: torch.device | str = "cpu"):
        self._model, self._device = model, torch.device(device)
        self._constants: dict[Any, Tensor] = {}
        self._outputs = Graph.of(model).outputs()

    def run(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run once; inputs and outputs have exactly the network's shapes."""
        for spec, value in zip(self._model.inputs, inputs, strict=True):
            if value.shape != spec.shape:
                raise InputError(
                    f"input {spec.name} is {value.shape}, the network takes {spec.shape}"
                )
        return tuple(value[0] for value in self.mapped([np.stack([value]) for value in inputs]))

    def mapped(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run S times at once: each input (S, *shape) gives each output (S, *shape)."""
        tensors = [to_tensor(value, self._device) for value in inputs]
        execution = Execution(self._model, tensors, keep=self._outputs, constants=self._constants)
        with torch.no_grad(), full_float32():
            for _ in execution:
                pass
        runs = len(tensors[0])
        return tuple(to_array(execution.mapped_value(var, runs)) for var in self._outputs)


def evaluate(model: Model, dataset: Dataset) -> tuple[np.ndarray, ...]:
    """Compute every output for all samples of a data set: (N, *output shape less its batch axis).

    An output whose leading axis is not the batch keeps all of its axes. It runs on the GPU where
    there is one.
    """
    reference, parts = Reference(model, best_device()), []
    for chunk in mapped_chunks(model, dataset.inputs):
        parts.append(reference.mapped(chunk))
    joined = (np.concatenate(column) for column in zip(*parts, strict=True))
    return tuple(unbatch(model, value, len(dataset.inputs[0])) for value in joined)


def unbatch(model: Model, value: np.ndarray, count: int) -> np.ndarray:
    """Turn an output of every run (runs, batch, …) into that of `count` samples (count, …)."""
    if value.shape[1:2] != (model.batch,):
        return value
    return value.reshape(-1, *value.shape[2:])[:count]


def observe(model: Model, dataset: Dataset, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Return the values of the named variables of the IR for all samples: name → (runs, *shape)."""
    wanted = {var: var.name for var, _ in Graph.of(model).bindings if var.name in set(names)}
    wanted |= {var: var.name for var in model.function.params if var.name in set(names)}
    missing = set(names) - set(wanted.values())
    if missing:
        raise InputError(f"{model.name} has no variable {sorted(missing)}")
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for chunk in mapped_chunks(model, dataset.inputs):
        execution = Execution(model, [torch.from_numpy(x) for x in chunk], keep=tuple(wanted))
        for _ in execution:
            pass
        for var, name in wanted.items():
            found[name].append(to_array(execution.mapped_value(var, len(chunk[0]))))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of samples whose largest score (last axis) is the label's."""
    if len(outputs) != len(labels):
        raise DataError(f"{len(outputs)} outputs against {len(labels)} labels")
    return float(np.mean(np.argmax(outputs.reshape(len(labels), -1), axis=1) == labels))


def difference_ratio(found: np.ndarray, wanted: np.ndarray, all_zero: float) -> float:
    """Return the largest difference over the largest value of `wanted`; `all_zero` if that is 0.

    NaN and infinity agree with the same alone; beside anything else the ratio is infinite.
    """
    ours, theirs = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
        return math.inf
    ours, theirs = ours[finite], theirs[finite]
    if not np.isfinite(ours).all():
        return math.inf
    largest = float(np.abs(theirs).max(initial=0.0))
    return float(np.abs(ours - theirs).max(initial=0.0)) / (largest or all_zero)


def mapped_chunks(model: Model, inputs: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Cut samples (N, …) into pieces (S, batch, …) of the network's own batch, the last padded."""
    for spec, value in zip(model.inputs, inputs, strict=True):
        wanted = sample_shape(spec, model.batch)
        if value.shape[1:] != wanted or value.size == 0:
            raise DataError(
                f"samples of input {spec.name} are {value.shape[1:]} ({len(value)} of them), "
                f"the network takes {wanted}"
            )
        _check_finite(spec.name, value)
    batch, count = model.batch, len(inputs[0])
    order = np.minimum(np.arange(-(-count // batch) * batch), count - 1).reshape(-1, batch)
    for start in range(0, len(order), CHUNK_SAMPLES):
        rows = order[start : start + CHUNK_SAMPLES]
        yield [
            np.ascontiguousarray(value, dtype=spec.dtype)
            for spec, value in zip(model.inputs, model.cut_runs(inputs, rows), strict=True)
        ]


def _check_finite(name: str, value: np.ndarray) -> None:
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        bad = int(np.flatnonzero(~np.isfinite(value.reshape(len(value), -1)).all(axis=1))[0])
        raise DataError(f"sample {bad} of input {name} holds NaN or infinity; remove it")


def calibration_inputs(model: Model, data: Dataset) -> list[Tensor]:
    """Return up to `CALIBRATION_RUNS` runs of samples, (S, batch, …), for passes to watch."""
    count = CALIBRATION_RUNS * model.batch
    chunks = list(mapped_chunks(model, [value[:count] for value in data.inputs]))
    return [torch.from_numpy(np.concatenate(parts)) for parts in zip(*chunks, strict=True)]
