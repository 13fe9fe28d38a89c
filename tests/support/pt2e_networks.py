"""Networks quantized as torch's PT2E flow does it, without torchao, for the tests.

The same operators in the same places as torchao 0.18's `convert_pt2e` puts them: around what each
layer reads, with the rounded weights in buffers `_frozen_param0`, `_scale_0`, `_zero_point_0`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import fx, nn
from torch.export import ExportedProgram

from adaspring.frontend.from_torch.quantized import register_operators

LAYERS = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)


class _Observer(fx.Interpreter):
    """Runs a graph and keeps the range of every value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.ranges: dict[fx.Node, tuple[float, float]] = {}

    def run_node(self, n: fx.Node):
        value = super().run_node(n)
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            low, high = self.ranges.get(n, (0.0, 0.0))
            self.ranges[n] = min(low, float(value.min())), max(high, float(value.max()))
        return value


def quantized_as_by_pt2e(
    network: nn.Module, samples: list[tuple[torch.Tensor, ...]], dtype: torch.dtype = torch.uint8
) -> ExportedProgram:
    """Quantize every convolution and dense layer, activations to `dtype` over its whole range."""
    register_operators("a test's network")
    module = torch.export.export(network, samples[0]).module()
    observer = _Observer(module)
    with torch.no_grad():
        for sample in samples:
            observer.run(*sample)
    for count, node in enumerate([n for n in module.graph.nodes if n.target in LAYERS]):
        with module.graph.inserting_before(node):
            x = _activation(module.graph, node.args[0], observer.ranges[node.args[0]], dtype)
            weight = _weight(module, node.args[1], count)
        node.args = (x, weight, *node.args[2:])
    module.graph.eliminate_dead_code()
    module.recompile()
    return torch.export.export(module, samples[0])


def _activation(
    graph: fx.Graph, x: fx.Node, seen: tuple[float, float], dtype: torch.dtype
) -> fx.Node:
    operators, info = torch.ops.quantized_decomposed, torch.iinfo(dtype)
    low, high = seen
    scale = max(high - low, 1e-3) / (info.max - info.min)
    settings = (scale, info.min - round(low / scale), info.min, info.max, dtype)
    small = graph.call_function(operators.quantize_per_tensor.default, (x, *settings))
    return graph.call_function(operators.dequantize_per_tensor.default, (small, *settings))


def _weight(module: fx.GraphModule, read: fx.Node, count: int) -> fx.Node:
    weight = module.get_parameter(read.target).detach()
    scale = weight.abs().reshape(len(weight), -1).amax(1).clamp(min=1e-6) / 127
    shape = (-1, *[1] * (weight.ndim - 1))
    held = {
        f"_frozen_param{count}": torch.round(weight / scale.reshape(shape)).to(torch.int8),
        f"_scale_{count}": scale,
        f"_zero_point_{count}": torch.zeros(len(weight), dtype=torch.int64),
    }
    for name, value in held.items():
        module.register_buffer(name, value)
    arguments = [module.graph.get_attr(name) for name in held]
    real = torch.ops.quantized_decomposed.dequantize_per_channel.default
    return module.graph.call_function(real, (*arguments, 0, -127, 127, torch.int8))


class OneLayer(nn.Module):
    """A dense layer that says its quantization itself; the settings are those of its operators."""

    def __init__(self, *, weight: str = "levels", **activation) -> None:
        super().__init__()
        register_operators("a test's network")
        random = np.random.default_rng(0)
        self.activation = {
            "scale": 0.05, "zero_point": 7, "quant_min": 0, "quant_max": 255,
            "dtype": torch.uint8,
        } | activation  # fmt: skip
        self.stored = weight
        self.weight = nn.Parameter(torch.from_numpy(random.normal(size=(5, 8)).astype("float32")))
        self.register_buffer("levels", torch.from_numpy(random.integers(-127, 128, (5, 8), "int8")))
        self.register_buffer("sums", torch.from_numpy(random.integers(-999, 999, 5, "int32")))
        self.register_buffer("scales", torch.linspace(0.005, 0.02, 5))
        self.register_buffer("zeros", torch.zeros(5, dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        operators = torch.ops.quantized_decomposed
        settings = tuple(self.activation.values())
        small = operators.quantize_per_tensor(x, *settings)
        x = operators.dequantize_per_tensor(small, *settings)
        by_channel = self.scales, self.zeros, 0, -127, 127, torch.int8
        stored = self.levels
        if self.stored == "floats":
            stored = operators.quantize_per_channel(self.weight, *by_channel)
        weight = operators.dequantize_per_channel(stored, *by_channel)
        limits = torch.iinfo(torch.int32)
        bias = operators.dequantize_per_tensor(
            self.sums, 0.001, 0, limits.min, limits.max, torch.int32
        )
        return nn.functional.linear(x, weight, bias)
