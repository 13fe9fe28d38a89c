"""Networks to measure on, in plain torch with seeded weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.model import Model
from adaspring.passes import Quantize, run

from .bert import BertMini
from .efficientnet import EfficientNetB0
from .mobilenet import MobileNetV2
from .resnet import ResNet8, ResNet18, ResNet50
from .tiny import Autoencoder, DsCnn, MobileNetV1

__all__ = ["NETWORKS", "MobileNetV2", "ResNet18", "models", "random_data", "seeded"]

NETWORKS: tuple[type[nn.Module], ...] = (
    ResNet18,
    ResNet50,
    MobileNetV2,
    EfficientNetB0,
    BertMini,
    MobileNetV1,
    DsCnn,
    ResNet8,
    Autoencoder,
)


def asked_networks(names: Sequence[str] | None, quick: bool) -> tuple[type[nn.Module], ...]:
    """Those of these names, or all; the four smallest where it shall be quick."""
    if names:
        return tuple(kind for kind in NETWORKS if kind.__name__ in names)
    return NETWORKS[-4:] if quick else NETWORKS


def seeded(network: type[nn.Module], seed: int = 0) -> nn.Module:
    """The network with seeded weights and batch-norm statistics, ready to infer."""
    torch.manual_seed(seed)
    made = network()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.1, 0.1)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return made.eval()


def models(kind: type[nn.Module]) -> tuple[Model, Model]:
    """The seeded network imported, in fp32 and in int8, calibrated on random inputs."""
    shape = kind.example_shape
    dense = from_torch(seeded(kind), (torch.zeros(shape),), name=kind.__name__)
    return dense, run(dense, (Quantize(),), random_data(shape)).model


def random_data(shape: tuple[int, ...], count: int = 16) -> Dataset:
    """Normal inputs of an example's shape (1, …), to calibrate where only speed is measured."""
    inputs = np.random.default_rng(0).standard_normal((count, *shape[1:])).astype(np.float32)
    return Dataset(inputs=(inputs,), targets=None)
