"""Small plain-torch networks that the tests share.

Each is deterministic from its seed, in eval mode, and has random batch-norm statistics, so that
folding them wrongly shows. `example_inputs(network)` gives inputs of the right shapes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Network(nn.Module):
    """Seeds the layers that a subclass makes, then randomises batch-norm statistics."""

    input_shapes: tuple[tuple[int, ...], ...] = ((1, 3, 32, 32),)

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.build()
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    _randomise(layer)
        self.eval()

    def build(self) -> None:
        raise NotImplementedError


class Fn(nn.Module):
    """A function of the module and its inputs, as a network."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def _randomise(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    with torch.no_grad():
        norm.running_mean.normal_(0.0, 0.3)
        norm.running_var.uniform_(0.5, 2.0)
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(0.0, 0.3)


class SmallCnn(Network):
    """Convolutions with batch norm, max pooling and a dense head."""

    def build(self) -> None:
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc1 = nn.Linear(32 * 8 * 8, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(torch.relu(self.bn2(self.conv2(x))), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut, which is 1×1 where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class SmallResNet(Network):
    """A stem and three stages, the later two at stride 2 with 1×1 downsampling."""

    def build(self) -> None:
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(BasicBlock(16, 16, 1), BasicBlock(16, 16, 1))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32, 1))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def _conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
    )


class InvertedResidual(nn.Module):
    """Expand 1×1, depthwise 3×3, project 1×1; a shortcut where the shape stays."""

    def __init__(self, c_in: int, c_out: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = c_in * expand
        self.shortcut = stride == 1 and c_in == c_out
        self.expand = _conv_bn(c_in, hidden, 1)
        self.depthwise = _conv_bn(hidden, hidden, 3, stride, groups=hidden)
        self.project = _conv_bn(hidden, c_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.shortcut else y


class MobileNetStyle(Network):
    """Inverted residuals with depthwise convolutions, ReLU6 and batch norm."""

    def build(self) -> None:
        self.stem = _conv_bn(3, 16, 3, stride=2)
        self.blocks = nn.Sequential(
            InvertedResidual(16, 16, 1, 2),
            InvertedResidual(16, 24, 2, 3),
            InvertedResidual(24, 24, 1, 3),
        )
        self.head = _conv_bn(24, 64, 1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(F.relu6(self.stem(x)))
        x = F.relu6(self.head(x))
        return self.classifier(x.mean(dim=(2, 3)))


class Mlp(Network):
    """Three dense layers, batch norm after the first."""

    input_shapes = ((1, 64),)

    def build(self) -> None:
        self.fc1 = nn.Linear(64, 128)
        self.bn1 = nn.BatchNorm1d(128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.fc1(x)))
        return self.fc3(torch.relu(self.fc2(x)))


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and a GELU feed-forward layer."""

    def __init__(self, width: int, heads: int, explicit: bool) -> None:
        super().__init__()
        self.heads, self.explicit = heads, explicit
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape

        def split(t: torch.Tensor) -> torch.Tensor:
            return t.reshape(n, length, self.heads, width // self.heads).transpose(1, 2)

        q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
        if self.explicit:
            scores = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
            y = torch.softmax(scores, dim=-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(n, length, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class TinyEncoder(Network):
    """A two-block transformer encoder: learned positions, mean pooling, a dense head."""

    input_shapes = ((1, 16, 32),)

    def __init__(self, seed: int = 0, explicit: bool = False) -> None:
        self._explicit = explicit
        super().__init__(seed)

    def build(self) -> None:
        self.embed = nn.Linear(32, 48)
        self.position = nn.Parameter(0.1 * torch.randn(1, 16, 48))
        self.blocks = nn.Sequential(*(EncoderBlock(48, 4, self._explicit) for _ in range(2)))
        self.norm = nn.LayerNorm(48)
        self.head = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.embed(x) + self.position)
        return self.head(self.norm(x).mean(dim=1))


class TwoInputs(Network):
    """An image and a vector in; class scores and an embedding out."""

    input_shapes = ((1, 3, 16, 16), (1, 8))

    def build(self) -> None:
        self.conv = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.side = nn.Linear(8, 8)
        self.embed = nn.Linear(16, 12)
        self.head = nn.Linear(12, 5)

    def forward(
        self, image: torch.Tensor, features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        a = torch.relu(self.bn(self.conv(image))).mean(dim=(2, 3))
        embedding = torch.tanh(self.embed(torch.cat([a, torch.relu(self.side(features))], dim=1)))
        return self.head(embedding), embedding


ALL = (SmallCnn, SmallResNet, MobileNetStyle, Mlp, TinyEncoder, TwoInputs)


def example_inputs(network: Network, seed: int = 1) -> tuple[torch.Tensor, ...]:
    """Normal random inputs of the network's shapes."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator) for shape in network.input_shapes)
