"""Recurrent weights in 8 or 16 bits: those that the loop over time multiplies at every step.

Before  y = recurrent(x, W, h)                 W (gates · hidden, hidden) float32
After   y = recurrent(x, dequantize(Q), h)     Q int8, a scale for each row
        y = recurrent(x, astype(W16, f32), h)  W16 bfloat16 or float16

States and sums stay float32: what a step rounds, all later ones would carry on. The layer over all
steps before the loop is a dense layer like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tvm import relax

from ..errors import PassError
from ..ir.graph import Graph, variables
from ..ir.loops import Loop, loops
from ..ir.model import Model
from ..ir.rewrite import Body, rebuild
from ..ir.stored_weights import StoredForm, decode, encode
from .decision import Decision, Kept

_LIMIT = 127


@dataclass(frozen=True, kw_only=True)
class LoopWeight:
    """A loop that will read `stored` values, and where they are int8 `scales` (rows,).

    `weight_error_ratio` is |W - W'| / |W|.
    """

    layer: str
    dtype: str
    weight_error_ratio: float
    stored: np.ndarray = field(repr=False, compare=False)
    scales: np.ndarray | None = field(repr=False, compare=False, default=None)

    def describe(self) -> str:
        """Say in one line how the weight is stored."""
        return (
            f"{self.layer}: a loop's weights in {self.dtype}, changed by "
            f"{self.weight_error_ratio:.2%}; its states stay float32"
        )


def plan_loops(model: Model, dtype: str) -> tuple[Decision, ...]:
    """Round each loop's weight to int8, bfloat16 or float16, or say why it stays as it is."""
    graph, found = Graph.of(model), {}
    calls = {loop.call for loop in loops(model)}
    variable = model.weight_vars()
    for loop in loops(model):
        readers = graph.consumers.get(variable[loop.weight], ())
        if loop.weight not in found:
            found[loop.weight] = _decide(model, loop, dtype, calls.issuperset(readers))
    return tuple(found.values())


def keep_loops(model: Model, why: str) -> tuple[Kept, ...]:
    """Leave all loops alone."""
    names = dict.fromkeys(loop.name for loop in loops(model))
    return tuple(Kept(layer=name, why=why) for name in names)


def _decide(model: Model, loop: Loop, dtype: str, is_alone: bool) -> LoopWeight | Kept:
    weight = model.weights[loop.weight]
    if not np.isfinite(weight).all():
        raise PassError(f"{loop.weight} holds NaN or infinity; the network cannot be rounded")
    if not is_alone:
        return Kept(layer=loop.name, why="something beside its loop reads its weight")
    if not weight.any():
        return Kept(layer=loop.name, why="its weights are all zero")
    if dtype == "int8":
        largest = np.abs(weight).max(axis=1)
        scales = np.where(largest > 0, largest / _LIMIT, 1.0).astype(np.float32)
        stored = np.rint(weight / scales[:, None]).clip(-_LIMIT, _LIMIT).astype(np.int8)
        rounded = stored * scales[:, None]
    else:
        if dtype == "float16" and np.abs(weight).max() > np.finfo(np.float16).max:
            return Kept(layer=loop.name, why=f"its largest weight is beyond {dtype}")
        form = StoredForm(dtype=dtype)
        stored, scales = encode(weight, form), None
        rounded = decode(stored, form, weight.shape)
    error = float(np.linalg.norm(rounded - weight) / np.linalg.norm(weight))
    return LoopWeight(
        layer=loop.name, dtype=dtype, weight_error_ratio=error, stored=stored, scales=scales
    )


def round_loops(model: Model, decisions: Sequence[Decision]) -> Model:
    """Return the network with the chosen loops' weights stored so; the others as they were."""
    by_name = {each.layer: each for each in decisions if isinstance(each, LoopWeight)}
    chosen = {loop.weight: by_name[loop.name] for loop in loops(model) if loop.name in by_name}
    if not chosen:
        return model
    weights = dict(model.weights)
    for name, decision in chosen.items():
        weights[name] = decision.stored
        if decision.scales is not None:
            weights[f"{name}_scale"] = decision.scales
    return rebuild(model, weights, _ReadLoopWeights(model, chosen))


class _ReadLoopWeights:
    """Rewrites bindings: each chosen weight is widened once, where it is first read."""

    def __init__(self, model: Model, chosen: Mapping[str, LoopWeight]) -> None:
        variable = model.weight_vars()
        self._waiting = {variable[name]: (name, chosen[name]) for name in chosen}

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr:
        for old in variables(value):
            if old in self._waiting:
                body.bind(old, self._widened(body, *self._waiting.pop(old)))
        return body.of(value)

    def _widened(self, body: Body, name: str, decision: LoopWeight) -> relax.Var:
        stored = body.weight(name)
        if decision.scales is None:
            return body.emit(relax.op.astype(stored, "float32"), f"{stored.name}_float32")
        scale, zero = body.weight(f"{name}_scale"), relax.const(0, "int8")
        return body.emit(relax.op.dequantize(stored, scale, zero, 0), f"{stored.name}_dq")
