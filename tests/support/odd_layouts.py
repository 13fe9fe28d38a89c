"""What stands between two convolutions and minds how its input lies in memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .odd_networks import conv, network


def _shuffled(m, x):
    x = m.a(x)
    n, c, h, w = x.shape
    x = x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
    return m.b(x)


def _squeezed(m, x):
    x = torch.relu(m.a(x))
    scale = torch.sigmoid(m.up(torch.relu(m.down(x.mean(dim=(2, 3), keepdim=True)))))
    return m.b(x * scale)


def _dense_squeezed(m, x):
    x = torch.relu(m.a(x))
    scale = torch.sigmoid(m.fc(F.adaptive_avg_pool2d(x, 1).flatten(1)))
    return m.b(x * scale[:, :, None, None])


def _normed(m, x):
    x = m.a(x).permute(0, 2, 3, 1)
    return m.b(m.norm(x).permute(0, 3, 1, 2))


def _split(m, x):
    a, b = m.a(x).chunk(2, dim=1)
    return m.b(torch.cat([torch.relu(a), b, a * b], dim=1))


def _odd_functions(m, x):
    x = m.a(x)
    whole = torch.sinh(torch.tan(x * 0.1)) + torch.trunc(x) + torch.sign(x) + torch.atan(x)
    rest = torch.remainder(x, 0.7) + torch.fmod(x, 0.3) + torch.floor_divide(x, 0.9)
    chosen = torch.where((x > 0) & ~torch.isnan(x) | (x < -1), whole, rest)
    return m.b(torch.maximum(chosen, x.var((2, 3), keepdim=True)) + torch.atan2(x, chosen))


NETWORKS = (
    network("OddFunctions", _odd_functions, a=conv(3, 6), b=conv(6, 4)),
    network(
        "ChannelSoftmax",
        lambda m, x: m.b(torch.softmax(m.a(x), dim=1)),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network(
        "WidthSoftmax",
        lambda m, x: m.b(torch.softmax(m.a(x), dim=-1)),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network("NormOverChannels", _normed, a=conv(3, 6), norm=lambda: nn.LayerNorm(6), b=conv(6, 4)),
    network(
        "NormOverImage",
        lambda m, x: m.b(m.norm(m.a(x))),
        a=conv(3, 6),
        norm=lambda: nn.LayerNorm((6, 7, 5)),
        b=conv(6, 4),
    ),
    network(
        "GroupNorm",
        lambda m, x: m.b(m.norm(m.a(x))),
        a=conv(3, 6),
        norm=lambda: nn.GroupNorm(2, 6),
        b=conv(6, 4),
    ),
    network(
        "InstanceNorm",
        lambda m, x: m.b(m.norm(m.a(x))),
        a=conv(3, 6),
        norm=lambda: nn.InstanceNorm2d(6, affine=True),
        b=conv(6, 4),
    ),
    network("ChannelShuffle", _shuffled, a=conv(3, 6), b=conv(6, 4)),
    network(
        "PixelShuffle", lambda m, x: m.b(F.pixel_shuffle(m.a(x), 2)), a=conv(3, 8), b=conv(2, 4)
    ),
    network(
        "PixelUnshuffle",
        lambda m, x: m.b(F.pixel_unshuffle(m.a(x), 2)),
        ((1, 3, 8, 10),),
        a=conv(3, 4),
        b=conv(16, 4, 1),
    ),
    network(
        "Sliced", lambda m, x: m.b(m.a(x)[:, 1:5, ::2, 1:-1]), a=conv(3, 6), b=conv(4, 4, (2, 3))
    ),
    network(
        "Padded",
        lambda m, x: m.b(F.pad(m.a(x), (1, 2, 0, 3), value=0.5)),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network(
        "Reflected",
        lambda m, x: m.b(F.pad(m.a(x), (1, 2, 2, 1), mode="reflect")),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network(
        "Upsampled",
        lambda m, x: m.b(F.interpolate(m.a(x), scale_factor=2, mode="nearest")),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network(
        "Bilinear",
        lambda m, x: m.b(F.interpolate(m.a(x), size=(11, 9), mode="bilinear")),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network("SplitConcat", _split, a=conv(3, 6), b=conv(9, 4)),
    network(
        "ConcatOverWidth",
        lambda m, x: m.b(torch.cat([m.a(x), m.a2(x)], dim=3)),
        a=conv(3, 6),
        a2=conv(3, 6),
        b=conv(6, 4),
    ),
    network(
        "ConcatOfInput",
        lambda m, x: m.b(torch.cat([m.a(x), x], dim=1)),
        a=conv(3, 6, padding=1),
        b=conv(9, 4),
    ),
    network("Stacked", lambda m, x: torch.stack([m.a(x), torch.relu(m.a(x))], dim=2), a=conv(3, 6)),
    network(
        "SqueezeExcite",
        _squeezed,
        a=conv(3, 6),
        down=conv(6, 2, 1),
        up=conv(2, 6, 1),
        b=conv(6, 4),
    ),
    network(
        "DenseSqueezeExcite",
        _dense_squeezed,
        a=conv(3, 6),
        fc=lambda: nn.Linear(6, 6),
        b=conv(6, 4),
    ),
    network(
        "ScalarOnTheLeft",
        lambda m, x: m.b(1.5 - m.a(x) * 2.0) / 3.0 + 2.0 / (m.a(x).abs() + 1.0).sum(),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network(
        "WeightOnTheLeft",
        lambda m, x: m.b(m.s - m.t / (m.a(x).abs() + 1)),
        a=conv(3, 6),
        b=conv(6, 4),
        s=lambda: torch.randn(6, 1, 1),
        t=lambda: torch.randn(7, 5),
    ),
    network(
        "WidthBias",
        lambda m, x: m.b(m.a(x) + m.t) * m.u,
        a=conv(3, 6),
        b=conv(6, 4),
        t=lambda: torch.randn(5),
        u=lambda: torch.randn(1, 1, 5, 1),
    ),
    network(
        "FullBias",
        lambda m, x: m.b(m.a(x) + m.t),
        a=conv(3, 6),
        b=conv(6, 4),
        t=lambda: torch.randn(1, 6, 7, 5),
    ),
    network(
        "WiderBias", lambda m, x: m.a(x) + m.t, a=conv(3, 6), t=lambda: torch.randn(2, 6, 7, 5)
    ),
    network(
        "BatchOfWeights",
        lambda m, x: m.a(x) + m.t,
        a=conv(3, 6),
        t=lambda: torch.randn(2, 1, 6, 7, 5),
    ),
    network(
        "LowerRankPartner",
        lambda m, x, y: m.b(m.a(x) * y),
        ((1, 3, 9, 7), (7, 5)),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network(
        "ConstantPartner",
        lambda m, x: m.b(m.a(x) + torch.arange(6.0).reshape(1, 6, 1, 1)),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network(
        "Reductions",
        lambda m, x: (
            m.a(x).sum(1),
            m.a(x).amax((1, 3), keepdim=True),
            m.a(x).mean(-1),
            m.a(x).mean(),
        ),
        a=conv(3, 6),
    ),
    network(
        "MeanOverChannels",
        lambda m, x: m.b(m.a(x) - m.a(x).mean(1, keepdim=True)),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network("ArgMax", lambda m, x: m.a(x).argmax(1), a=conv(3, 6)),
    network(
        "PRelu", lambda m, x: m.b(m.p(m.a(x))), a=conv(3, 6), b=conv(6, 4), p=lambda: nn.PReLU(6)
    ),
    network(
        "Activations",
        lambda m, x: m.b(
            F.hardswish(m.a(x))
            + F.hardsigmoid(m.a(x))
            + F.silu(m.a(x))
            + F.elu(m.a(x))
            + F.mish(m.a(x))
            + F.leaky_relu(m.a(x), 0.2)
        ),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network(
        "Where",
        lambda m, x: m.b(torch.where(m.a(x) > 0, m.a(x), m.a(x) * 0.1)),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network("Normalised", lambda m, x: F.normalize(m.a(x), dim=1), a=conv(3, 6)),
    network("Squared", lambda m, x: m.b(m.a(x) ** 2) ** 3, a=conv(3, 6), b=conv(6, 4)),
    network(
        "Broadcast",
        lambda m, x: m.b(m.a(x).mean((2, 3), keepdim=True).expand(1, 6, 5, 4)),
        a=conv(3, 6),
        b=conv(6, 4),
    ),
    network("Transposes", lambda m, x: m.b(m.a(x).transpose(2, 3)), a=conv(3, 6), b=conv(6, 4)),
    network("Gathered", lambda m, x: m.b(m.a(x)[:, [2, 0, 1, 5]]), a=conv(3, 6), b=conv(4, 4)),
    network("CumulativeSum", lambda m, x: m.b(m.a(x).cumsum(2)), a=conv(3, 6), b=conv(6, 4)),
    network("Clamped", lambda m, x: m.b(m.a(x).clamp(-0.5, 0.7)), a=conv(3, 6), b=conv(6, 4)),
)
