"""SmallResNet cut by hand into segments, each with cells in torch; what combinations score.

Cells are dense, in 8 bits (weights and inputs rounded), pruned inside the blocks by magnitude, by a
quarter or half, of half the rank, and where a block keeps its shape, left out. None is retrained.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from adaspring.explore.combinations.choices import Choices
from adaspring.tests.support.networks import BasicBlock, SmallResNet

RELATIVE_COST = {
    "dense": 1.0,
    "int8": 0.4,
    "pruned-quarter": 0.78,
    "pruned-half": 0.55,
    "low-rank": 0.7,
    "left-out": 0.0,
}
"""Of a multiply-add; made up, since nothing is timed."""
Metrics = dict[tuple[int, ...], float]


class Rounded(nn.Module):
    """A layer whose input and weight are rounded to 8 bits, the weight by output channel."""

    def __init__(self, layer: nn.Module, input_limit: float) -> None:
        super().__init__()
        self.layer, self.step = layer, input_limit / 255
        weight = layer.weight.data
        steps = weight.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
        steps = steps.reshape(-1, *[1] * (weight.dim() - 1))
        layer.weight.data = (weight / steps).round() * steps

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((x / self.step).round().clamp(-128, 255) * self.step)


def layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Convolutions and dense layers, by name."""
    return [(n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def int8(segment: nn.Module, x: Tensor) -> nn.Module:
    """Round each layer, its input by what it takes of the calibration samples."""
    found, limits = deepcopy(segment), {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, given, name=name: limits.update({name: given[0].abs().max().item()})
        )
        for name, layer in layers(found)
    ]
    found(x)
    for hook in hooks:
        hook.remove()
    for name, layer in layers(found):
        parent, _, last = name.rpartition(".")
        setattr(found.get_submodule(parent), last, Rounded(layer, limits[name]))
    return found


def pruned(segment: nn.Module, dropped_ratio: float) -> nn.Module:
    """Drop channels between a block's two convolutions; of a dense layer, inputs."""
    found = deepcopy(segment)
    for block in found.modules():
        if isinstance(block, BasicBlock):
            size = block.conv1.weight.flatten(1).norm(dim=1)
            dropped = size.argsort()[: int(dropped_ratio * len(size))]
            for parameter in (block.conv1.weight, block.bn1.weight, block.bn1.bias):
                parameter.data[dropped] = 0
        elif isinstance(block, nn.Linear):
            size = block.weight.norm(dim=0)
            block.weight.data[:, size.argsort()[: int(dropped_ratio * len(size))]] = 0
    return found


def low_rank(segment: nn.Module) -> nn.Module:
    """Keep the largest half of each weight's singular values."""
    found = deepcopy(segment)
    for _name, layer in layers(found):
        weight = layer.weight.data
        u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
        s[(len(s) + 1) // 2 :] = 0
        layer.weight.data = ((u * s) @ v).reshape(weight.shape)
    return found


class Stem(nn.Module):
    """The first convolution with its norm, and the first block."""

    def __init__(self, network: SmallResNet) -> None:
        super().__init__()
        self.conv, self.norm, self.block = network.conv1, network.bn1, network.layer1[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.block(torch.relu(self.norm(self.conv(x))))


class Head(nn.Module):
    """Pooling and the dense layer."""

    def __init__(self, network: SmallResNet) -> None:
        super().__init__()
        self.fc = network.fc

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean(dim=(2, 3)))


@dataclass(frozen=True)
class Cut:
    """The cells of each segment, and what each of them costs."""

    choices: Choices
    cells: tuple[tuple[nn.Module, ...], ...]
    costs: tuple[np.ndarray, ...]


def cut(network: SmallResNet, calibration: Tensor) -> Cut:
    """Cut between blocks, and make every cell of every segment."""
    middle = (network.layer1[1], network.layer2[0], network.layer2[1], network.layer3[0])
    segments = (Stem(network), *middle, Head(network))
    kinds, cells, costs, x = [], [], [], calibration
    for segment in segments:
        made = {
            "dense": segment,
            "int8": int8(segment, x),
            "pruned-quarter": pruned(segment, 0.25),
            "pruned-half": pruned(segment, 0.5),
            "low-rank": low_rank(segment),
        }
        dense = segment(x)
        if dense.shape == x.shape:
            made["left-out"] = nn.Identity()
        weights_count = sum(layer.weight.numel() for _, layer in layers(segment))
        macs_count = weights_count * (dense.shape[-1] ** 2 if dense.dim() == 4 else 1)
        kinds.append(tuple(made))
        cells.append(tuple(made.values()))
        costs.append(macs_count * np.array([RELATIVE_COST[kind] for kind in made]))
        x = dense
    return Cut(choices=Choices(kinds=tuple(kinds)), cells=tuple(cells), costs=tuple(costs))


def accuracies(held: Cut, x: Tensor, labels: Tensor) -> Metrics:
    """Measure every combination; what combinations begin with alike is run once."""

    def walk(x: Tensor, begun: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], float]]:
        if len(begun) == len(held.cells):
            yield begun, (x.argmax(1) == labels).float().mean().item()
            return
        for number, cell in enumerate(held.cells[len(begun)]):
            yield from walk(cell(x), (*begun, number))

    return dict(walk(x, ()))
