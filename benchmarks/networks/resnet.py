"""ResNets (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1, 4.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from adaspring.cli.demo.network import Block


class Bottleneck(nn.Module):
    """1×1 down, 3×3, 1×1 up to four times the width, and a shortcut (figure 5)."""

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        c_out = 4 * width
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.shortcut = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class _ImageNetResNet(nn.Module):
    """A 7×7 stem, pooling, four stages of blocks, and a classifier of 1,000 classes."""

    example_shape = (1, 3, 224, 224)
    block: type[Block | Bottleneck]
    expansion: int
    counts: tuple[int, ...]

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        blocks: list[nn.Module] = []
        c_in = 64
        for stage, (width, count) in enumerate(zip((64, 128, 256, 512), self.counts, strict=True)):
            for index in range(count):
                blocks.append(self.block(c_in, width, 2 if stage and not index else 1))
                c_in = width * self.expansion
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(c_in, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.blocks(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class ResNet18(_ImageNetResNet):
    """224×224 colour images; 1.8 G multiply-adds."""

    block, expansion, counts = Block, 1, (2, 2, 2, 2)


class ResNet50(_ImageNetResNet):
    """224×224 colour images; 4.1 G multiply-adds."""

    block, expansion, counts = Bottleneck, 4, (3, 4, 6, 3)


class ResNet8(nn.Module):
    """Image classification of MLPerf Tiny (Banbury et al., NeurIPS 2021): 32×32, ten classes."""

    example_shape = (1, 3, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
