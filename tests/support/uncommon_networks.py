"""Small networks in which a pass easily goes wrong: layers used twice, odd widths, no batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .passes import Small, imported


def _linear(inputs, outputs, **settings):
    return nn.Linear(inputs, outputs, **settings)


def _attention(axes: int, heads: int):
    """Queries, keys and values in one layer, parted over five axes, or one by one over four."""

    def forward(self, x):
        n, length, width = x.shape
        size = width // heads
        if axes == 5:
            parted = self.qkv(x).reshape(n, length, 3, heads, size)
            q, k, v = parted.permute(2, 0, 3, 1, 4).unbind(0)
        else:
            q, k, v = (
                part.reshape(n, length, heads, size).transpose(1, 2)
                for part in self.qkv(x).split(width, dim=-1)
            )
        scores = torch.softmax(q @ k.transpose(-2, -1) / size**0.5, dim=-1)
        return self.out((scores @ v).transpose(1, 2).reshape(n, length, width))

    return Small(forward, qkv=_linear(12, 36), out=_linear(12, 12))


def _dense_twice(self, x):
    return self.b(torch.relu(self.a(4 * torch.relu(self.a(x)) - 1)))


def _conv_twice(self, x):
    return self.b(self.a(F.silu(self.a(torch.relu(x)) * 3)))


def _recurrent(self, x, h):
    layers = []
    for layer in range(2):
        x = torch.tanh(self.i(x) + self.r(h[layer]))
        layers.append(x)
    return self.out(x), torch.stack(layers)


def _weight_read_twice(self, x):
    return self.b(torch.relu(self.a(x))) + self.a.weight.sum()


UNCOMMON = {
    "dense_twice": (Small(_dense_twice, a=_linear(9, 9), b=_linear(9, 5)), (2, 9)),
    "conv_twice": (
        Small(_conv_twice, a=nn.Conv2d(5, 5, 3, padding=1), b=nn.Conv2d(5, 7, 1)),
        (1, 5, 6, 6),
    ),
    "both_signs": (
        Small(
            lambda s, x: s.b(torch.relu(s.a(torch.relu(s.a(x))))), a=_linear(9, 9), b=_linear(9, 5)
        ),
        (1, 9),
    ),
    "both_ways": (
        Small(lambda s, x: torch.relu(x @ s.a.weight.T) @ s.a.weight, a=_linear(6, 11, bias=False)),
        (1, 6),
    ),
    "one_weight_two_biases": (
        Small(
            lambda s, x: s.out(
                F.linear(x, s.a.weight, s.a.bias)
                * torch.sigmoid(F.linear(torch.relu(x) * 5, s.a.weight, s.b.bias))
            ),
            a=_linear(7, 7),
            b=_linear(1, 7),
            out=_linear(7, 3),
        ),
        (1, 7),
    ),
    "weight_read_twice": (Small(_weight_read_twice, a=_linear(6, 6), b=_linear(6, 4)), (1, 6)),
    "one_head_five_axes": (_attention(5, 1), (1, 6, 12)),
    "heads_five_axes": (_attention(5, 3), (1, 6, 12)),
    "one_head_four_axes": (_attention(4, 1), (1, 6, 12)),
    "five_axes_batch": (_attention(5, 2), (2, 6, 12)),
    "recurrent": (
        Small(_recurrent, i=_linear(6, 6), r=_linear(6, 6), out=_linear(6, 3)),
        (1, 6),
        (2, 1, 6),
    ),
    "one_channel": (
        Small(
            lambda s, x: s.c(torch.relu(s.b(torch.relu(s.a(x))))),
            a=nn.Conv2d(1, 1, 3),
            b=nn.Conv2d(1, 5, 1),
            c=nn.Conv2d(5, 1, 3),
        ),
        (1, 1, 8, 8),
    ),
    "one_feature": (
        Small(lambda s, x: s.b(torch.tanh(s.a(x))), a=_linear(1, 1), b=_linear(1, 1)),
        (1, 1),
    ),
    "odd_groups": (
        Small(
            lambda s, x: s.c(F.leaky_relu(s.b(torch.relu(s.a(x))), 0.1)),
            a=nn.Conv2d(3, 9, 3, groups=3),
            b=nn.Conv2d(9, 9, 3, groups=9),
            c=nn.Conv2d(9, 7, 1, groups=1),
        ),
        (1, 3, 9, 7),
    ),
    "no_batch": (
        Small(lambda s, x: s.b(torch.relu(s.a(x))), a=_linear(8, 13), b=_linear(13, 4)),
        (8,),
    ),
    "many_axes": (
        Small(lambda s, x: s.b(torch.relu(s.a(x))), a=_linear(5, 7), b=_linear(7, 3)),
        (1, 2, 2, 2, 5),
    ),
    "line": (
        Small(
            lambda s, x: s.b(torch.relu(s.a(x))).mean(-1),
            a=nn.Conv1d(3, 7, 3, padding=1),
            b=nn.Conv1d(7, 5, 1),
        ),
        (1, 3, 11),
    ),
    "up_and_down": (
        Small(
            lambda s, x: torch.cat([s.c(torch.relu(s.b(torch.relu(s.a(x))))), x], 1),
            a=nn.Conv2d(3, 6, 3, 2, 1),
            b=nn.ConvTranspose2d(6, 5, 2, 2),
            c=nn.Conv2d(5, 3, 1),
        ),
        (1, 3, 8, 8),
    ),
    "outputs_within": (
        Small(
            lambda s, x: (s.a(x), torch.relu(s.a(x)), s.b(torch.relu(s.a(x)))),
            a=nn.Conv2d(3, 5, 3),
            b=nn.Conv2d(5, 2, 1),
        ),
        (1, 3, 6, 6),
    ),
    "unlike_inputs": (
        Small(
            lambda s, x, y: (s.c(torch.relu(s.a(x)).mean((2, 3)) + s.b(y)), s.b(y)),
            a=nn.Conv2d(2, 6, 3),
            b=_linear(5, 6),
            c=_linear(6, 3),
        ),
        (1, 2, 6, 6),
        (1, 5),
    ),
    "residuals": (
        Small(
            lambda s, x: s.c(torch.relu(x + s.b(torch.relu(s.a(x)))) + x),
            a=nn.Conv2d(5, 3, 1),
            b=nn.Conv2d(3, 5, 3, padding=1),
            c=nn.Conv2d(5, 5, 1),
        ),
        (1, 5, 6, 6),
    ),
    "no_layer": (Small(lambda s, x: torch.softmax(x * 2, -1)), (1, 5)),
    "a_constant_through_a_layer": (
        Small(
            lambda s, x: s.b(torch.relu(s.a(s.table.weight.reshape(1, 3, 4)).sum(1)) + x),
            a=_linear(4, 6),
            b=_linear(6, 3),
            table=nn.Embedding(3, 4),
        ),
        (1, 6),
    ),
    "prelu_one_slope": (
        Small(
            lambda s, x: s.b(s.p(s.a(x))), a=nn.Conv2d(3, 7, 3), b=nn.Conv2d(7, 3, 1), p=nn.PReLU()
        ),
        (1, 3, 6, 6),
    ),
    "mirrored": (
        Small(
            lambda s, x: s.b(torch.relu(s.a(x))),
            a=nn.Conv2d(3, 7, 3, padding=1, padding_mode="reflect"),
            b=nn.Conv2d(7, 3, 3, padding=1, padding_mode="circular"),
        ),
        (1, 3, 6, 6),
    ),
    "layer_norm_between": (
        Small(
            lambda s, x: s.b(F.gelu(s.n(s.a(x)))),
            a=_linear(6, 10),
            b=_linear(10, 3),
            n=nn.LayerNorm(10),
        ),
        (1, 4, 6),
    ),
}


def uncommon(name: str):
    """Import one of them."""
    network, *shapes = UNCOMMON[name]
    return imported(network, *shapes)
