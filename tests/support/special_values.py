"""Calls that NaN and infinity go through, and values that hold both."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from tvm import relax
from tvm.relax import op

SHAPE = (1, 4, 6, 6)
MAX, MIN, INF, NAN = torch.amax, torch.amin, float("inf"), float("nan")


def number(value):
    return relax.const(np.array(value, np.float32))


# name: the IR's call, torch's
CALLS = {
    "relu": (op.nn.relu, torch.relu),
    "relu6": (op.nn.relu6, F.relu6),
    "clip": (lambda x: op.clip(x, -1.0, 1.0), lambda x: x.clamp(-1, 1)),
    "clip_infinite": (lambda x: op.clip(x, -INF, INF), lambda x: x),
    "maximum": (lambda x: op.maximum(x, op.negative(x)), lambda x: torch.maximum(x, -x)),
    "minimum": (lambda x: op.minimum(op.add(x, x), x), lambda x: torch.minimum(x + x, x)),
    "maximum_number": (lambda x: op.maximum(x, number(0.5)), lambda x: x.clamp(min=0.5)),
    "maximum_nan": (lambda x: op.maximum(x, number(NAN)), lambda x: x * NAN),
    "max": (lambda x: op.max(x, axis=[1]), lambda x: MAX(x, 1)),
    "min": (lambda x: op.min(x, axis=[2, 3]), lambda x: MIN(x, (2, 3))),
    "max_of_all": (op.max, MAX),
    "max_pool": (
        lambda x: op.nn.max_pool2d(x, (3, 3), padding=(1, 1, 1, 1)),
        lambda x: F.max_pool2d(x, 3, 1, 1),
    ),
    "leaky_relu": (lambda x: op.nn.leakyrelu(x, 0.1), lambda x: F.leaky_relu(x, 0.1)),
    "hard_swish": (
        lambda x: op.multiply(x, op.divide(op.clip(op.add(x, number(3)), 0.0, 6.0), number(6))),
        F.hardswish,
    ),
    "softmax": (lambda x: op.nn.softmax(x, axis=1), lambda x: F.softmax(x, 1)),
    "sign": (op.sign, lambda x: torch.where(x.isnan(), x, torch.sign(x))),
    "silu": (op.nn.silu, lambda x: F.silu(x).where(x != -INF, x * 0)),
    "by_zero": (lambda x: op.divide(x, number(0.0)), lambda x: x / 0.0),
    "modulo_zero": (lambda x: op.floor_mod(x, number(0.0)), lambda x: torch.remainder(x, 0.0)),
    "infinite_constant": (
        lambda x: op.multiply(x, op.divide(number(1.0), number(0.0))),
        lambda x: x * INF,
    ),
    "infinite_mask": (
        lambda x: op.add(x, op.triu(op.full((6, 6), number(-INF)), 1)),
        lambda x: x + torch.full((6, 6), -INF).triu(1),
    ),
    "infinite_like": (lambda x: op.add(x, op.full_like(x, number(INF))), lambda x: x + INF),
}


def special():
    x = 3 * np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    x[0, 0, 0, 0] = x[0, 1, 2, 3] = x[0, 1, 5, 5] = NAN
    x[0, 2] = -INF
    x[0, 3, 1, 1], x[0, 3, 2, 2] = INF, -INF
    return x
