"""Layers that several networks are made of."""

from __future__ import annotations

from torch import nn


def convolution(
    c_in: int, c_out: int, size: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution that keeps the image's size but for its stride, and batch norm."""
    return [
        nn.Conv2d(c_in, c_out, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
    ]
