"""Structured channel pruning: narrower layers, same graph.

Before  y = conv(relu(conv(x, A)), B)      A (64, 3, 3, 3), B (10, 64, 1, 1)
After   the same with                      A (48, 3, 3, 3), B (10, 48, 1, 1)

Channels go in groups of coupled layers (`coupling.py`); within a group the least important go
(`importance.py`). With calibration data, the layers that read what was pruned are then refitted to
give the outputs they gave before (`refit.py`): without it, accuracy falls fast.

Source  H. Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017;
        Y. He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..errors import PassError
from ..frontend.model import Model
from .coupling import Coupling, Group, coupling
from .decision import Decision, Kept
from .graph import layers
from .importance import importance, input_powers
from .integers import refuse_quantized
from .narrow import narrowed
from .refit import Refit, Target, refit, targets

if TYPE_CHECKING:
    from ..frontend.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Narrow:
    """A group of coupled layers that loses channels; `kept` numbers the group's channels."""

    group: Group
    group_index: int
    kept: tuple[int, ...]

    @property
    def layer(self) -> str:
        """The group's first layer."""
        return self.group.layers[0]

    def describe(self) -> str:
        """Say in one line what is removed, and from where."""
        first, *rest = self.group.layers
        coupled = f" (with {', '.join(rest)})" if rest else ""
        return f"{first}{coupled}: {self.group.channels} -> {len(self.kept)} channels"


@dataclass(frozen=True, kw_only=True)
class Prune:
    """Keep `keep_ratio` of each group's channels, rounded up to `multiple_of`."""

    keep_ratio: float
    multiple_of: int = 8
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.keep_ratio < 1:
            raise PassError(f"keep_ratio is {self.keep_ratio}; choose a value between 0 and 1")
        if self.multiple_of < 1:
            raise PassError(f"multiple_of is {self.multiple_of}; choose 1 or more")

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Decide for each group which channels stay, and for each reader its refitted weights."""
        refuse_quantized(model)
        coupled = coupling(model)
        powers = {} if calibration is None else input_powers(model, calibration)
        decisions: list[Decision] = []
        for index in range(len(coupled.groups)):
            decisions.extend(self._decide(model, coupled, index, powers))
        decided = {name for group in coupled.groups for name in group.layers}
        for layer in layers(model):
            if layer.name not in decided:
                decisions.append(Kept(layer=layer.name, why="it has one output channel"))
        narrowing = [d for d in decisions if isinstance(d, Narrow)]
        if calibration is not None and narrowing:
            decisions.extend(self._refits(model, narrowing, calibration))
        return tuple(decisions)

    def _decide(
        self, model: Model, coupled: Coupling, index: int, powers: Mapping[str, np.ndarray]
    ) -> list[Narrow | Kept]:
        group = coupled.groups[index]
        keep = self.multiple_of * ceil(group.channels * self.keep_ratio / self.multiple_of)
        why = group.why
        if why is None and keep >= group.channels:
            why = f"{group.channels} channels, and {keep} would stay"
        if why is not None:
            return [Kept(layer=layer, why=why) for layer in group.layers]
        order = np.argsort(-importance(model, coupled, index, powers), kind="stable")
        kept = tuple(sorted(int(j) for j in order[:keep]))
        return [Narrow(group=group, group_index=index, kept=kept)]

    def _refits(
        self, model: Model, narrowing: Sequence[Narrow], calibration: Dataset
    ) -> tuple[Refit, ...]:
        """Refit every layer from the first that lost inputs on, for the outputs it still has."""
        thin = _narrow(model, narrowing)
        kept = kept_outputs(model, narrowing)
        pairs = zip(layers(thin), layers(model), strict=True)
        changed = [new.input_shape != old.input_shape for new, old in pairs]
        later = [layer.name for layer in layers(thin)][changed.index(True) :]
        wanted = {
            name: Target(target.outputs[:, kept[name]], target.at)
            for name, target in targets(model, calibration).items()
            if name in later
        }
        return refit(thin, wanted, calibration)

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network without the removed channels; refitted layers get their weights."""
        smaller = _narrow(model, [d for d in decisions if isinstance(d, Narrow)])
        weights = dict(smaller.weights)
        for decision in decisions:
            if isinstance(decision, Refit):
                weights.update(decision.weights)
        return smaller.evolved(smaller.module, weights)


def _narrow(model: Model, decisions: Sequence[Narrow]) -> Model:
    coupled = coupling(model)
    return narrowed(model, coupled.axes, _removed(coupled, decisions))


def _removed(coupled: Coupling, decisions: Sequence[Narrow]) -> set[int]:
    removed: set[int] = set()
    for decision in decisions:
        index = decision.group_index
        if index >= len(coupled.groups) or coupled.groups[index] != decision.group:
            raise PassError(f"the decision on {decision.layer} was made for another network")
        gone = set(range(decision.group.channels)) - set(decision.kept)
        removed |= {coupled.roots[index][j] for j in gone}
    return removed


def kept_outputs(model: Model, decisions: Sequence[Narrow]) -> dict[str, np.ndarray]:
    """List, for every layer, the output channels that are left."""
    coupled, variables = coupling(model), model.weight_vars()
    removed = _removed(coupled, decisions)
    found = {}
    for layer in layers(model):
        axis = coupled.axes[variables[layer.weight]][layer.output_axis]
        stays = [True] if axis is None else [int(root) not in removed for root in axis]
        found[layer.name] = np.flatnonzero(stays)
    return found
