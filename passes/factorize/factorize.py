"""Factorize layers: parts of fewer multiply-adds that give nearly the same outputs.

Layer `a` becomes `a.0`, `a.1`, …, the bias on the last (on both branches where there are two).
With calibration data the error is that of the layer's output on the samples, and the layers are
then refitted (`refit.py`); without, that of the weight. `forms/` holds what a layer can become,
`ranks.py` says how ranks are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ...errors import PassError
from ...ir.checks import refuse_rounded
from ...ir.layers import Layer, layers, shared_weights
from ...ir.model import Model
from ..decision import Decision, Kept, LayerTimer, Pass
from ..moments import grouped_weight
from ..refit import Refit, Target, covariances, refit, targets
from .fastest_split import fastest_split
from .forms import PLAIN_FORMS
from .forms.base import Form, Problem
from .ranks import ByError, RankChoice
from .split import Split
from .split_layers import factorized_layers, split_layers

if TYPE_CHECKING:
    from ...frontend.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Factorize(Pass):
    """Split each layer that a form of `forms` makes cheaper at the ranks that `rank` chooses.

    `max_error_ratio=e` is short for `rank=ByError(e)`. Ranks are rounded up to `multiple_of`.
    With a `timer`, a layer stays whole where its parts are not faster (`fastest_split.py`).
    """

    max_error_ratio: InitVar[float | None] = None
    rank: RankChoice | None = None
    multiple_of: int = 8
    forms: tuple[Form, ...] = PLAIN_FORMS
    timer: LayerTimer | None = field(default=None, repr=False, compare=False)

    def __post_init__(self, max_error_ratio: float | None) -> None:
        if (max_error_ratio is None) == (self.rank is None):
            raise PassError("give either max_error_ratio or rank to Factorize, not both or neither")
        if max_error_ratio is not None:
            object.__setattr__(self, "rank", ByError(max_error_ratio))
        if self.multiple_of < 1:
            raise PassError(f"multiple_of is {self.multiple_of}; choose 1 or more")
        if not self.forms:
            raise PassError("forms is empty; choose from passes.factorize.forms.ALL_FORMS")

    def with_layer_timer(self, timer: LayerTimer) -> Factorize:
        """Split only layers whose parts are faster by this timer."""
        return replace(self, timer=timer)

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Find for each layer the form that is worth it, or say why there is none."""
        refuse_rounded(model)
        seen = {} if calibration is None else covariances(model, calibration)
        left_alone = _excluded_layers(model)
        decisions: list[Decision] = [
            Kept(layer=layer.name, why=left_alone[layer.name])
            if layer.name in left_alone
            else self._decide(model, layer, seen.get(layer.name))
            for layer in layers(model)
        ]
        splits = [d for d in decisions if isinstance(d, Split)]
        if calibration is not None and splits:
            decisions.extend(self._refits(model, splits, calibration))
        return tuple(decisions)

    def _refits(
        self, model: Model, splits: Sequence[Split], calibration: Dataset
    ) -> tuple[Refit, ...]:
        """Refit every layer from the first split on; of a split layer, what gives its outputs."""
        names = [layer.name for layer in layers(model)]
        given, start = targets(model, calibration), names.index(splits[0].layer)
        branches = {split.layer: split.output_branches() for split in splits}
        wanted = {
            part: Target(given[name].outputs[:, share], given[name].at)
            for name in names[start:]
            for part, share in branches.get(name, ((name, slice(None)),))
        }
        return refit(self.apply(model, splits), wanted, calibration)

    def _decide(self, model: Model, layer: Layer, covariance: np.ndarray | None) -> Split | Kept:
        weight = grouped_weight(layer, model.weights[layer.weight])[0]
        if not np.isfinite(weight).all():
            raise PassError(f"the weight of {layer.name} holds NaN or infinity")
        if not weight.any():
            return Kept(layer=layer.name, why="its weight is all zero")
        if covariance is not None and not covariance.any():
            return Kept(layer=layer.name, why="its input never varies in the calibration data")
        kernel = (1, 1) if layer.kind == "dense" else layer.weight_shape[2:]
        problem = Problem(layer, weight.reshape(len(weight), -1, *kernel), covariance)
        return self._choose(model, problem)

    def _choose(self, model: Model, problem: Problem) -> Split | Kept:
        """Take the lightest form, or the fastest; those that do not fit are left out."""
        assert self.rank is not None
        layer, splits, reasons = problem.layer, [], []
        for form in (form for form in self.forms if form.accepts(layer)):
            found = form.obstacle(layer) or self.rank.choose(form, problem, self.multiple_of)
            if isinstance(found, Split):
                splits.append(found)
            else:
                reasons.append((form.name, found))
        if not splits:
            return Kept(layer=layer.name, why=_join_reasons(reasons))
        if self.timer is None:
            return min(splits, key=self.rank.weigh)
        return fastest_split(model, layer, splits, self.timer)

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with the layers split; refitted layers get their weights."""
        parted = split_layers(model, [d for d in decisions if isinstance(d, Split)])
        weights = dict(parted.weights)
        for decision in decisions:
            if isinstance(decision, Refit):
                weights.update(decision.weights)
        return parted.evolved(parted.module, weights)


def _excluded_layers(model: Model) -> dict[str, str]:
    """Name the layers that no form is tried on, and why."""
    parts, shared, found = factorized_layers(model), shared_weights(model), {}
    for layer in layers(model):
        if layer.name in parts:
            found[layer.name] = "it is part of a factorized layer already"
        elif layer.groups > 1:
            found[layer.name] = f"{layer.kind} convolutions have few weights already"
        elif layer.spreads:
            found[layer.name] = "a transposed convolution has no such form here"
        elif layer.weight in shared:
            found[layer.name] = "its weight is shared"
    return found


def _join_reasons(reasons: Sequence[tuple[str, str]]) -> str:
    """Say why none of the forms will do."""
    if len(reasons) == 1:
        return reasons[0][1]
    return (
        "; ".join(f"{form}: {why}" for form, why in reasons) or "none of the chosen forms fits it"
    )
