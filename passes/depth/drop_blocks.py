"""Depth scaling: leave out the residual blocks that change the outputs least.

Before  y = x + f(x)        f some layers, x and y of one shape
After   y = x

Each block is left out alone, and the network run on calibration data: the relative change of the
outputs ranks it. Then the least important go, and the layers behind are refitted (`refit.py`).

Source  A. Veit et al., Residual Networks Behave Like Ensembles of Relatively Shallow Networks,
        NeurIPS 2016, section 4.1 (blocks left out alone); S. Liu et al., AdaSpring, IMWUT 2021
        (depth scaling, its operator δ4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import PassError
from ...ir.checks import refuse_rounded
from ...ir.layers import layers
from ...ir.model import Model
from ...reference.executor import Reference, calibration_inputs
from ..decision import Decision, Kept, Pass, changed_settings
from ..refit import Refit, apply_refits, refit, targets
from .blocks import Block, blocks, remove_blocks

if TYPE_CHECKING:
    from ...frontend.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Drop:
    """A residual block that goes; `error_ratio` is |y - y'| / |y| of the outputs without it."""

    block: Block
    block_index: int
    error_ratio: float

    @property
    def layer(self) -> str:
        """The block's first layer."""
        return self.block.layers[0]

    def describe(self) -> str:
        """Say in one line which layers go, and what that does."""
        return (
            f"{' + '.join(self.block.layers)}: block dropped, "
            f"output error {self.error_ratio:.1%} without it alone"
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class DropBlocks(Pass):
    """Leave out `count` residual blocks, or `drop_ratio` of those that can go, rounded down."""

    drop_ratio: float | None = None
    count: int | None = None
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if (self.drop_ratio is None) == (self.count is None):
            raise PassError("give DropBlocks either drop_ratio or count")
        if self.drop_ratio is not None and not 0 < self.drop_ratio < 1:
            raise PassError(f"drop_ratio is {self.drop_ratio}; choose a value between 0 and 1")
        if self.count is not None and self.count < 1:
            raise PassError(f"count is {self.count}; choose 1 or more")

    __repr__ = changed_settings

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Measure every block, choose those that go, and refit the layers behind them."""
        if calibration is None:
            raise PassError("ranking blocks needs calibration data; give a data set")
        refuse_rounded(model)
        found = blocks(model)
        errors = _errors(model, found, calibration)
        drops = self._drops(found, errors)
        gone = {name for drop in drops for name in drop.block.layers}
        stay = [layer.name for layer in layers(model) if layer.name not in gone]
        if drops and not stay:
            raise PassError("all layers are in the blocks that would go; drop fewer")
        decisions: list[Decision] = list(drops)
        decisions.extend(Kept(layer=name, why=_why(name, found, errors)) for name in stay)
        return (*decisions, *(_refits(model, drops, calibration) if drops else ()))

    def _drops(self, found: Sequence[Block], errors: dict[int, float]) -> list[Drop]:
        count = self.count or floor((self.drop_ratio or 0.0) * len(errors))
        if count > len(errors):
            raise PassError(f"count is {count}, and {len(errors)} residual blocks can go")
        drops: list[Drop] = []
        for index in sorted(errors, key=lambda index: errors[index]):
            gone = {name for drop in drops for name in drop.block.layers}
            if len(drops) < count and not gone.issuperset(found[index].layers):
                drops.append(Drop(block=found[index], block_index=index, error_ratio=errors[index]))
        return drops

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network without the chosen blocks; refitted layers get their weights."""
        drops = [d for d in decisions if isinstance(d, Drop)]
        return apply_refits(_remove(model, drops), decisions)


def _remove(model: Model, drops: Sequence[Drop]) -> Model:
    found = blocks(model)
    for drop in drops:
        if drop.block_index >= len(found) or found[drop.block_index] != drop.block:
            raise PassError(f"the decision on {drop.layer} was made for another network")
    return remove_blocks(model, [found[drop.block_index] for drop in drops])


def _errors(model: Model, found: Sequence[Block], calibration: Dataset) -> dict[int, float]:
    """Measure the relative error of all outputs without each block that can go, by its index."""
    inputs = [x.numpy() for x in calibration_inputs(model, calibration)]
    wanted = Reference(model).mapped(inputs)
    errors = {}
    for index, block in enumerate(found):
        if block.why is None:
            given = Reference(remove_blocks(model, [block])).mapped(inputs)
            pairs = zip(wanted, given, strict=True)
            error = np.sqrt(np.mean([_power(y - z) / max(_power(y), 1e-30) for y, z in pairs]))
            errors[index] = float(error) if np.isfinite(error) else np.inf
    return errors


def _power(values: np.ndarray) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _why(name: str, found: Sequence[Block], errors: dict[int, float]) -> str:
    """Say why a layer stays: its block matters more, or cannot go, or it is in none."""
    inside = [(index, block) for index, block in enumerate(found) if name in block.layers]
    if not inside:
        return "it is in no residual block"
    index, block = min(inside, key=lambda each: len(each[1].layers))
    if block.why is not None:
        return block.why
    return f"output error {errors[index]:.1%} without its block"


def _refits(model: Model, drops: Sequence[Drop], calibration: Dataset) -> tuple[Refit, ...]:
    """Refit every layer behind the first block that goes, for the outputs it gave before."""
    names = [layer.name for layer in layers(model)]
    first = min(names.index(drop.layer) for drop in drops)
    given = targets(model, calibration)
    wanted = {name: given[name] for name in names[first:]}
    return refit(_remove(model, drops), wanted, calibration)
