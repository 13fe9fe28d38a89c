"""Layers, norms, pools, resizing, padding and attention, in their forms, against torch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ...support.aten_forms import check, floats, form

pytestmark = pytest.mark.slow

SEQUENCE, IMAGE, VOLUME = floats(2, 4, 9), floats(2, 4, 9, 7), floats(1, 4, 5, 6, 4)
TOKENS, FLAT = floats(2, 5, 8), floats(3, 8)


def layer(make, *inputs):
    return form(lambda s, *x: s.layer(*x), *inputs, layer=make)


LAYERS = {
    "linear": layer(nn.Linear(8, 3), TOKENS),
    "linear without bias": layer(nn.Linear(8, 3, bias=False), FLAT),
    "linear of a vector": layer(nn.Linear(8, 3), floats(8)),
    "bilinear": layer(nn.Bilinear(8, 8, 3), FLAT, floats(3, 8, seed=1)),
    "matmul": form(lambda x, y: (x @ y, x[0] @ y, x @ y[0, :, 0]), TOKENS, floats(2, 8, 3)),
    "products of vectors": form(
        lambda x, y: (torch.dot(x, y), torch.outer(x, y), torch.mv(y[:, None] * x, x)),
        floats(4),
        floats(4, seed=1),
    ),
    "addmm": form(
        lambda x, y: torch.addmm(x[:, :3], x, y, beta=0.5, alpha=2.0), FLAT, floats(8, 3)
    ),
    "baddbmm": form(
        lambda x, y: torch.baddbmm(y[:, :5], x, y, beta=0.5, alpha=2.0), TOKENS, floats(2, 8, 8)
    ),
    "bmm and mm": form(
        lambda x, y: torch.bmm(x, y)[0] + torch.mm(x[0], y[1]), TOKENS, floats(2, 8, 8)
    ),
    "einsum": form(
        lambda x, y: (
            torch.einsum("bij,bjk->bik", x, y),
            torch.einsum("bij->j", x),
            torch.einsum("bij,bkj->bik", x, x),
        ),
        TOKENS,
        floats(2, 8, 8),
    ),
    "conv1d": layer(nn.Conv1d(4, 6, 3, 2, 1), SEQUENCE),
    "conv1d dilated": layer(nn.Conv1d(4, 6, 3, dilation=2, groups=2), SEQUENCE),
    "conv1d same": layer(nn.Conv1d(4, 6, 4, padding="same"), SEQUENCE),
    "conv2d": layer(nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0)), IMAGE),
    "conv2d valid": layer(nn.Conv2d(4, 6, 3, padding="valid", bias=False), IMAGE),
    "conv2d same, even": layer(nn.Conv2d(4, 6, 4, padding="same"), IMAGE),
    "depthwise": layer(nn.Conv2d(4, 8, 3, groups=4, dilation=2), IMAGE),
    "unbatched conv2d": layer(nn.Conv2d(4, 6, 3), IMAGE[0]),
    "conv3d": layer(nn.Conv3d(4, 3, 3, (1, 2, 1), 1), VOLUME),
    "conv with a computed weight": form(
        lambda x, w: F.conv2d(x, w.tanh()), IMAGE, floats(3, 4, 2, 2)
    ),
    "weight norm by hand": form(
        lambda s, x: F.conv2d(x, s.v * (s.g / s.v.square().sum((1, 2, 3), keepdim=True).sqrt())),
        IMAGE,
        v=nn.Parameter(floats(3, 4, 2, 2)),
        g=nn.Parameter(floats(3, 1, 1, 1)),
    ),
    **{
        f"padding {mode}": layer(nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode=mode), IMAGE)
        for mode in ("circular", "reflect", "replicate")
    },
    "padding of a sequence": layer(
        nn.Conv1d(4, 6, 3, padding=2, padding_mode="circular"), SEQUENCE
    ),
    "conv transpose": layer(nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1), IMAGE),
    "conv transpose, oblong": layer(
        nn.ConvTranspose2d(4, 6, (2, 3), (1, 2), (0, 1), (0, 1), dilation=(1, 2)), IMAGE
    ),
    "conv transpose in groups": layer(nn.ConvTranspose2d(4, 6, 3, 2, groups=2, bias=False), IMAGE),
    "conv transpose depthwise": layer(nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4), IMAGE),
    "conv transpose 1d": layer(nn.ConvTranspose1d(4, 6, 3, 2, 1, output_padding=1), SEQUENCE),
    "conv transpose 1d in groups": layer(nn.ConvTranspose1d(4, 6, 3, 2, groups=2), SEQUENCE),
    "conv transpose 3d": layer(nn.ConvTranspose3d(4, 3, 3, 2, 1, output_padding=1), VOLUME),
    "conv transpose to a size": form(
        lambda s, x: s.c(x, output_size=(18, 14)), IMAGE, c=nn.ConvTranspose2d(4, 2, 3, 2, 1)
    ),
    "rnn": layer(nn.RNN(8, 4, batch_first=True), TOKENS),
    "relu rnn": layer(nn.RNN(8, 4, nonlinearity="relu"), TOKENS),
    "gru": form(
        lambda s, x, h: s.r(x, h), TOKENS, torch.zeros(1, 2, 4), r=nn.GRU(8, 4, batch_first=True)
    ),
    "gru of two layers, both ways": form(
        lambda s, x: s.r(x)[0], TOKENS, r=nn.GRU(8, 4, 2, bidirectional=True)
    ),
    "lstm": form(lambda s, x: s.r(x)[0], TOKENS, r=nn.LSTM(8, 4, batch_first=True)),
    "lstm with its state": form(
        lambda s, x, h, c: s.r(x, (h, c))[1],
        TOKENS,
        floats(1, 5, 4),
        floats(1, 5, 4),
        r=nn.LSTM(8, 4),
    ),
    "lstm both ways": form(
        lambda s, x: s.r(x)[0], TOKENS, r=nn.LSTM(8, 4, bidirectional=True, bias=False)
    ),
    "lstm of one step": form(lambda s, x: s.r(x)[1], floats(1, 1, 8), r=nn.LSTM(8, 4)),
    "lstm of no batch": form(lambda s, x: s.r(x)[0], FLAT, r=nn.LSTM(8, 4)),
    "lstm of many layers": form(
        lambda s, x: s.r(x)[0], TOKENS, r=nn.LSTM(8, 4, 3, bidirectional=True, batch_first=True)
    ),
    "projected lstm": form(lambda s, x: s.r(x)[0], TOKENS, r=nn.LSTM(8, 4, proj_size=3)),
    "gru without bias": form(
        lambda s, x: s.r(x)[0], TOKENS, r=nn.GRU(8, 4, bias=False, bidirectional=True)
    ),
    "rnn both ways": layer(nn.RNN(8, 4, 2, bidirectional=True, bias=False), TOKENS),
    "lstm from a parameter": form(
        lambda s, x: s.r(x, (s.h.expand(1, 5, 4), s.h.new_zeros(1, 5, 4)))[0],
        TOKENS,
        r=nn.LSTM(8, 4),
        h=nn.Parameter(torch.randn(1, 1, 4)),
    ),
    "cells": form(
        lambda s, x: s.g(x) + s.l(x)[0] + s.r(x),
        FLAT,
        g=nn.GRUCell(8, 4),
        l=nn.LSTMCell(8, 4),
        r=nn.RNNCell(8, 4),
    ),
}
NORMS = {
    "batch norm": layer(nn.BatchNorm2d(4), IMAGE),
    "batch norm of a sequence": layer(nn.BatchNorm1d(4, affine=False), SEQUENCE),
    "batch norm of rows": layer(nn.BatchNorm1d(8, eps=0.1), FLAT),
    "batch norm of a volume": layer(nn.BatchNorm3d(4), VOLUME),
    "batch norm without statistics": layer(nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    "batch norm of rows without statistics": layer(
        nn.BatchNorm1d(8, track_running_stats=False), FLAT
    ),
    "conv and batch norm": layer(nn.Sequential(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)), IMAGE),
    "layer norm": layer(nn.LayerNorm(8), TOKENS),
    "layer norm of two axes": layer(nn.LayerNorm((5, 8), eps=0.1), TOKENS),
    "layer norm plain": layer(nn.LayerNorm(8, elementwise_affine=False), TOKENS),
    "layer norm without bias": layer(nn.LayerNorm(8, bias=False), TOKENS),
    "group norm": layer(nn.GroupNorm(2, 4), IMAGE),
    "group norm plain": layer(nn.GroupNorm(4, 4, affine=False), SEQUENCE),
    "group norm of rows": layer(nn.GroupNorm(2, 8), FLAT),
    "instance norm": layer(nn.InstanceNorm2d(4), IMAGE),
    "instance norm affine": layer(nn.InstanceNorm1d(4, affine=True), SEQUENCE),
    "instance norm with statistics": layer(nn.InstanceNorm2d(4, track_running_stats=True), IMAGE),
    "rms norm": layer(nn.RMSNorm(8), TOKENS),
    "rms norm plain": layer(nn.RMSNorm(8, eps=0.1, elementwise_affine=False), TOKENS),
    "local response norm": layer(nn.LocalResponseNorm(3, 0.1), IMAGE),
}
POOLS = {
    "max": form(lambda x: F.max_pool2d(x, 3, 2, 1), IMAGE - 10),
    "max oblong": form(lambda x: F.max_pool2d(x, (2, 3), (1, 2), (0, 1), dilation=(2, 1)), IMAGE),
    "max ceil": form(lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), IMAGE),
    "max ceil, dropped": form(lambda x: F.max_pool2d(x, 2, 3, 1, ceil_mode=True), IMAGE - 10),
    "max default stride": form(lambda x: F.max_pool2d(x, 2), IMAGE),
    "max of a sequence": form(lambda x: F.max_pool1d(x, 3, 2, 1, ceil_mode=True), SEQUENCE),
    "max of a volume": form(lambda x: F.max_pool3d(x, 2, 2, 1), VOLUME),
    "max unbatched": form(lambda x: F.max_pool2d(x, 2), IMAGE[0]),
    "average": form(lambda x: F.avg_pool2d(x, 3, 2, 1), IMAGE),
    "average of the inside": form(
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), IMAGE
    ),
    "average ceil": form(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), floats(1, 2, 8, 6)),
    "average ceil of the inside": form(
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        floats(1, 2, 8, 6),
    ),
    "average ceil without padding": form(lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True), IMAGE),
    "average with a divisor": form(lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5), IMAGE),
    "average of a sequence": form(lambda x: F.avg_pool1d(x, 3, 2, 1), SEQUENCE),
    "average of a volume": form(lambda x: F.avg_pool3d(x, 2, 2), VOLUME),
    "lp pool": form(lambda x: F.lp_pool2d(x, 2.0, 2), IMAGE),
    "adaptive average": form(lambda x: F.adaptive_avg_pool2d(x, (3, 7)), IMAGE),
    "adaptive average uneven": form(lambda x: F.adaptive_avg_pool2d(x, (4, 5)), IMAGE),
    "adaptive average upward": form(lambda x: F.adaptive_avg_pool2d(x, (11, None)), IMAGE),
    "adaptive average to one": form(lambda x: F.adaptive_avg_pool2d(x, 1), IMAGE),
    "adaptive average of a sequence": form(lambda x: F.adaptive_avg_pool1d(x, 4), SEQUENCE),
    "adaptive average of a volume": form(lambda x: F.adaptive_avg_pool3d(x, (2, 3, 1)), VOLUME),
    "adaptive max": form(lambda x: F.adaptive_max_pool2d(x, (3, 1)), IMAGE),
    "adaptive max uneven": form(lambda x: F.adaptive_max_pool2d(x, (4, 5)), IMAGE),
    "adaptive max of a sequence": form(lambda x: F.adaptive_max_pool1d(x, 3), SEQUENCE),
}


def resized(x, **settings):
    return form(lambda y: F.interpolate(y, **settings), x)


SIZES = {
    "whole": {"scale_factor": 2},
    "1.7": {"scale_factor": 1.7},
    "1.7 recomputed": {"scale_factor": 1.7, "recompute_scale_factor": True},
    "size": {"size": (13, 4)},
    "down": {"scale_factor": (0.5, 0.7)},
}
RESIZING = {
    **{
        f"{mode} {name}": resized(IMAGE, mode=mode, **size)
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
        for name, size in SIZES.items()
    },
    **{
        f"{mode} {name} aligned": resized(IMAGE, mode=mode, align_corners=True, **size)
        for mode in ("bilinear", "bicubic")
        for name, size in SIZES.items()
    },
    **{
        f"{mode} {name} antialiased": resized(IMAGE, mode=mode, antialias=True, **size)
        for mode in ("bilinear", "bicubic")
        for name, size in SIZES.items()
    },
    "to one": resized(IMAGE, size=(1, 1), mode="bilinear", align_corners=True),
    "linear": resized(SEQUENCE, scale_factor=1.7, mode="linear"),
    "linear aligned": resized(SEQUENCE, size=4, mode="linear", align_corners=True),
    "nearest of a sequence": resized(SEQUENCE, scale_factor=1.7),
    "nearest of a volume": resized(VOLUME, scale_factor=1.7),
    "trilinear": resized(VOLUME, scale_factor=(2, 1.5, 1), mode="trilinear"),
    **{
        f"grid_sample {mode} {edge} {aligned}": form(
            lambda x, g, m=mode, e=edge, a=aligned: F.grid_sample(x, g, m, e, a),
            *(IMAGE, 1.2 * floats(2, 5, 3, 2)),
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for edge in ("zeros", "border", "reflection")
        for aligned in (True, False)
    },
    "grid_sample of a parameter": form(
        lambda s, x: F.grid_sample(x, s.g, align_corners=False),
        IMAGE[:1],
        g=nn.Parameter(torch.rand(1, 8, 8, 2) * 2 - 1),
    ),
    "affine grid": form(
        lambda x, t: F.grid_sample(
            x, F.affine_grid(t, (2, 4, 6, 5), align_corners=False), align_corners=False
        ),
        IMAGE,
        floats(2, 2, 3),
    ),
}
PADDING = {
    "constant": form(lambda x: F.pad(x, (1, 2, 0, 3), value=0.5), IMAGE),
    "negative": form(lambda x: F.pad(x, (-1, 2, 1, -2)), IMAGE),
    "of integers": form(lambda x: F.pad(x, (1, 2), value=7), torch.arange(6).reshape(2, 3)),
    "of booleans": form(lambda x: F.pad(x > 0, (1, 2), value=True), SEQUENCE),
    "minus infinity": form(lambda x: F.pad(x, (1, 1), value=float("-inf")), SEQUENCE),
    **{
        f"{mode} of {x.ndim} axes": form(lambda y, m=mode, p=pad: F.pad(y, p, mode=m), x)
        for mode in ("circular", "reflect", "replicate")
        for x, pad in ((SEQUENCE, (2, 1)), (IMAGE, (2, 1, 0, 3)), (VOLUME, (1, 1, 2, 0, 1, 0)))
    },
    "replicate unbatched": form(lambda x: F.pad(x, (1, 2, 3, 4), mode="replicate"), IMAGE[0]),
    "im2col": form(lambda x: F.unfold(x, 3, padding=1, stride=2), IMAGE),
}
HEADS = floats(2, 3, 5, 4)
CAUSAL = torch.ones(5, 5).tril().bool()
ATTENTION = {
    "plain": form(lambda q: F.scaled_dot_product_attention(q, 2 * q, q), HEADS),
    "of three axes": form(lambda q: F.scaled_dot_product_attention(q, 2 * q, q), HEADS[0]),
    "of two axes": form(lambda q: F.scaled_dot_product_attention(q, 2 * q, q), HEADS[0, 0]),
    "causal": form(
        lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True, scale=0.3), HEADS
    ),
    "causal, fewer queries": form(
        lambda q: F.scaled_dot_product_attention(q[:, :, :3], q, q, is_causal=True), HEADS
    ),
    "causal, fewer keys": form(
        lambda q: F.scaled_dot_product_attention(q, q[:, :, :3], q[:, :, :3], is_causal=True), HEADS
    ),
    "wide values": form(
        lambda q: F.scaled_dot_product_attention(q, q, torch.cat([q, q], -1)), HEADS
    ),
    "minus infinity": form(
        lambda q: F.scaled_dot_product_attention(
            q, q, q, attn_mask=torch.full((5, 5), float("-inf")).triu(1)
        ),
        HEADS,
    ),
    "booleans": form(
        lambda q: F.scaled_dot_product_attention(q, q, q, attn_mask=torch.ones(5, 5).tril().bool()),
        HEADS,
    ),
    "a buffer of booleans": form(
        lambda s, q: F.scaled_dot_product_attention(q, q, q, attn_mask=s.m),
        HEADS,
        m=nn.Buffer(CAUSAL),
    ),
    "a row that sees nothing": form(
        lambda s, q: F.scaled_dot_product_attention(q, q, q, attn_mask=s.m),
        HEADS,
        m=nn.Buffer(CAUSAL & (torch.arange(5) > 0)),
    ),
    "a computed mask": form(
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m[:, None, None] > 0),
        HEADS,
        floats(2, 5),
    ),
    "a computed mask that hides all": form(
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m[:, None, None] > 9),
        HEADS,
        floats(2, 5),
    ),
    "a bias": form(
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m), HEADS, floats(5, 5)
    ),
    "groups": form(
        lambda q: F.scaled_dot_product_attention(q, q[:, :1], q[:, :1], enable_gqa=True), HEADS
    ),
    "multi-head": form(
        lambda s, x: s.a(x, x, x, need_weights=False)[0],
        TOKENS,
        a=nn.MultiheadAttention(8, 2, batch_first=True),
    ),
    "multi-head with weights": form(
        lambda s, x: s.a(x, x, x), TOKENS, a=nn.MultiheadAttention(8, 2)
    ),
    "multi-head with a mask": form(
        lambda s, x: s.a(x, x, x, attn_mask=torch.ones(5, 5).triu(1).bool(), need_weights=False)[0],
        TOKENS,
        a=nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True, kdim=8)
        if False
        else nn.MultiheadAttention(8, 2, batch_first=True),
    ),
    "encoder": layer(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True), TOKENS
    ),
    "decoder": form(
        lambda s, x, m: s.d(x, m),
        TOKENS,
        floats(2, 7, 8),
        d=nn.TransformerDecoderLayer(8, 2, 16, batch_first=True),
    ),
}
FORMS = {
    f"{kind}: {name}": value
    for kind, forms in (
        *(("layer", LAYERS), ("norm", NORMS), ("pool", POOLS), ("resize", RESIZING)),
        *(("pad", PADDING), ("attention", ATTENTION)),
    )
    for name, value in forms.items()
}


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # torch, an even kernel
@pytest.mark.parametrize("name", FORMS)
def test_a_layer_computes_what_torch_does(name):
    check(FORMS[name].network(), FORMS[name].inputs)
