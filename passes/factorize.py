"""Split layers in two or three when a low-rank form gives nearly the same outputs.

Before  y = x @ W                      W (k, n)
After   y = (x @ A) @ B                A (k, r), B (r, n)

Before  y = conv(x, W)                 W (o, i, kh, kw)
After   y = conv(conv(conv(x, A), K), B)
        A (p, i, 1, 1), K (q, p, kh, kw) with W's strides and padding, B (o, q, 1, 1); A or B is
        left out where p = i or q = o. A 1×1 convolution splits in two, as a dense layer does.

Layer `a` becomes `a.0`, `a.1` (`a.2`), the bias on the last. With calibration data the error is
that of the layer's output on the samples, and the layers are then refitted (`refit.py`); without,
that of the weight. The mathematics is in `lowrank.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from tvm import relax

from ..errors import PassError
from ..frontend.model import Model
from .decision import Decision, Kept
from .graph import Layer, is_call, layers, shared_weights, variables
from .integers import refuse_quantized
from .lowrank import Tucker, smallest_rank, spectrum, tuckers
from .moments import grouped_weight
from .refit import Refit, covariances, refit, targets
from .rewrite import Body, rebuild

if TYPE_CHECKING:
    from ..frontend.data import Dataset

INNER_RANKS_TRIED = 8


@dataclass(frozen=True, kw_only=True)
class Split:
    """A layer to be split; `ranks` are the channels between the parts.

    `factors` are the parts' weights as stored, `core` the part that has the strides.
    """

    layer: str
    ranks: tuple[int, ...]
    full_ranks: tuple[int, ...]
    error_ratio: float
    macs_count_before: int
    macs_count_after: int
    core: int
    factors: tuple[np.ndarray, ...] = field(repr=False, compare=False)

    def describe(self) -> str:
        """Say in one line into what the layer splits."""
        return (
            f"{self.layer}: split in {len(self.factors)} "
            f"at rank {_ranks(self.ranks, self.full_ranks)}, "
            f"{self.macs_count_before:,} -> {self.macs_count_after:,} MACs, "
            f"error {self.error_ratio:.1%}"
        )


@dataclass(frozen=True, kw_only=True)
class Factorize:
    """Split each layer whose low-rank form saves MACs at |y - y'| / |y| <= `max_error_ratio`.

    Ranks are rounded up to `multiple_of`.
    """

    max_error_ratio: float
    multiple_of: int = 8
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.max_error_ratio < 1:
            raise PassError(
                f"max_error_ratio is {self.max_error_ratio}; choose a value between 0 and 1"
            )
        if self.multiple_of < 1:
            raise PassError(f"multiple_of is {self.multiple_of}; choose 1 or more")

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Find for each layer the cheapest form within the error, or say why there is none."""
        refuse_quantized(model)
        seen = {} if calibration is None else covariances(model, calibration)
        decisions: list[Decision] = [self._decide(model, each, seen) for each in layers(model)]
        splits = [d for d in decisions if isinstance(d, Split)]
        if calibration is not None and splits:
            decisions.extend(self._refits(model, splits, calibration))
        return tuple(decisions)

    def _refits(
        self, model: Model, splits: Sequence[Split], calibration: Dataset
    ) -> tuple[Refit, ...]:
        """Refit every layer from the first split on; of a split layer, the last part."""
        names = [layer.name for layer in layers(model)]
        given, start = targets(model, calibration), names.index(splits[0].layer)
        last = {d.layer: f"{d.layer}.{len(d.factors) - 1}" for d in splits}
        wanted = {last.get(name, name): given[name] for name in names[start:]}
        return refit(self.apply(model, splits), wanted, calibration)

    def _decide(
        self,
        model: Model,
        layer: Layer,
        seen: Mapping[str, np.ndarray],
    ) -> Split | Kept:
        if layer.groups > 1:
            return Kept(layer=layer.name, why=f"{layer.kind} convolutions are thin already")
        if layer.weight in shared_weights(model):
            return Kept(layer=layer.name, why="its weight is shared")
        weight = grouped_weight(layer, model.weights[layer.weight])[0]
        if not np.isfinite(weight).all():
            raise PassError(f"the weight of {layer.name} holds NaN or infinity")
        if not weight.any():
            return Kept(layer=layer.name, why="its weight is all zero")
        covariance = seen.get(layer.name)
        if covariance is not None and not covariance.any():
            return Kept(layer=layer.name, why="its input never varies in the calibration data")
        pointwise = layer.kind == "dense" or layer.weight_shape[2:] == (1, 1)
        decide = self._pointwise if pointwise else self._spatial
        return decide(layer, weight, covariance)

    def _pointwise(
        self, layer: Layer, weight: np.ndarray, covariance: np.ndarray | None
    ) -> Split | Kept:
        full = min(weight.shape)
        found = spectrum(weight, covariance)
        rank = smallest_rank(found.error_ratios, self.max_error_ratio, self.multiple_of) or full
        after = layer.macs_count * rank * sum(weight.shape) // weight.size
        if rank >= full or after >= layer.macs_count:
            return Kept(layer=layer.name, why=f"rank {min(rank, full)} of {full} saves no MACs")
        parts = (found.right[:rank], found.left[:, :rank])
        return Split(
            layer=layer.name,
            ranks=(rank,),
            full_ranks=(full,),
            error_ratio=float(found.error_ratios[rank]),
            macs_count_before=layer.macs_count,
            macs_count_after=after,
            core=0,
            factors=tuple(_stored(layer, part) for part in parts),
        )

    def _spatial(
        self, layer: Layer, weight: np.ndarray, covariance: np.ndarray | None
    ) -> Split | Kept:
        c_in = layer.weight_shape[1]
        steps = range(self.multiple_of, c_in, self.multiple_of)
        inner_ranks = [*steps[:: max(1, len(steps) // INNER_RANKS_TRIED)], c_in]
        forms = tuckers(
            weight.reshape(layer.weight_shape),
            covariance,
            inner_ranks,
            self.max_error_ratio,
            self.multiple_of,
        )
        best = min((_split(layer, form) for form in forms), key=lambda s: s.macs_count_after)
        if best.macs_count_after >= layer.macs_count:
            ranks = _ranks(best.ranks, best.full_ranks)
            return Kept(layer=layer.name, why=f"rank {ranks} saves no MACs")
        return best

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with the layers split; refitted layers get their weights."""
        splits = {d.layer: d for d in decisions if isinstance(d, Split)}
        chosen = {layer.weight: layer for layer in layers(model) if layer.name in splits}
        biases = {
            layer.bias: f"{layer.name}.{len(splits[layer.name].factors) - 1}.bias"
            for layer in chosen.values()
            if layer.bias
        }
        weights: dict[str, np.ndarray] = {}
        for name, array in model.weights.items():
            if name in chosen:
                layer = chosen[name].name
                for i, factor in enumerate(splits[layer].factors):
                    weights[f"{layer}.{i}.weight"] = factor
            else:
                weights[biases.get(name, name)] = array
        for decision in decisions:
            if isinstance(decision, Refit):
                weights.update(decision.weights)
        return rebuild(model, weights, _Rewrite(model, chosen, splits, biases))


class _Rewrite:
    """Rewrites bindings: each split layer becomes a chain, its bias changes name."""

    def __init__(
        self,
        model: Model,
        chosen: Mapping[str, Layer],
        splits: Mapping[str, Split],
        biases: Mapping[str, str],
    ):
        self._names = model.weight_names()
        self._by_call = {layer.call: layer for layer in chosen.values()}
        self._chosen, self._splits, self._biases = chosen, splits, biases

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if var in self._by_call:
            return self._chain(body, self._by_call[var], value)
        names = [self._names.get(read) for read in variables(value)]
        if is_call(value, "relax.permute_dims") and names[0] in self._chosen:
            return None
        for read, name in zip(variables(value), names, strict=True):
            if name is not None and name in self._biases:
                body.bind(read, body.weight(self._biases[name]))
        return body.of(value)

    def _chain(self, body: Body, layer: Layer, value: relax.Call) -> relax.Expr:
        x, split = body.of(value.args[0]), self._splits[layer.name]
        for i in range(len(split.factors)):
            weight = body.weight(f"{layer.name}.{i}.weight")
            if layer.kind != "dense":
                made = _conv2d(x, weight, value.attrs, whole=i == split.core)
            else:
                flipped = relax.op.permute_dims(weight) if layer.transposed else None
                side = weight if flipped is None else body.emit(flipped, f"{weight.name}_t")
                made = relax.op.matmul(x, side, out_dtype=value.attrs.out_dtype)
            x = made if i == len(split.factors) - 1 else body.emit(made, f"{layer.call.name}_{i}")
        return x


def _conv2d(x: relax.Expr, weight: relax.Expr, attrs: relax.Call, whole: bool) -> relax.Expr:
    """Convolve with the old layer's strides and padding if `whole`, plainly if not."""
    return relax.op.nn.conv2d(
        x,
        weight,
        strides=attrs.strides if whole else [1, 1],
        padding=attrs.padding if whole else [0, 0, 0, 0],
        dilation=attrs.dilation if whole else [1, 1],
        out_dtype=attrs.out_dtype,
    )


def _split(layer: Layer, form: Tucker) -> Split:
    """Count what a Tucker form of a convolution costs, and write its parts as weights."""
    parts = [part for part in (form.inner, form.core, form.outer) if part is not None]
    factors = [
        np.ascontiguousarray(
            part.reshape(*part.shape, 1, 1) if part.ndim == 2 else part, np.float32
        )
        for part in parts
    ]
    inside, outside = (prod(shape[2:]) for shape in (layer.input_shape, layer.output_shape))
    core = 0 if form.inner is None else 1
    places = [inside if i < core else outside for i in range(len(factors))]
    inner_ranks = () if form.inner is None else ((len(form.inner), layer.weight_shape[1]),)
    outer_ranks = () if form.outer is None else ((len(form.core), layer.weight_shape[0]),)
    ranks = inner_ranks + outer_ranks
    return Split(
        layer=layer.name,
        ranks=tuple(rank for rank, _ in ranks),
        full_ranks=tuple(full for _, full in ranks),
        error_ratio=form.error_ratio,
        macs_count_before=layer.macs_count,
        macs_count_after=layer.output_shape[0]
        * sum(factor.size * count for factor, count in zip(factors, places, strict=True)),
        core=core,
        factors=tuple(factors),
    )


def _stored(layer: Layer, matrix: np.ndarray) -> np.ndarray:
    """Write a factor (out, in) as the layer's kind stores its weight."""
    if layer.kind != "dense":
        matrix = matrix[:, :, None, None]
    elif not layer.transposed:
        matrix = matrix.T
    return np.ascontiguousarray(matrix, dtype=np.float32)


def _ranks(ranks: Sequence[int], full_ranks: Sequence[int]) -> str:
    pairs = zip(ranks, full_ranks, strict=True)
    return ", ".join(f"{rank} of {full}" for rank, full in pairs) or "of all channels"
