"""How many units of each group stay: a ratio for each, or one for all, in steps of whole tiles.

Source  P. Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient
        Inference, ICLR 2017, section 2.2 (scores of a layer over their norm, to compare layers);
        T. Kim et al., CPrune: Compiler-Informed Model Pruning for Efficient Target-Aware DNN
        Execution, ECCV 2022 (steps of the tuned kernel's output-channel tiles, as `multiples`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil, gcd, lcm

import numpy as np

from ...errors import PassError
from ...ir.layers import Layer
from .coupling import Coupling, Group


def unit_step(
    found: Sequence[Layer],
    coupled: Coupling,
    index: int,
    multiple_of: int,
    multiples: Mapping[str, int],
) -> int:
    """Count the units of a group that its layers lose at once.

    Where `multiples` names layers of the group, each of those keeps a multiple of its own of
    output channels; else all keep multiples of `multiple_of`, and so do the inputs of the layers
    that read them.
    """
    names = coupled.groups[index].layers
    own = {layer.name: layer for layer in found if layer.name in names and layer.name in multiples}
    wanted: dict[tuple[str, int], int] = {}
    for name, layer in own.items():
        wanted[layer.weight, layer.output_axis] = multiples[name]
    for layer in () if own else found:
        wanted[layer.weight, layer.output_axis] = multiple_of
        if layer.groups == 1:
            wanted[layer.weight, 1 - layer.output_axis] = multiple_of
    touched = Counter((holder, axis) for holder, axis, _ in coupled.atoms[index][0])
    return lcm(
        *(
            multiple // gcd(multiple, touched[place])
            for place, multiple in wanted.items()
            if place in touched
        )
    )


def keep_by_group(
    groups: Sequence[Group], steps: Sequence[int], ratios: Sequence[float]
) -> list[int]:
    """Keep a ratio of each group's units, rounded up to its step."""
    return [_round_up(g.units * r, s) for g, r, s in zip(groups, ratios, steps, strict=True)]


def keep_over_groups(
    groups: Sequence[Group],
    steps: Sequence[int],
    scores: Sequence[np.ndarray],
    keep_ratio: float,
    floor_ratio: float,
) -> list[int]:
    """Keep the best units of all groups, until `keep_ratio` of all channels stay.

    Scores count relative to their group's root mean square; every group keeps `floor_ratio`.
    """
    if not groups:
        return []
    relative = [s / max(float(np.sqrt(np.square(s).mean())), 1e-300) for s in scores]
    owner = np.repeat(np.arange(len(groups)), [group.units for group in groups])
    order = owner[np.argsort(-np.concatenate(relative), kind="stable")]
    channels = np.cumsum([groups[i].unit for i in order])
    count = int(np.searchsorted(channels, keep_ratio * channels[-1] - 1e-9)) + 1
    best = np.bincount(order[:count], minlength=len(groups))
    floors = [floor_ratio * group.units for group in groups]
    return [_round_up(max(b, f), s) for b, f, s in zip(best, floors, steps, strict=True)]


def ratio_of(group: Group, ratios: Mapping[str, float]) -> float | None:
    """Return the ratio that is given by name for a layer of the group; all names must agree."""
    named = {layer: ratios[layer] for layer in group.layers if layer in ratios}
    if len(set(named.values())) > 1:
        given = ", ".join(f"{name} {ratio}" for name, ratio in named.items())
        raise PassError(f"{given}: these layers lose channels together; give them one ratio")
    return next(iter(named.values()), None)


def check_names(found: Sequence[Layer], given: Mapping[str, object], setting: str) -> None:
    """Refuse a setting for a layer that the network does not have."""
    names = [layer.name for layer in found]
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        raise PassError(f"{setting} names {unknown!r}; the network has {', '.join(names)}")


def _round_up(count: float, step: int) -> int:
    return step * max(ceil(count / step), 1)
