"""Weights in 8 or 4 bits, activations in floats: for networks whose weights are most of them.

Before  y = x @ W + b              W float32
After   y = x @ dequantize(Q) + b  Q int8 or 4 bits, a scale for each output or each group of
                                   features of an output (`ir/stored_weights.py` shows the forms)

Unlike `Quantize`, nothing is asked of activations: outliers in them cost nothing, and rounding to
nearest takes no data. By GPTQ each weight is rounded on what reaches its layer behind the layers
that were rounded before.

Source  E. Frantar et al., GPTQ, ICLR 2023 (weights alone, groups of features)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor
from tvm import relax

from ...errors import PassError
from ...ir.checks import refuse_nan, refuse_rounded
from ...ir.graph import Graph, is_call
from ...ir.layers import Layer, layers, read_both_ways, shared_weights
from ...ir.model import Model
from ...ir.rewrite import rebuild
from ...ir.stored_weights import Grid, ReadStoredWeights, encode, form_in
from ...reference.execution import Execution
from ...reference.executor import calibration_inputs
from ..decision import Decision, Kept, Pass
from ..loop_weights import keep_loops, plan_loops, round_loops
from ..moments import grouped_weight, in_layer_shape, layer_weight, moments, output_rows
from ..refit import Target, targets
from .weight_grid import searched_scales
from .weight_rounding import ROUNDINGS, Rows, fitted_rows, plain_rows

if TYPE_CHECKING:
    from ...frontend.data import Dataset


@dataclass(frozen=True, kw_only=True)
class LowBitWeight:
    """A layer that will read `stored` values and `scales`, both as they go into the network.

    `weight_error_ratio` is |W - W'| / |W|; `output_error_ratio`, known where data were given, is
    mean |y - y'|² over the variance of y.
    """

    layer: str
    grid: Grid
    rounding: str
    weight_error_ratio: float
    bytes_before: int
    bytes_after: int
    output_error_ratio: float | None = None
    stored: np.ndarray = field(repr=False, compare=False)
    scales: np.ndarray = field(repr=False, compare=False)

    def describe(self) -> str:
        """Say in one line how the weight is rounded, at what error, and what that saves."""
        size = self.grid.group_size
        scales = "an output" if size is None else f"{size} features"
        output = self.output_error_ratio
        seen = "" if output is None else f", squared output error {output:.2%}"
        return (
            f"{self.layer}: int{self.grid.bits} weights by {self.rounding}, a scale for {scales}, "
            f"changed by {self.weight_error_ratio:.2%}{seen}; "
            f"{self.bytes_before:,} -> {self.bytes_after:,} bytes"
        )


@dataclass(frozen=True, kw_only=True)
class WeightOnly(Pass):
    """Weights of dense layers and ungrouped convolutions in `bits` (8 or 4).

    `group_size` features share a scale, or all of an output's. `rounding` is "nearest", or "gptq",
    which takes data.
    """

    rounds_weights: ClassVar[bool] = True

    bits: int = 8
    group_size: int | None = None
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise PassError(f"weights of {self.bits} bits; choose 4 or 8")
        if self.rounding not in ROUNDINGS:
            raise PassError(
                f"no rounding named {self.rounding!r}; choose from {', '.join(ROUNDINGS)}"
            )
        if self.bits == 4 and self.group_size is not None and self.group_size % 2:
            raise PassError(
                f"groups of {self.group_size} features in 4 bits; choose an even number, as two "
                "share a byte"
            )
        Grid(bits=self.bits, group_size=self.group_size)

    @property
    def needs_data(self) -> bool:
        """GPTQ does, to see what multiplies the weights."""
        return self.rounding == "gptq"

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Round every weight that gets smaller by it; say of the others why they do not."""
        if self.needs_data and calibration is None:
            raise PassError("GPTQ needs calibration data; give a data set, or round to nearest")
        refuse_rounded(model)
        by_weight: dict[str, Layer] = {}
        for layer in layers(model):
            refuse_nan(model, layer)
            by_weight.setdefault(layer.weight, layer)
        readers = _other_readers(model)
        tried = [
            _why_kept(model, layer, readers, self._grid(layer)) or self._plain(model, layer)
            for layer in by_weight.values()
        ]
        over_time = self._loops(model)
        if not self.needs_data or calibration is None:
            return (*tried, *over_time)
        chosen = {each.layer for each in tried if isinstance(each, LowBitWeight)}
        better = self._fitted(model, chosen, calibration)
        return (*(better.get(each.layer, each) for each in tried), *over_time)

    def _loops(self, model: Model) -> tuple[Decision, ...]:
        if self.bits == 8 and self.group_size is None:
            return plan_loops(model, "int8")
        return keep_loops(
            model, "a loop's weights have 8 bits and a scale for each output, or more"
        )

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with the chosen layers' weights stored in few bits."""
        by_name = {d.layer: d for d in decisions if isinstance(d, LowBitWeight)}
        chosen = {layer.weight: layer for layer in layers(model) if layer.name in by_name}
        weights: dict[str, np.ndarray] = {}
        for name, array in model.weights.items():
            decision = by_name[chosen[name].name] if name in chosen else None
            weights[name] = array if decision is None else decision.stored
            if decision is not None:
                weights[f"{name}_scale"] = decision.scales
        forms = {name: form_in(layer, by_name[layer.name].grid) for name, layer in chosen.items()}
        rounded = rebuild(model, weights, ReadStoredWeights(model, chosen, forms))
        return round_loops(rounded, decisions)

    def _grid(self, layer: Layer) -> Grid:
        """A group is at most all of an output's features (one more, where two share a byte)."""
        size = self.group_size
        if size is not None and size >= layer.features:
            size = None
        return Grid(bits=self.bits, group_size=size)

    def _plain(self, model: Model, layer: Layer) -> LowBitWeight | Kept:
        weight, grid = model.weights[layer.weight], self._grid(layer)
        return _decided(layer, weight, _searched_rows(layer, weight, grid), grid)

    def _fitted(
        self, model: Model, chosen: set[str], calibration: Dataset
    ) -> Mapping[str, LowBitWeight | Kept]:
        """Round each chosen weight on what reaches its layer; a shared one stays as it is."""
        wanted, shared = targets(model, calibration), shared_weights(model)
        execution = Execution(model, calibration_inputs(model, calibration))
        made, found = Graph.of(model).producers, {}
        by_call = {layer.call: layer for layer in layers(model) if layer.name in chosen}
        for each in by_call.values():
            if each.weight in shared:
                grid = self._grid(each)
                rows = _searched_rows(each, model.weights[each.weight], grid)
                execution.replace_weight(each.weight, _dequantize_weight(each, rows, grid))
        for var, _ in execution:
            layer = by_call.get(var)
            if layer is None or layer.weight in shared:
                continue
            target, grid = wanted[layer.name], self._grid(layer)
            parts = moments(layer, execution.values[layer.input], target.at, target.outputs)
            weight = model.weights[layer.weight]
            rows = fitted_rows(grouped_weight(layer, weight), parts, grid, about_mean=False)
            execution.replace_weight(layer.weight, _dequantize_weight(layer, rows, grid))
            value = execution.values[var] = execution.evaluate(made[var])
            error_ratio = _output_error_ratio(model, layer, target, value)
            found[layer.name] = _decided(layer, weight, rows, grid, error_ratio)
        return found


def _why_kept(model: Model, layer: Layer, readers: Mapping[str, str], grid: Grid) -> Kept | None:
    """Why a layer is left alone before anything is rounded, or None."""
    weight = model.weights[layer.weight]
    if layer.kind in ("depthwise", "grouped"):
        return Kept(layer=layer.name, why=f"a {layer.kind} convolution has few weights")
    if layer.spreads and form_in(layer, grid).by_rows:
        why = "a transposed convolution's outputs are not the rows of its weight; 8 bits fit it"
        return Kept(layer=layer.name, why=why)
    if weight.dtype != np.float32:
        return Kept(layer=layer.name, why=f"its weights are {weight.dtype.name}")
    if layer.weight in readers:
        return Kept(layer=layer.name, why=f"its weight is read by {readers[layer.weight]}, too")
    if layer.weight in read_both_ways(model):
        return Kept(
            layer=layer.name, why="layers read its weight both ways, and its scales fit one"
        )
    return None if weight.any() else Kept(layer=layer.name, why="its weights are all zero")


def _other_readers(model: Model) -> dict[str, str]:
    """What, beside layers, reads each weight, for which a float copy would be kept."""
    graph, calls = Graph.of(model), {layer.call for layer in layers(model)}

    def other(var: relax.Var) -> str | None:
        if var in graph.outputs():
            return "the network's output"
        for reader in graph.consumers.get(var, ()):
            value = graph.producers[reader]
            if isinstance(value, relax.Var) or is_call(value, "relax.permute_dims"):
                found = other(reader)
                if found:
                    return found
            elif reader not in calls:
                return value.op.name.removeprefix("relax.") if _is_named(value) else "a tuple"
        return None

    found = {name: other(var) for name, var in model.weight_vars().items()}
    return {name: by for name, by in found.items() if by is not None}


def _is_named(value: relax.Expr) -> bool:
    """Whether an expression is the call of an operator."""
    return isinstance(value, relax.Call) and hasattr(value.op, "name")


def _decided(
    layer: Layer, weight: np.ndarray, rows: Rows, grid: Grid, output_error: float | None = None
) -> LowBitWeight | Kept:
    """The decision for a rounded weight, unless that gains nothing."""
    quantized = in_layer_shape(layer, rows.values)
    stored = encode(quantized, form_in(layer, grid), layer.output_axis)
    scales = rows.scales.reshape(-1)
    after = stored.nbytes + scales.nbytes
    if after >= weight.nbytes:
        why = f"saves nothing: quantized values and scales would be {after:,} bytes"
        return Kept(layer=layer.name, why=f"{why}, its weights are {weight.nbytes:,}")
    if not rows.values.any():
        return Kept(layer=layer.name, why="its weights are so small that all would become zero")
    dequantized, before = _dequantize(rows, grid), grouped_weight(layer, weight)
    return LowBitWeight(
        layer=layer.name,
        grid=grid,
        rounding=rows.rounding,
        weight_error_ratio=float(np.linalg.norm(dequantized - before) / np.linalg.norm(before)),
        bytes_before=weight.nbytes,
        bytes_after=after,
        output_error_ratio=output_error,
        stored=stored,
        scales=scales,
    )


def _searched_rows(layer: Layer, weight: np.ndarray, grid: Grid) -> Rows:
    """Round to nearest, at the scales of least squared error of the weight."""
    grouped = grouped_weight(layer, weight)
    return plain_rows(
        grouped, grid, searched_scales(grouped, grid, np.ones((1, grouped.shape[-1])))
    )


def _output_error_ratio(model: Model, layer: Layer, target: Target, value: Tensor) -> float:
    """Compare a layer's bare output with what it gave before."""
    bias = model.weights[layer.bias] if layer.bias else np.zeros(1, np.float32)
    outputs = target.outputs.double()
    missing = (outputs - output_rows(layer, value, target.at).double()).numpy() - bias
    spread = float(outputs.var(dim=0, correction=0).sum())
    return float(np.square(missing).mean(axis=0).sum()) / max(spread, 1e-30)


def _dequantize_weight(layer: Layer, rows: Rows, grid: Grid) -> np.ndarray:
    return layer_weight(layer, _dequantize(rows, grid))


def _dequantize(rows: Rows, grid: Grid) -> np.ndarray:
    return rows.values * grid.spread(rows.scales, rows.values.shape[-1])
