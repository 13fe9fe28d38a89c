"""EfficientNet-B0 (Tan and Le, "EfficientNet: Rethinking Model Scaling", ICML 2019, table 1)."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import convolution


class SqueezeExcite(nn.Module):
    """Scales each channel by what all channels' means say (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1), nn.SiLU(), nn.Conv2d(squeezed, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()


class MBConv(nn.Module):
    """Expand, filter depthwise, squeeze and excite, project."""

    def __init__(self, c_in: int, c_out: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        layers = [] if expansion == 1 else [*convolution(c_in, hidden, 1), nn.SiLU()]
        layers += [*convolution(hidden, hidden, size, stride, hidden), nn.SiLU()]
        layers += [SqueezeExcite(hidden, c_in // 4), *convolution(hidden, c_out, 1)]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class EfficientNetB0(nn.Module):
    """1,000 classes of 224×224 colour images; 0.39 G multiply-adds."""

    example_shape = (1, 3, 224, 224)

    # expansion, channels, blocks, stride of the first, kernel size
    stages = (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*convolution(3, 32, 3, 2), nn.SiLU()]
        c_in = 32
        for expansion, channels, count, stride, size in self.stages:
            for index in range(count):
                layers.append(MBConv(c_in, channels, size, 1 if index else stride, expansion))
                c_in = channels
        layers += [*convolution(c_in, 1280, 1), nn.SiLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))
