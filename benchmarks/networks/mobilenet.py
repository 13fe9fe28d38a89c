"""MobileNetV2 (Sandler et al., "Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2)."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import convolution


class InvertedResidual(nn.Module):
    """Expand by 1×1, filter by depthwise 3×3, project by a linear 1×1."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        layers = [] if expansion == 1 else [*convolution(c_in, hidden, 1), nn.ReLU6()]
        layers += [*convolution(hidden, hidden, 3, stride, hidden), nn.ReLU6()]
        layers += convolution(hidden, c_out, 1)
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class MobileNetV2(nn.Module):
    """1,000 classes of 224×224 colour images; 0.3 G multiply-adds."""

    example_shape = (1, 3, 224, 224)

    # expansion, channels, blocks, stride of the first
    stages = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*convolution(3, 32, 3, 2), nn.ReLU6()]
        c_in = 32
        for expansion, channels, count, stride in self.stages:
            for index in range(count):
                step = stride if index == 0 else 1
                layers.append(InvertedResidual(c_in, channels, step, expansion))
                c_in = channels
        layers += [*convolution(c_in, 1280, 1), nn.ReLU6()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))
