"""Scale the channels between two layers so that both weights span the same range there.

Before  y = w2 f(w1 x + b1)                      f: relu, pooling, reshape, ...
After   y = (w2 s) f((w1 / s) x + b1 / s)        s (c,) = sqrt(r1 / r2) > 0, for each channel
        r1 the largest magnitude of the channel's rows in w1 and b1, r2 of its columns in w2
        relu6(h) = min(relu(h), 6) becomes min(relu(h / s), 6 / s), a limit for each channel

The network computes what it did. Layers lie in several pairs, so sweeps over all pairs are
repeated until little changes. r1 counts the bias, which the source does not: else a channel of
small weights and a large bias becomes the largest activation, and quantizing those is what
this is for (the source absorbs such biases into the next layer, which is not exact).

Source  M. Nagel et al., Data-Free Quantization, ICCV 2019, section 4.1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from ...errors import PassError
from ...ir.checks import refuse_rounded
from ...ir.graph import shape_of
from ...ir.model import Model
from ...ir.rewrite import Body, rebuild
from ..decision import Decision, Pass
from ..moments import grouped_weight, layer_weight
from .chains import Pair, channel_axis, pairs

if TYPE_CHECKING:
    from ...frontend.data import Dataset

LARGEST = np.finfo(np.float32).max
SWEEPS = 40
CONVERGED_RATIO = 1.001
"""Sweeps end where no channel is scaled by more than this."""


@dataclass(frozen=True, kw_only=True)
class Equalized:
    """A layer whose outputs are divided by `scales` (c_out,), made up for in layer `into`."""

    layer: str
    into: str
    clipped: bool
    scales: np.ndarray = field(repr=False, compare=False)

    def describe(self) -> str:
        """Say in one line what is scaled, and by how much."""
        limits = ", clipped at a limit for each" if self.clipped else ""
        return (
            f"{self.layer}: {len(self.scales)} channels divided by {self.scales.min():.3g} to "
            f"{self.scales.max():.3g}, made up for in {self.into}{limits}"
        )


@dataclass(frozen=True, kw_only=True)
class Equalize(Pass):
    """Match the ranges of consecutive layers' weights, channel by channel; before `Quantize`."""

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Choose every pair's scales; what is in no pair says why."""
        refuse_rounded(model)
        found = pairs(model)
        linked = [pair for pair in found if isinstance(pair, Pair)]
        scales = iter(_scales(model, linked))
        return tuple(
            Equalized(
                layer=each.first.name,
                into=each.second.name,
                clipped=each.clip is not None,
                scales=next(scales),
            )
            if isinstance(each, Pair)
            else each
            for each in found
        )

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with scaled weights, and limits for each channel of a relu6."""
        chosen = {d.layer: d.scales for d in decisions if isinstance(d, Equalized)}
        weights, limits = dict(model.weights), {}
        for pair in pairs(model):
            if not isinstance(pair, Pair) or pair.first.name not in chosen:
                continue
            scales = chosen[pair.first.name]
            scale_pair(weights, pair, scales)
            if pair.clip is not None:
                name = f"{pair.first.name}.limit"
                weights[name] = np.minimum(pair.high / scales, LARGEST).astype(np.float32)
                limits[pair.clip] = name, channel_axis(pair.first) == 1
        return rebuild(model, weights, _Limits(limits))


def scale_pair(weights: dict[str, np.ndarray], pair: Pair, scales: np.ndarray) -> None:
    """Divide the outputs of `first` by `scales` (c_out,); let `second` make up for it."""
    first, second = pair.first, pair.second
    rows = grouped_weight(first, weights[first.weight])
    weights[first.weight] = layer_weight(first, rows / scales.reshape(*rows.shape[:2], 1))
    if first.bias:
        weights[first.bias] = (weights[first.bias] / scales).astype(np.float32)
    columns = grouped_weight(second, weights[second.weight])
    weights[second.weight] = layer_weight(second, columns * scales[pair.features()][:, None])


def _scales(model: Model, linked: Sequence[Pair]) -> list[np.ndarray]:
    """Sweep over the pairs until nothing changes; return each pair's scales (c_out,) in all."""
    weights = dict(model.weights)
    for pair in linked:
        for layer in (pair.first, pair.second):
            if not np.isfinite(weights[layer.weight]).all():
                raise PassError(f"the weight of {layer.name} holds NaN or infinity")
    total = [np.ones(_count(pair)) for pair in linked]
    for _ in range(SWEEPS):
        most = 1.0
        for at, pair in enumerate(linked):
            scales = _matching_scales(weights, pair)
            scale_pair(weights, pair, scales)
            total[at] *= scales
            most = max(most, scales.max(), 1 / scales.min())
        if most < CONVERGED_RATIO:
            break
    return total


def _matching_scales(weights: Mapping[str, np.ndarray], pair: Pair) -> np.ndarray:
    """Return sqrt(r1 / r2) for each channel; 1 where either range is nothing."""
    rows = grouped_weight(pair.first, weights[pair.first.weight])
    before = np.abs(rows).max(axis=2).reshape(-1)
    if pair.first.bias:
        before = np.maximum(before, np.abs(weights[pair.first.bias]))
    columns = np.abs(grouped_weight(pair.second, weights[pair.second.weight])).max(axis=1)
    after = np.zeros(len(before))
    np.maximum.at(after, pair.features(), columns)
    both = (before > 0) & (after > 0)
    return np.sqrt(np.where(both, before, 1.0) / np.where(both, after, 1.0))


def _count(pair: Pair) -> int:
    return pair.first.outputs


class _Limits:
    """Rewrites each clip to [0, high] as min(relu(x), limit), the limit a weight (c,).

    `limits` gives its name, and whether channels are the second axis, or the last.
    """

    def __init__(self, limits: Mapping[relax.Var, tuple[str, bool]]):
        self._limits = limits

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var not in self._limits:
            return body.of(value)
        name, channels_second = self._limits[var]
        limit = body.weight(name)
        if channels_second:
            shape = (1, -1, *[1] * (len(shape_of(value)) - 2))
            limit = body.emit(relax.op.reshape(limit, shape), f"{var.name}_limit")
        positive = body.emit(relax.op.nn.relu(body.of(value.args[0])), f"{var.name}_relu")
        return relax.op.minimum(positive, limit)
