"""A small convolutional network for windows of an accelerometer."""

from __future__ import annotations

from torch import Tensor, nn


class ActivityNet(nn.Module):
    """Six activities from 128 samples of three axes; convolutions along time, as of height 1."""

    example_shape = (1, 3, 1, 128)

    # channels, kernel size, stride
    stages = ((32, 9, 1), (64, 5, 2), (64, 5, 1), (96, 5, 2), (96, 3, 1))

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for channels, size, stride in self.stages:
            layers += [
                nn.Conv2d(c_in, channels, (1, size), (1, stride), (0, size // 2), bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            c_in = channels
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(c_in, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))
