"""Networks that a lowering to channels last gets wrong easily; each a few layers of plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .networks import _Network


class _Odd(_Network):
    """Makes `self.layers` from the subclass's `parts`."""

    parts: dict[str, object]

    def build(self) -> None:
        for name, make in type(self).parts.items():
            value = make()  # type: ignore[operator]
            setattr(self, name, nn.Parameter(value) if isinstance(value, torch.Tensor) else value)


def _network(name, forward, shapes=((1, 3, 9, 7),), **parts) -> type[_Odd]:
    members = {"input_shapes": shapes, "parts": parts, "forward": lambda self, *x: forward(self, *x)}
    return type(name, (_Odd,), members)


def _conv(c_in, c_out, kernel=3, **options):
    return lambda: nn.Conv2d(c_in, c_out, kernel, **options)


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


def _attended(m, x):
    x = m.a(x)
    tokens = x.flatten(2).transpose(1, 2)
    tokens = tokens + torch.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens
    return m.b(tokens.transpose(1, 2).reshape(x.shape))


def _two_layouts(m, x):
    y = m.a(x)
    return y, y.mean(dim=(2, 3)), y.flatten(1), x


NETWORKS = (
    _network("Batch", lambda m, x: m.b(torch.relu(m.a(x))), ((3, 3, 9, 7),), a=_conv(3, 5), b=_conv(5, 17)),
    _network("Conv1d", lambda m, x: m.b(torch.relu(m.a(x))), ((2, 4, 15),),
             a=lambda: nn.Conv1d(4, 6, 3, 2, 1), b=lambda: nn.Conv1d(6, 5, 1)),
    _network("Conv3d", lambda m, x: torch.relu(m.a(x)), ((1, 2, 5, 6, 7),), a=lambda: nn.Conv3d(2, 4, 3, padding=1)),
    _network("Transposed", lambda m, x: m.c(torch.relu(m.b(m.a(x)))), a=_conv(3, 6),
             b=lambda: nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1), c=_conv(4, 5)),
    _network("Grouped", lambda m, x: m.b(torch.relu(m.a(x))), ((2, 4, 9, 7),), a=_conv(4, 8, padding=1, groups=2),
             b=_conv(8, 16, groups=4)),
    _network("DepthMultiplier", lambda m, x: m.b(torch.relu(m.a(x))), a=_conv(3, 6, groups=3), b=_conv(6, 4)),
    _network("OneChannelDepthwise", lambda m, x: m.b(m.a(x)), ((1, 1, 9, 7),), a=_conv(1, 1, groups=1), b=_conv(1, 8)),
    _network("ChannelSoftmax", lambda m, x: m.b(torch.softmax(m.a(x), dim=1)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("WidthSoftmax", lambda m, x: m.b(torch.softmax(m.a(x), dim=-1)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("NormOverChannels", _normed, a=_conv(3, 6), norm=lambda: nn.LayerNorm(6), b=_conv(6, 4)),
    _network("NormOverImage", lambda m, x: m.b(m.norm(m.a(x))), a=_conv(3, 6), norm=lambda: nn.LayerNorm((6, 7, 5)),
             b=_conv(6, 4)),
    _network("GroupNorm", lambda m, x: m.b(m.norm(m.a(x))), a=_conv(3, 6), norm=lambda: nn.GroupNorm(2, 6), b=_conv(6, 4)),
    _network("InstanceNorm", lambda m, x: m.b(m.norm(m.a(x))), a=_conv(3, 6), norm=lambda: nn.InstanceNorm2d(6, affine=True),
             b=_conv(6, 4)),
    _network("ChannelShuffle", _shuffled, a=_conv(3, 6), b=_conv(6, 4)),
    _network("PixelShuffle", lambda m, x: m.b(F.pixel_shuffle(m.a(x), 2)), a=_conv(3, 8), b=_conv(2, 4)),
    _network("PixelUnshuffle", lambda m, x: m.b(F.pixel_unshuffle(m.a(x), 2)), ((1, 3, 8, 10),), a=_conv(3, 4),
             b=_conv(16, 4, 1)),
    _network("Sliced", lambda m, x: m.b(m.a(x)[:, 1:5, ::2, 1:-1]), a=_conv(3, 6), b=_conv(4, 4, (2, 3))),
    _network("Padded", lambda m, x: m.b(F.pad(m.a(x), (1, 2, 0, 3), value=0.5)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("Reflected", lambda m, x: m.b(F.pad(m.a(x), (1, 2, 2, 1), mode="reflect")), a=_conv(3, 6), b=_conv(6, 4)),
    _network("SamePadding", lambda m, x: m.b(m.a(x)), a=_conv(3, 6, 2, padding="same"), b=_conv(6, 4, (4, 3), padding="same")),
    _network("Upsampled", lambda m, x: m.b(F.interpolate(m.a(x), scale_factor=2, mode="nearest")), a=_conv(3, 6), b=_conv(6, 4)),
    _network("Bilinear", lambda m, x: m.b(F.interpolate(m.a(x), size=(11, 9), mode="bilinear")), a=_conv(3, 6), b=_conv(6, 4)),
    _network("SplitConcat", _split, a=_conv(3, 6), b=_conv(9, 4)),
    _network("ConcatOverWidth", lambda m, x: m.b(torch.cat([m.a(x), m.a2(x)], dim=3)), a=_conv(3, 6), a2=_conv(3, 6), b=_conv(6, 4)),
    _network("ConcatOfInput", lambda m, x: m.b(torch.cat([m.a(x), x], dim=1)), a=_conv(3, 6, padding=1), b=_conv(9, 4)),
    _network("Stacked", lambda m, x: torch.stack([m.a(x), torch.relu(m.a(x))], dim=2), a=_conv(3, 6)),
    _network("SqueezeExcite", _squeezed, a=_conv(3, 6), down=_conv(6, 2, 1), up=_conv(2, 6, 1), b=_conv(6, 4)),
    _network("DenseSqueezeExcite", _dense_squeezed, a=_conv(3, 6), fc=lambda: nn.Linear(6, 6), b=_conv(6, 4)),
    _network("ScalarOnTheLeft", lambda m, x: m.b(1.5 - m.a(x) * 2.0) / 3.0 + 2.0 / (m.a(x).abs() + 1.0).sum(), a=_conv(3, 6), b=_conv(6, 4)),
    _network("WeightOnTheLeft", lambda m, x: m.b(m.s - m.t / (m.a(x).abs() + 1)), a=_conv(3, 6), b=_conv(6, 4),
             s=lambda: torch.randn(6, 1, 1), t=lambda: torch.randn(7, 5)),
    _network("WidthBias", lambda m, x: m.b(m.a(x) + m.t) * m.u, a=_conv(3, 6), b=_conv(6, 4),
             t=lambda: torch.randn(5), u=lambda: torch.randn(1, 1, 5, 1)),
    _network("FullBias", lambda m, x: m.b(m.a(x) + m.t), a=_conv(3, 6), b=_conv(6, 4), t=lambda: torch.randn(1, 6, 7, 5)),
    _network("WiderBias", lambda m, x: m.a(x) + m.t, a=_conv(3, 6), t=lambda: torch.randn(2, 6, 7, 5)),
    _network("BatchOfWeights", lambda m, x: m.a(x) + m.t, a=_conv(3, 6), t=lambda: torch.randn(2, 1, 6, 7, 5)),
    _network("LowerRankPartner", lambda m, x, y: m.b(m.a(x) * y), ((1, 3, 9, 7), (7, 5)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("InputIsOutput", lambda m, x: (x, m.a(x)), a=_conv(3, 6)),
    _network("WeightIsOutput", lambda m, x: (m.a(x), m.t), a=_conv(3, 6), t=lambda: torch.randn(2, 3)),
    _network("ConvWeightIsOutput", lambda m, x: (m.a(x), m.a.weight), a=_conv(3, 6)),
    _network("SeveralLayouts", _two_layouts, a=_conv(3, 6)),
    _network("SharedConvolution", lambda m, x: m.a(torch.relu(m.a(x))), ((1, 6, 9, 7),), a=_conv(6, 6, padding=1)),
    _network("SharedDense", lambda m, x: m.a(torch.relu(m.a(x))), ((2, 6),), a=lambda: nn.Linear(6, 6)),
    _network("TiedDense", lambda m, x: torch.relu(m.a(x)) @ m.a.weight, ((2, 6),), a=lambda: nn.Linear(6, 9)),
    _network("SharedAcrossKinds", lambda m, x: m.a(x).mean(dim=(2, 3)) @ m.a.weight[:, :, 0, 0], a=_conv(3, 6, 1)),
    _network("ConstantPartner", lambda m, x: m.b(m.a(x) + torch.arange(6.0).reshape(1, 6, 1, 1)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("Attention", _attended, a=_conv(3, 6, padding=1), b=_conv(6, 4)),
    _network("Dense3d", lambda m, x: m.b(torch.relu(m.a(x))), ((2, 5, 7),), a=lambda: nn.Linear(7, 33), b=lambda: nn.Linear(33, 1)),
    _network("Dense4d", lambda m, x: m.b(m.a(x)), a=_conv(3, 6), b=lambda: nn.Linear(5, 9)),
    _network("DenseOverChannels", lambda m, x: m.b(m.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), a=_conv(3, 6), b=lambda: nn.Linear(6, 9)),
    _network("WeightTimesInput", lambda m, x: m.w @ x, ((2, 6, 5),), w=lambda: torch.randn(3, 6)),
    _network("BatchedWeight", lambda m, x: x @ m.w, ((2, 4, 6),), w=lambda: torch.randn(2, 6, 5)),
    _network("BroadcastProduct", lambda m, x, y: x @ y, ((2, 3, 4, 6), (3, 6, 5))),
    _network("VectorProduct", lambda m, x: x @ m.w, ((4, 6),), w=lambda: torch.randn(6)),
    _network("Reductions", lambda m, x: (m.a(x).sum(1), m.a(x).amax((1, 3), keepdim=True), m.a(x).mean(-1), m.a(x).mean()), a=_conv(3, 6)),
    _network("MeanOverChannels", lambda m, x: m.b(m.a(x) - m.a(x).mean(1, keepdim=True)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("ArgMax", lambda m, x: m.a(x).argmax(1), a=_conv(3, 6)),
    _network("Pools", lambda m, x: m.b(F.avg_pool2d(F.max_pool2d(m.a(x), 3, 2, 1), (2, 1), 1, (1, 0))), a=_conv(3, 6), b=_conv(6, 4, 2)),
    _network("PoolsOfInput", lambda m, x: m.b(F.max_pool2d(x, 2, ceil_mode=True)) + F.adaptive_avg_pool2d(m.a(x), (4, 3))[:, :4], a=_conv(3, 6), b=_conv(3, 4, 2, padding=(1, 0))),
    _network("PRelu", lambda m, x: m.b(m.p(m.a(x))), a=_conv(3, 6), b=_conv(6, 4), p=lambda: nn.PReLU(6)),
    _network("Activations", lambda m, x: m.b(F.hardswish(m.a(x)) + F.hardsigmoid(m.a(x)) + F.silu(m.a(x)) + F.elu(m.a(x)) + F.mish(m.a(x)) + F.leaky_relu(m.a(x), 0.2)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("Flattened", lambda m, x: m.fc(m.a(x).flatten(1)), ((2, 3, 9, 7),), a=_conv(3, 6), fc=lambda: nn.Linear(210, 4)),
    _network("PartlyFlattened", lambda m, x: m.fc(m.a(x).flatten(2)), a=_conv(3, 6), fc=lambda: nn.Linear(35, 4)),
    _network("UnitImage", lambda m, x: m.fc(torch.relu(m.a(x)).flatten(1)), ((2, 3, 3, 3),), a=_conv(3, 6), fc=lambda: nn.Linear(6, 4)),
    _network("UnitWidth", lambda m, x: m.b(m.a(x)).flatten(1), ((1, 3, 9, 1),), a=_conv(3, 6, (3, 1)), b=_conv(6, 1, 1)),
    _network("Where", lambda m, x: m.b(torch.where(m.a(x) > 0, m.a(x), m.a(x) * 0.1)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("Normalised", lambda m, x: F.normalize(m.a(x), dim=1), a=_conv(3, 6)),
    _network("Squared", lambda m, x: m.b(m.a(x) ** 2) ** 3, a=_conv(3, 6), b=_conv(6, 4)),
    _network("NoWeights", lambda m, x: torch.relu(x) + x.mean()),
    _network("Identity", lambda m, x: x.reshape(1, -1)),
    _network("Broadcast", lambda m, x: m.b(m.a(x).mean((2, 3), keepdim=True).expand(1, 6, 5, 4)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("LargeStride", lambda m, x: m.b(m.a(x)), ((1, 3, 16, 16),), a=_conv(3, 20, 4, stride=4), b=_conv(20, 4, 2, stride=3)),
    _network("WideKernel", lambda m, x: m.a(x), a=_conv(3, 6, 7, padding=5, dilation=1)),
    _network("Transposes", lambda m, x: m.b(m.a(x).transpose(2, 3)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("Einsum", lambda m, x: torch.einsum("nchw,cd->ndhw", m.a(x), m.w), a=_conv(3, 6), w=lambda: torch.randn(6, 5)),
    _network("Gathered", lambda m, x: m.b(m.a(x)[:, [2, 0, 1, 5]]), a=_conv(3, 6), b=_conv(4, 4)),
    _network("CumulativeSum", lambda m, x: m.b(m.a(x).cumsum(2)), a=_conv(3, 6), b=_conv(6, 4)),
    _network("Clamped", lambda m, x: m.b(m.a(x).clamp(-0.5, 0.7)), a=_conv(3, 6), b=_conv(6, 4)),
)
