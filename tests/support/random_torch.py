"""Random torch networks: seeded, of many operators, in odd shapes.

Several inputs and outputs, layers used twice, integers and booleans between. A step is kept where
its result is of a sensible size and hardly changes when what it reads is changed a little, so
that two right ways of computing it agree.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[..., Any]
MOST_ELEMENTS, LARGEST = 20_000, 1e3


@dataclass(frozen=True)
class Step:
    """A function of (layers, *values), and which of the values it reads."""

    name: str
    function: Function
    reads: tuple[int, ...]


class RandomNetwork(nn.Module):
    """Runs its steps in order; every result is a value that later steps may read."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.steps: list[Step] = []
        self.outputs: tuple[int, ...] = ()

    def forward(self, *inputs: Tensor) -> Any:
        values = list(inputs)
        for step in self.steps:
            values.append(step.function(self.layers, *(values[i] for i in step.reads)))
        return tuple(values[i] for i in self.outputs)

    def describe(self) -> str:
        return " ".join(f"{s.name}{s.reads}" for s in self.steps) + f" -> {self.outputs}"


def random_torch(seed: int) -> tuple[RandomNetwork, tuple[Tensor, ...]]:
    """A network in eval mode and inputs for it."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return _Generator(random.Random(seed)).network()


class _Generator:
    def __init__(self, rng: random.Random) -> None:
        self.rng, self.net = rng, RandomNetwork()

    def network(self) -> tuple[RandomNetwork, tuple[Tensor, ...]]:
        rng, net = self.rng, self.net
        ranks = [rng.choice((1, 2, 3, 3, 4, 4)) for _ in range(rng.choice((1, 1, 2, 3)))]
        inputs = tuple(self.input(rank) for rank in ranks)
        self.values = list(inputs)
        wanted, tries = rng.randint(3, 9), 0
        while len(net.steps) < wanted and tries < 200:
            tries += 1
            self.grow()
        net.eval()
        made = range(len(inputs), len(self.values))
        read = {i for step in net.steps for i in step.reads}
        ends = [i for i in made if i not in read] or [len(self.values) - 1]
        net.outputs = tuple(dict.fromkeys((*ends, *rng.sample(list(made), rng.randint(0, 1)))))
        return net, inputs

    def input(self, rank: int) -> Tensor:
        if self.rng.random() < 0.12:
            return torch.randint(0, 5, [self.rng.randint(1, 6) for _ in range(min(rank, 2))])
        return torch.randn([self.rng.choice((1, 2, 3, 4, 5, 6, 7, 9)) for _ in range(rank)])

    def grow(self) -> None:
        rng = self.rng
        make = rng.choice(LAYERS if rng.random() < 0.4 else OPERATIONS)
        recent = len(self.values) - 1
        first = recent if rng.random() < 0.6 else rng.randrange(len(self.values))
        reads = (first,) if make.arity == 1 else (first, rng.randrange(len(self.values)))
        args = [self.values[i] for i in reads]
        count = len(self.net.layers)
        try:
            function = make.make(self, *args)
            self.net.layers.eval()
            result = function(self.net.layers, *args)
            kept = self.is_sound(function, args, result)
        except (RuntimeError, IndexError, ValueError, TypeError, ZeroDivisionError):
            kept = False
        if kept:
            self.net.steps.append(Step(make.name, function, reads))
            self.values.append(result)
        else:
            while len(self.net.layers) > count:
                self.net.layers.pop(-1)

    def is_sound(self, function: Function, args: list[Tensor], result: Any) -> bool:
        if not isinstance(result, Tensor) or not 0 < result.numel() <= MOST_ELEMENTS:
            return False
        if result.dtype not in (torch.float32, torch.int64, torch.int32, torch.bool):
            return False
        near = [
            a * (1 + 1e-4 * torch.randn(a.shape)) + 1e-5 if a.is_floating_point() else a
            for a in args
        ]
        other, most = function(self.net.layers, *near), float(result.float().abs().max())
        if not result.is_floating_point():
            return torch.equal(result, other) and most < 2**20
        if not bool(torch.isfinite(result).all()) or most > LARGEST:
            return False
        return torch.allclose(result, other, rtol=1e-2, atol=1e-2 * most + 1e-6)

    def layer(self, fits: Callable[[nn.Module], bool], make: Callable[[], nn.Module]) -> int:
        """The place of a layer, often of one that is used already."""
        old = [i for i, layer in enumerate(self.net.layers) if fits(layer)]
        if old and self.rng.random() < 0.5:
            return self.rng.choice(old)
        new = make()
        for name, buffer in new.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.3)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
        self.net.layers.append(new)
        return len(self.net.layers) - 1


@dataclass(frozen=True)
class Maker:
    name: str
    make: Callable[..., Function]
    arity: int = 1


def _layer(name: str, fits: Callable[..., bool], make: Callable[..., nn.Module]) -> Maker:
    """Of a layer that suits x: a used one that `fits` (layer, x), or one made of (x, random)."""

    def maker(g: _Generator, x: Tensor) -> Function:
        at = g.layer(lambda layer: fits(layer, x), lambda: make(x, g.rng))
        return lambda layers, v: layers[at](v)

    return Maker(name, maker)


def _plain(name: str, *functions: Callable[[Tensor], Any]) -> list[Maker]:
    def maker(function: Callable[[Tensor], Any]) -> Callable[..., Function]:
        return lambda g, x: lambda layers, v: function(v)

    return [Maker(f"{name}{i}" if i else name, maker(f)) for i, f in enumerate(functions)]


def _drawn(name: str, make: Callable[[random.Random, Tensor], Callable[[Tensor], Any]]) -> Maker:
    def maker(g: _Generator, x: Tensor) -> Function:
        function = make(g.rng, x)
        return lambda layers, v: function(v)

    return Maker(name, maker)


def _pair(name: str, function: Callable[[Tensor, Tensor], Any]) -> Maker:
    return Maker(name, lambda g, x, y: lambda layers, v, w: function(v, w), 2)


def _call(function: Callable[..., Any], *args: Any, **settings: Any) -> Callable[[Tensor], Any]:
    return lambda v: function(v, *args, **settings)


def _coin(r: random.Random) -> bool:
    return r.random() < 0.5


def _axis(r: random.Random, x: Tensor) -> int:
    return r.randrange(-x.ndim, x.ndim) if x.ndim else 0


def _index(r: random.Random, x: Tensor, axis: int, *shape: int) -> Tensor:
    n = x.shape[axis]
    flat = [r.randrange(-n, n) for _ in range(max(1, torch.Size(shape).numel()))]
    return torch.tensor(flat).reshape(shape)


def _two_indices(r: random.Random, x: Tensor) -> Callable[[Tensor], Tensor]:
    axes = r.sample(range(x.ndim), 2)
    shapes = r.choice((((2,), (2,)), ((3, 1), (2,)), ((1,), (2, 2))))
    at: list[Any] = [slice(None)] * x.ndim
    for axis, shape in zip(axes, shapes, strict=True):
        at[axis] = _index(r, x, axis, *shape)
    return lambda v: v[tuple(at)]


def _sliced(r: random.Random, x: Tensor) -> Callable[[Tensor], Tensor]:
    axis = r.randrange(x.ndim)
    n = x.shape[axis]
    part = slice(r.randint(-n, n), r.choice((None, -1, n)), r.randint(1, 3))
    at = (*(slice(None),) * axis, part)
    return lambda v: v[at]


def _assigned(r: random.Random, x: Tensor) -> Callable[[Tensor], Tensor]:
    axis = r.randrange(x.ndim)
    at = (slice(None),) * axis + (r.choice((-1, slice(0, None, 2), [0, -1])),)

    def function(v: Tensor) -> Tensor:
        copy = v.clone()
        copy[at] = 0.5
        return copy

    return function


def _interpolated(r: random.Random, x: Tensor) -> Callable[[Tensor], Tensor]:
    mode = r.choice(("nearest", "nearest-exact", "bilinear", "bicubic", "area"))
    settings: dict[str, Any] = {"mode": mode}
    settings |= r.choice(({"scale_factor": 2}, {"scale_factor": 1.7}, {"size": (5, 3)}))
    if mode in ("bilinear", "bicubic"):
        settings["align_corners"] = r.random() < 0.5
    return lambda v: F.interpolate(v, **settings)


def _padded(r: random.Random, x: Tensor) -> Callable[[Tensor], Tensor]:
    mode = r.choice(("constant", "reflect", "replicate", "circular"))
    count = 2 * max(1, x.ndim - 2)
    low = -1 if mode == "constant" else 0
    widths = [r.randint(low, 2) for _ in range(count)]
    return lambda v: F.pad(v, widths, mode=mode)


def _reshaped(r: random.Random, x: Tensor) -> Callable[[Tensor], Tensor]:
    at = r.randrange(x.ndim)
    divisors = [d for d in (1, 2, 3) if x.shape[at] % d == 0]
    shape = (*x.shape[:at], r.choice(divisors), -1, *x.shape[at + 1 :])
    return lambda v: v.reshape(shape)


def _attention(v: Tensor) -> Tensor:
    mask = torch.ones(v.shape[-2], v.shape[-2]).tril().bool()
    return F.scaled_dot_product_attention(v, v * 0.5, v, attn_mask=mask)


def _causal_attention(v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(v, v, v, is_causal=True)


def _conv(rank: int, kind: str) -> Maker:
    types = {
        "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1],
        "transposed": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1],
    }

    def make(x: Tensor, r: random.Random) -> nn.Module:
        c = x.shape[1]
        groups = r.choice((1, c))
        settings = {"stride": r.randint(1, 2), "padding": r.randint(0, 2), "groups": groups}
        if kind == "conv":
            settings |= {"padding_mode": r.choice(("zeros", "zeros", "reflect", "circular"))}
            settings |= {"dilation": r.randint(1, 2)}
        return types[kind](c, groups * r.randint(1, 4), r.randint(1, 3), **settings)

    return _layer(
        f"{kind}{rank}",
        lambda layer, x: isinstance(layer, types[kind]) and layer.in_channels == x.shape[1],
        make,
    )


def _norm(name: str, make: Callable[[Tensor, random.Random], nn.Module]) -> Maker:
    return _layer(name, lambda layer, x: False, make)


def _recurrent(g: _Generator, x: Tensor) -> Function:
    kind = g.rng.choice((nn.GRU, nn.LSTM, nn.RNN))
    both = g.rng.random() < 0.3
    at = g.layer(
        lambda layer: isinstance(layer, nn.RNNBase) and layer.input_size == x.shape[-1],
        lambda: kind(x.shape[-1], 4, batch_first=True, bidirectional=both),
    )
    return lambda layers, v: layers[at](v)[0]


LAYERS: tuple[Maker, ...] = (
    *(_conv(rank, kind) for rank in (1, 2, 2, 2, 3) for kind in ("conv", "transposed")),
    *[
        _layer(
            "linear",
            lambda layer, x: isinstance(layer, nn.Linear) and layer.in_features == x.shape[-1],
            lambda x, r: nn.Linear(x.shape[-1], r.randint(1, 9), bias=r.random() < 0.7),
        )
    ]
    * 3,
    _norm("batch norm 1d", lambda x, r: nn.BatchNorm1d(x.shape[1])),
    _norm("batch norm", lambda x, r: nn.BatchNorm2d(x.shape[1])),
    _norm("own batch norm", lambda x, r: nn.BatchNorm2d(x.shape[1], track_running_stats=False)),
    _norm("layer norm", lambda x, r: nn.LayerNorm(x.shape[-r.randint(1, 2) :])),
    _norm("group norm", lambda x, r: nn.GroupNorm(r.choice((1, x.shape[1])), x.shape[1])),
    _norm("instance norm", lambda x, r: nn.InstanceNorm2d(x.shape[1], affine=True)),
    _norm("prelu", lambda x, r: nn.PReLU(r.choice((1, x.shape[1])))),
    _norm("embedding", lambda x, r: nn.Embedding(5, r.randint(1, 6))),
    Maker("recurrent", _recurrent),
)
OPERATIONS: tuple[Maker, ...] = (
    *_plain("relu", torch.relu, F.relu6, F.hardswish, F.hardsigmoid, F.silu, F.mish, F.selu),
    *_plain("tanh", torch.tanh, torch.sigmoid, F.gelu, F.elu, F.softplus, F.softsign, torch.erf),
    *_plain("unary", torch.abs, torch.neg, torch.sin, torch.square, lambda v: v.abs().sqrt()),
    *_plain("log", lambda v: (v.abs() + 0.5).log(), lambda v: v.abs().log1p(), lambda v: v.expm1()),
    *_plain("round", torch.floor, torch.round, lambda v: v % 0.7, lambda v: v // 0.7, torch.sign),
    *_plain("casts", lambda v: v.long(), lambda v: v.float(), lambda v: v > 0.1, lambda v: v.int()),
    *_plain("numbers", lambda v: v * 3 - 1, lambda v: v / 2, lambda v: 1 - v, lambda v: v // 2),
    *_plain("whole", torch.sum, torch.mean, torch.max, torch.argmax),
    *_plain("attention", _attention, _causal_attention),
    *_plain("flat", lambda v: v.flatten(1), torch.flatten, torch.squeeze, lambda v: v.mT),
    _drawn("softmax", lambda r, x: _call(F.softmax, _axis(r, x))),
    _drawn("log_softmax", lambda r, x: _call(F.log_softmax, _axis(r, x))),
    _drawn("sum", lambda r, x: _call(torch.sum, _axis(r, x), keepdim=_coin(r))),
    _drawn("mean", lambda r, x: _call(torch.mean, _axis(r, x), keepdim=_coin(r))),
    _drawn("max", lambda r, x: _call(lambda v, d: v.max(d).values, _axis(r, x))),
    _drawn("min", lambda r, x: _call(lambda v, d: v.min(d, keepdim=True).values, _axis(r, x))),
    _drawn("argmax", lambda r, x: _call(torch.argmax, _axis(r, x))),
    _drawn("var", lambda r, x: _call(torch.var, _axis(r, x), correction=r.randint(0, 1))),
    _drawn("norm", lambda r, x: _call(lambda v, d: F.normalize(v, dim=d), _axis(r, x))),
    _drawn("cumsum", lambda r, x: _call(torch.cumsum, _axis(r, x))),
    _drawn("sort", lambda r, x: _call(lambda v, d: v.sort(d).values, _axis(r, x))),
    _drawn("topk", lambda r, x: _call(lambda v, d: v.topk(1, d).values, _axis(r, x))),
    _drawn("flip", lambda r, x: _call(lambda v, d: v.flip(d), _axis(r, x))),
    _drawn("roll", lambda r, x: _call(torch.roll, r.randint(-3, 3), _axis(r, x))),
    _drawn("unsqueeze", lambda r, x: _call(torch.unsqueeze, _axis(r, x))),
    _drawn("select", lambda r, x: _call(torch.select, _axis(r, x), -_coin(r))),
    _drawn("transpose", lambda r, x: _call(torch.transpose, _axis(r, x), _axis(r, x))),
    _drawn(
        "chunk", lambda r, x: _call(lambda v, n, d: v.chunk(n, d)[-1], r.randint(1, 3), _axis(r, x))
    ),
    _drawn("slice", _sliced),
    _drawn("two indices", _two_indices),
    _drawn("assign", _assigned),
    _drawn("interpolate", _interpolated),
    _drawn("pad", _padded),
    _drawn("reshape", _reshaped),
    _drawn("repeat", lambda r, x: _call(Tensor.repeat, [r.randint(1, 2) for _ in x.shape])),
    _drawn("clamp", lambda r, x: _call(torch.clamp, -r.random(), r.random())),
    _drawn("max_pool", lambda r, x: _call(F.max_pool2d, 2, 2, 1, ceil_mode=_coin(r))),
    _drawn("avg_pool", lambda r, x: _call(F.avg_pool2d, 3, 2, 1, _coin(r), _coin(r))),
    _drawn("adaptive", lambda r, x: _call(F.adaptive_avg_pool2d, r.randint(1, 4))),
    _pair("add", lambda v, w: torch.add(v, w, alpha=2)),
    _pair("sub", lambda v, w: v - w),
    _pair("mul", lambda v, w: v * w),
    _pair("div", lambda v, w: v / (w.abs() + 1)),
    _pair("maximum", torch.maximum),
    _pair("where", lambda v, w: torch.where(v > 0.05, v, w)),
    _pair("compare", lambda v, w: v > w),
    _pair("matmul", torch.matmul),
    _pair("outer", lambda v, w: v.flatten()[:5, None] * w.flatten()[:4]),
    _pair("cat", lambda v, w: torch.cat([v, w], -1)),
    _pair("stack", lambda v, w: torch.stack([v, w])),
    _pair("index", lambda v, w: v[:, w]),
    _pair("gather", lambda v, w: v.gather(-1, w)),
    _pair("einsum", lambda v, w: torch.einsum("...i,...j->...ij", v, w)),
    _pair("bias", lambda v, w: v + w.mean(-1, keepdim=True)),
)
