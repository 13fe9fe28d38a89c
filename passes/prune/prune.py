"""Structured channel pruning: layers with fewer channels, the same graph.

Before  y = conv(relu(conv(x, A)), B)      A (64, 3, 3, 3), B (10, 64, 1, 1)
After   the same with                      A (48, 3, 3, 3), B (10, 48, 1, 1)

Channels are removed from groups of coupled layers (`coupling.py`), the least important first
(`importance.py`). With calibration data, the layers that read what was pruned are then refitted to
give the outputs they gave before (`refit.py`): without it, accuracy falls fast.

Source  H. Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017;
        Y. He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...errors import PassError
from ...ir.checks import refuse_rounded
from ...ir.layers import layers
from ...ir.model import Model
from ..decision import Decision, Kept, Pass, changed_settings
from ..refit import Refit, Target, apply_refits, refit, targets
from .budget import check_names, keep_by_group, keep_over_groups, ratio_of, unit_step
from .coupling import Coupling, Group, coupling
from .importance import IMPORTANCES, NEED_DATA, Score, scorer
from .slice_channels import slice_channels

if TYPE_CHECKING:
    from ...frontend.data import Dataset


@dataclass(frozen=True, kw_only=True)
class ChannelSlice:
    """A group of coupled layers that loses channels; `kept` numbers the group's units."""

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
        left = self.group.unit * len(self.kept)
        units = f", in units of {self.group.unit}" if self.group.unit > 1 else ""
        return f"{first}{coupled}: {self.group.channels} -> {left} channels{units}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Prune(Pass):
    """Keep `keep_ratio` of each group's channels, rounded up to `multiple_of`.

    `importance` ranks them (`importance.IMPORTANCES`); None is "power" with data, "l2" without.
    `scope` "global" ranks the channels of all groups together: `keep_ratio` of all stay, and at
    least `floor_ratio` of each group. `keep_ratios` gives single layers' groups a ratio of their
    own, `multiples` steps of their own: a board's tile of output channels, say.
    """

    keep_ratio: float
    multiple_of: int = 8
    importance: str | None = None
    scope: str = "group"
    floor_ratio: float = 0.1
    keep_ratios: Mapping[str, float] = field(default_factory=dict, hash=False)
    multiples: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        ratios = {"keep_ratio": self.keep_ratio, "floor_ratio": self.floor_ratio}
        ratios |= {f"keep_ratios[{name!r}]": ratio for name, ratio in self.keep_ratios.items()}
        for name, ratio in ratios.items():
            if not 0 < ratio < 1:
                raise PassError(f"{name} is {ratio}; choose a value between 0 and 1")
        multiples = {"multiple_of": self.multiple_of}
        multiples |= {f"multiples[{name!r}]": count for name, count in self.multiples.items()}
        for name, count in multiples.items():
            if count < 1:
                raise PassError(f"{name} is {count}; choose 1 or more")
        _check_choice("importance", self.importance, (None, *IMPORTANCES))
        _check_choice("scope", self.scope, ("group", "global"))

    @property
    def needs_data(self) -> bool:
        """Whether the importance cannot be told without calibration data."""
        return self.importance in NEED_DATA

    __repr__ = changed_settings

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Decide for each group which channels stay, and for each reader its refitted weights."""
        if self.needs_data and calibration is None:
            raise PassError(f"importance {self.importance!r} needs calibration data")
        refuse_rounded(model)
        coupled, found = coupling(model), layers(model)
        check_names(found, self.keep_ratios, "keep_ratios")
        check_names(found, self.multiples, "multiples")
        decisions: list[Decision] = list(self._slices(model, coupled, calibration))
        decided = {name for group in coupled.groups for name in group.layers}
        for layer in found:
            if layer.name not in decided:
                decisions.append(Kept(layer=layer.name, why="it has one output channel"))
        slices = [d for d in decisions if isinstance(d, ChannelSlice)]
        if calibration is not None and slices:
            decisions.extend(self._refits(model, slices, calibration))
        return tuple(decisions)

    def _slices(
        self, model: Model, coupled: Coupling, calibration: Dataset | None
    ) -> Iterator[ChannelSlice | Kept]:
        free = [i for i, group in enumerate(coupled.groups) if group.why is None]
        default = "l2" if calibration is None else "power"
        score = scorer(model, self.importance or default, calibration)
        scores = {i: _rank_units(coupled, i, score) for i in free}
        kept_counts = dict(zip(free, self._counts(model, coupled, scores), strict=True))
        for index, group in enumerate(coupled.groups):
            keep, why = kept_counts.get(index, group.units), group.why
            if why is None and keep >= group.units:
                why = f"{group.channels} channels, and {keep * group.unit} would stay"
            if why is not None:
                yield from (Kept(layer=layer, why=why) for layer in group.layers)
                continue
            order = np.argsort(-scores[index], kind="stable")
            kept = tuple(sorted(int(j) for j in order[:keep]))
            yield ChannelSlice(group=group, group_index=index, kept=kept)

    def _counts(
        self, model: Model, coupled: Coupling, scores: Mapping[int, np.ndarray]
    ) -> list[int]:
        """Return how many units stay, for each group that has scores."""
        found, free = layers(model), [coupled.groups[i] for i in scores]
        steps = [unit_step(found, coupled, i, self.multiple_of, self.multiples) for i in scores]
        own = [ratio_of(group, self.keep_ratios) for group in free]
        counts = keep_by_group(free, steps, [ratio or self.keep_ratio for ratio in own])
        if self.scope == "global":
            ranked = [k for k, ratio in enumerate(own) if ratio is None]
            together = keep_over_groups(
                [free[k] for k in ranked],
                [steps[k] for k in ranked],
                [list(scores.values())[k] for k in ranked],
                self.keep_ratio,
                self.floor_ratio,
            )
            for k, count in zip(ranked, together, strict=True):
                counts[k] = count
        return counts

    def _refits(
        self, model: Model, slices: Sequence[ChannelSlice], calibration: Dataset
    ) -> tuple[Refit, ...]:
        """Refit every layer from the first that lost inputs on, for the outputs it still has."""
        thin = _slice(model, slices)
        kept = kept_outputs(model, slices)
        pairs = zip(layers(thin), layers(model), strict=True)
        changed = [new.input_shape != old.input_shape for new, old in pairs]
        if True not in changed:  # nothing reads what was removed
            return ()
        later = [layer.name for layer in layers(thin)][changed.index(True) :]
        wanted = {
            name: Target(target.outputs[:, kept[name]], target.at)
            for name, target in targets(model, calibration).items()
            if name in later
        }
        return refit(thin, wanted, calibration)

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network without the removed channels; refitted layers get their weights."""
        smaller = _slice(model, [d for d in decisions if isinstance(d, ChannelSlice)])
        return apply_refits(smaller, decisions)


def _check_choice(setting: str, value: str | None, choices: Sequence[str | None]) -> None:
    if value not in choices:
        raise PassError(f"{setting} is {value!r}; choose from {', '.join(map(str, choices))}")


def _rank_units(coupled: Coupling, index: int, score: Score) -> np.ndarray:
    found = score(coupled.atoms[index])
    if not np.isfinite(found).all():
        names = " + ".join(coupled.groups[index].layers)
        raise PassError(
            f"{names}: weights or gradients hold NaN or infinity; they cannot be ranked"
        )
    return found


def _slice(model: Model, decisions: Sequence[ChannelSlice]) -> Model:
    coupled = coupling(model)
    return slice_channels(model, coupled.axes, _removed_slots(coupled, decisions))


def _removed_slots(coupled: Coupling, decisions: Sequence[ChannelSlice]) -> set[int]:
    removed: set[int] = set()
    for decision in decisions:
        index = decision.group_index
        if index >= len(coupled.groups) or coupled.groups[index] != decision.group:
            raise PassError(f"the decision on {decision.layer} was made for another network")
        gone = set(range(decision.group.units)) - set(decision.kept)
        removed |= {coupled.roots[index][j] for j in gone}
    return removed


def kept_outputs(model: Model, decisions: Sequence[ChannelSlice]) -> dict[str, np.ndarray]:
    """List, for every layer, the output channels that are left."""
    coupled, variables = coupling(model), model.weight_vars()
    removed = _removed_slots(coupled, decisions)
    found = {}
    for layer in layers(model):
        axis = coupled.axes[variables[layer.weight]][layer.output_axis]
        stays = [True] if axis is None else [int(root) not in removed for root in axis]
        found[layer.name] = np.flatnonzero(stays)
    return found
