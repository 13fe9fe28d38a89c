"""ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1)."""

from __future__ import annotations

from adaspring.cli.demo.network import Block
from torch import Tensor, nn
from torch.nn import functional as F


class ResNet18(nn.Module):
    """1,000 classes of 224×224 colour images; 1.8 G multiply-adds."""

    example_shape = (1, 3, 224, 224)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = (64, 128, 256, 512)
        blocks = []
        c_in = 64
        for stage, width in enumerate(widths):
            blocks += [Block(c_in, width, 2 if stage else 1), Block(width, width, 1)]
            c_in = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.blocks(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
