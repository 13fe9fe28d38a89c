"""Split layers in two or three when a low-rank form gives nearly the same outputs.

Layer `a` becomes `a.0`, `a.1` (`a.2`), the bias on the last. With calibration data the error is
that of the layer's output on the samples, and the layers are then refitted (`refit.py`); without,
that of the weight. `forms.py` says what a layer can become, `ranks.py` how ranks are chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..errors import PassError
from ..frontend.model import Model
from .decision import Decision, Kept
from .forms import SVD, TUCKER, Form, Problem
from .graph import Layer, layers, shared_weights
from .integers import refuse_quantized
from .moments import grouped_weight
from .ranks import ByError
from .refit import Refit, covariances, refit, targets
from .split import Split
from .split_rewrite import split_layers

if TYPE_CHECKING:
    from ..frontend.data import Dataset

FORMS: tuple[Form, ...] = (SVD, TUCKER)


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
        last = {split.layer: split.names()[-1] for split in splits}
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
        kernel = (1, 1) if layer.kind == "dense" else layer.weight_shape[2:]
        problem = Problem(layer, weight.reshape(len(weight), -1, *kernel), covariance)
        return self._choose(problem)

    def _choose(self, problem: Problem) -> Split | Kept:
        """Take the form of the fewest MACs."""
        layer, choice = problem.layer, ByError(self.max_error_ratio)
        found = [
            choice.choose(form, problem, self.multiple_of) for form in FORMS if form.takes(layer)
        ]
        splits = [one for one in found if isinstance(one, Split)]
        if not splits:
            reasons = "; ".join(one for one in found if isinstance(one, str))
            return Kept(layer=layer.name, why=reasons)
        return min(splits, key=lambda split: split.macs_count_after)

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with the layers split; refitted layers get their weights."""
        parted = split_layers(model, [d for d in decisions if isinstance(d, Split)])
        weights = dict(parted.weights)
        for decision in decisions:
            if isinstance(decision, Refit):
                weights.update(decision.weights)
        return parted.evolved(parted.module, weights)
