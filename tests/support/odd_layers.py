"""Layers that are easily lowered wrongly: odd convolutions, products, shared and bare weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .odd_networks import conv, network


def _attended(m, x):
    x = m.a(x)
    tokens = x.flatten(2).transpose(1, 2)
    tokens = tokens + torch.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens
    return m.b(tokens.transpose(1, 2).reshape(x.shape))


def _two_layouts(m, x):
    y = m.a(x)
    return y, y.mean(dim=(2, 3)), y.flatten(1), x


NETWORKS = (
    network("VectorTimesMatrix", lambda m, x: m.a(x), ((6,),), a=lambda: nn.Linear(6, 5)),
    network("ScalarWeight", lambda m, x: m.a(x) * m.s, a=conv(3, 6), s=lambda: torch.tensor(2.5)),
    network(
        "Batch",
        lambda m, x: m.b(torch.relu(m.a(x))),
        ((3, 3, 9, 7),),
        a=conv(3, 5),
        b=conv(5, 17),
    ),
    network(
        "Conv1d",
        lambda m, x: m.b(torch.relu(m.a(x))),
        ((2, 4, 15),),
        a=lambda: nn.Conv1d(4, 6, 3, 2, 1),
        b=lambda: nn.Conv1d(6, 5, 1),
    ),
    network(
        "Conv3d",
        lambda m, x: torch.relu(m.a(x)),
        ((1, 2, 5, 6, 7),),
        a=lambda: nn.Conv3d(2, 4, 3, padding=1),
    ),
    network(
        "Transposed",
        lambda m, x: m.c(torch.relu(m.b(m.a(x)))),
        a=conv(3, 6),
        b=lambda: nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1),
        c=conv(4, 5),
    ),
    network(
        "Grouped",
        lambda m, x: m.b(torch.relu(m.a(x))),
        ((2, 4, 9, 7),),
        a=conv(4, 8, padding=1, groups=2),
        b=conv(8, 16, groups=4),
    ),
    network(
        "DepthMultiplier",
        lambda m, x: m.b(torch.relu(m.a(x))),
        a=conv(3, 6, groups=3),
        b=conv(6, 4),
    ),
    network(
        "OneChannelDepthwise",
        lambda m, x: m.b(m.a(x)),
        ((1, 1, 9, 7),),
        a=conv(1, 1, groups=1),
        b=conv(1, 8),
    ),
    network(
        "SamePadding",
        lambda m, x: m.b(m.a(x)),
        a=conv(3, 6, 2, padding="same"),
        b=conv(6, 4, (4, 3), padding="same"),
    ),
    network("InputIsOutput", lambda m, x: (x, m.a(x)), a=conv(3, 6)),
    network(
        "WeightIsOutput", lambda m, x: (m.a(x), m.t), a=conv(3, 6), t=lambda: torch.randn(2, 3)
    ),
    network("ConvWeightIsOutput", lambda m, x: (m.a(x), m.a.weight), a=conv(3, 6)),
    network("SeveralLayouts", _two_layouts, a=conv(3, 6)),
    network(
        "SharedConvolution",
        lambda m, x: m.a(torch.relu(m.a(x))),
        ((1, 6, 9, 7),),
        a=conv(6, 6, padding=1),
    ),
    network(
        "SharedDense", lambda m, x: m.a(torch.relu(m.a(x))), ((2, 6),), a=lambda: nn.Linear(6, 6)
    ),
    network(
        "TiedDense",
        lambda m, x: torch.relu(m.a(x)) @ m.a.weight,
        ((2, 6),),
        a=lambda: nn.Linear(6, 9),
    ),
    network(
        "SharedAcrossKinds",
        lambda m, x: m.a(x).mean(dim=(2, 3)) @ m.a.weight[:, :, 0, 0],
        a=conv(3, 6, 1),
    ),
    network("Attention", _attended, a=conv(3, 6, padding=1), b=conv(6, 4)),
    network(
        "Dense3d",
        lambda m, x: m.b(torch.relu(m.a(x))),
        ((2, 5, 7),),
        a=lambda: nn.Linear(7, 33),
        b=lambda: nn.Linear(33, 1),
    ),
    network("Dense4d", lambda m, x: m.b(m.a(x)), a=conv(3, 6), b=lambda: nn.Linear(5, 9)),
    network(
        "DenseOverChannels",
        lambda m, x: m.b(m.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        a=conv(3, 6),
        b=lambda: nn.Linear(6, 9),
    ),
    network("WeightTimesInput", lambda m, x: m.w @ x, ((2, 6, 5),), w=lambda: torch.randn(3, 6)),
    network("BatchedWeight", lambda m, x: x @ m.w, ((2, 4, 6),), w=lambda: torch.randn(2, 6, 5)),
    network("BroadcastProduct", lambda m, x, y: x @ y, ((2, 3, 4, 6), (3, 6, 5))),
    network("VectorProduct", lambda m, x: x @ m.w, ((4, 6),), w=lambda: torch.randn(6)),
    network(
        "Pools",
        lambda m, x: m.b(F.avg_pool2d(F.max_pool2d(m.a(x), 3, 2, 1), (2, 1), 1, (1, 0))),
        a=conv(3, 6),
        b=conv(6, 4, 2),
    ),
    network(
        "PoolsOfInput",
        lambda m, x: (
            m.b(F.max_pool2d(x, 2, 2, ceil_mode=True))
            + F.adaptive_avg_pool2d(m.a(x), (6, 3))[:, :4]
        ),
        a=conv(3, 6),
        b=conv(3, 4, 2, padding=(1, 0)),
    ),
    network(
        "Flattened",
        lambda m, x: m.fc(m.a(x).flatten(1)),
        ((2, 3, 9, 7),),
        a=conv(3, 6),
        fc=lambda: nn.Linear(210, 4),
    ),
    network(
        "PartlyFlattened",
        lambda m, x: m.fc(m.a(x).flatten(2)),
        a=conv(3, 6),
        fc=lambda: nn.Linear(35, 4),
    ),
    network(
        "UnitImage",
        lambda m, x: m.fc(torch.relu(m.a(x)).flatten(1)),
        ((2, 3, 3, 3),),
        a=conv(3, 6),
        fc=lambda: nn.Linear(6, 4),
    ),
    network(
        "UnitWidth",
        lambda m, x: m.b(m.a(x)).flatten(1),
        ((1, 3, 9, 1),),
        a=conv(3, 6, (3, 1)),
        b=conv(6, 1, 1),
    ),
    network("NoWeights", lambda m, x: torch.relu(x) + x.mean()),
    network("Identity", lambda m, x: x.reshape(1, -1)),
    network(
        "LargeStride",
        lambda m, x: m.b(m.a(x)),
        ((1, 3, 16, 16),),
        a=conv(3, 20, 4, stride=4),
        b=conv(20, 4, 2, stride=3),
    ),
    network("WideKernel", lambda m, x: m.a(x), a=conv(3, 6, 7, padding=5, dilation=1)),
    network(
        "Einsum",
        lambda m, x: torch.einsum("nchw,cd->ndhw", m.a(x), m.w),
        a=conv(3, 6),
        w=lambda: torch.randn(6, 5),
    ),
)
