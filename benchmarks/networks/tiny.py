"""The other networks of MLPerf Tiny (Banbury et al., NeurIPS 2021, datasets and benchmarks)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from .layers import convolution


def _separable(c_in: int, c_out: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise 3×3 and a pointwise convolution (Howard et al., "MobileNets", 2017, 3.1)."""
    return [
        *convolution(c_in, c_in, 3, stride, groups=c_in),
        nn.ReLU(),
        *convolution(c_in, c_out, 1),
        nn.ReLU(),
    ]


class MobileNetV1(nn.Module):
    """Visual wake words: MobileNetV1 of a quarter of the width, 96×96, two classes."""

    example_shape = (1, 3, 96, 96)

    # channels of each separable block at full width, and its stride
    blocks = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        c_in = 32 // 4
        layers = [*convolution(3, c_in, 3, 2), nn.ReLU()]
        for channels, stride in self.blocks:
            layers += _separable(c_in, channels // 4, stride)
            c_in = channels // 4
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(c_in, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class DsCnn(nn.Module):
    """Keyword spotting: 49 frames of 10 coefficients, twelve words."""

    example_shape = (1, 1, 49, 10)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, 64, (10, 4), 2, (5, 1), bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        ]
        for _ in range(4):
            layers += _separable(64, 64)
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class Autoencoder(nn.Module):
    """Anomaly detection: five frames of 128 mel bands through a bottleneck of eight."""

    example_shape = (1, 640)

    def __init__(self) -> None:
        super().__init__()
        widths = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)
        layers: list[nn.Module] = []
        for c_in, c_out in pairwise(widths):
            layers += [nn.Linear(c_in, c_out), nn.BatchNorm1d(c_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(128, 640))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
