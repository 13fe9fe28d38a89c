"""Networks to measure on, in plain torch with seeded weights."""

from __future__ import annotations

import torch
from torch import nn

from .mobilenet import MobileNetV2
from .resnet import ResNet18

__all__ = ["MobileNetV2", "ResNet18", "seeded"]


def seeded(network: type[nn.Module], seed: int = 0) -> nn.Module:
    """The network with seeded weights and batch-norm statistics, ready to infer."""
    torch.manual_seed(seed)
    made = network()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.1, 0.1)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return made.eval()
