"""torch networks that PT2E quantized, read with their own scales and zero points.

Before  conv2d(dequantize_per_tensor(quantize_per_tensor(x, 0.1, 3, 0, 255, uint8), …),
        dequantize_per_channel(_frozen_param0, _scale_0, _zero_point_0, 0, -127, 127, int8))
After   conv2d(dequantize(quantize(x, 0.1, 3)), dequantize(w, s, 0)), w named after its layer
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.export import ExportedProgram
from tvm import relax

from ...errors import ModelError
from ...ir.edit import shape_of
from ..constants import digest
from ..quantization import QuantParams
from .program import array

_OPERATORS = "torch.ao.quantization.fx._decomposed"
# How convert_pt2e names the weights that it quantized.
_NAMELESS = re.compile(r"_frozen_param\d+")
_PARTS = {1: "weight", 2: "bias"}  # of the arguments of a convolution or a dense layer
_LAYERS = (torch.ops.aten.convolution.default, torch.ops.aten.linear.default)


def register_operators(name: str) -> None:
    """Make torch know the operators of a network that PT2E quantized, before it is loaded."""
    if hasattr(torch.ops.quantized_decomposed, "quantize_per_tensor"):
        return
    try:
        importlib.import_module(_OPERATORS)
    except ImportError as error:
        raise ModelError(
            f"{name} was quantized by PT2E, and torch {torch.__version__} comes without its "
            f"operators ({_OPERATORS}); install torchao and import torchao.quantization.pt2e first"
        ) from error


class Quantization:
    """Converters of a program's quantize and dequantize operators.

    `names` gives the names of the integer weights that they saw, by `constants.digest`.
    """

    def __init__(self, program: ExportedProgram) -> None:
        tensors = {**program.state_dict, **program.constants}
        self.names: dict[bytes, str] = {}
        self._tensors = {
            spec.arg.name: (spec.target, array(tensors[spec.target]))
            for spec in program.graph_signature.input_specs
            if spec.target in tensors
        }

    @property
    def converters(self) -> dict[str, Callable[[fx.Node, Any], relax.Expr]]:
        """By the operator's name."""
        kinds = [f"per_tensor.{form}" for form in ("default", "tensor", "tensor2")]
        return {
            f"quantized_decomposed.{name}_{kind}": convert
            for kind in (*kinds, "per_channel.default")
            for name, convert in (("quantize", self._quantize), ("dequantize", self._dequantize))
        }

    def _quantize(self, node: fx.Node, translation: Any) -> relax.Expr:
        x = translation.read(node.args[0])
        params, (low, high) = self._params(node, x)
        limits = np.iinfo(params.dtype)
        if node.args[0].name in self._tensors:
            name, array = self._tensors[node.args[0].name]
            quantized = np.clip(params.quantize_array(array), low, high).astype(params.dtype)
            self.names[digest(quantized)] = name
            return relax.const(quantized, params.dtype)
        emit = translation.builder.emit
        for bound, limit, keep in (
            (low, limits.min, relax.op.maximum),
            (high, limits.max, relax.op.minimum),
        ):
            if bound != limit:
                value = params.broadcast(params.dequantize_value(bound), x.ty.ndim)
                x = emit(keep(x, relax.const(value, "float32")))
        return emit(params.quantize(x))

    def _dequantize(self, node: fx.Node, translation: Any) -> relax.Expr:
        if node.kwargs.get("out_dtype") not in (None, torch.float32):
            raise ValueError(f"it gives {node.kwargs['out_dtype']}; only float32 can be imported")
        x = translation.read(node.args[0])
        tensor = self._tensors.get(node.args[0].name)
        if tensor is not None:
            name, array = tensor
            self.names[digest(array)] = _layer_weight_name(node, name)
        params, _ = self._params(node, x)
        return translation.builder.emit(params.dequantize(x))

    def _params(self, node: fx.Node, x: relax.Expr) -> tuple[QuantParams, tuple[int, int]]:
        """Read the arguments: scale, zero point, axis where per channel, limits, dtype."""
        args = list(node.args)
        axis = args.pop(3) if "per_channel" in node.target.__name__ else 0
        scale, zero_point, low, high = (self._number(arg) for arg in args[1:5])
        dtype = str(args[5]).removeprefix("torch.")
        if zero_point is None:
            zero_point = np.zeros((), np.int64)
        params = QuantParams.from_source(shape_of(x), scale, zero_point, dtype, axis)
        limits = np.iinfo(dtype)
        if not limits.min <= low < high <= limits.max:
            raise ValueError(f"a range of {low} to {high} does not fit {dtype}")
        return params, (int(low), int(high))

    def _number(self, arg: Any) -> Any:
        if not isinstance(arg, fx.Node):
            return arg
        if arg.name not in self._tensors:
            raise ValueError(
                "scale and zero point must be constants; quantize statically (is_dynamic=False)"
            )
        return self._tensors[arg.name][1]


def _layer_weight_name(node: fx.Node, name: str) -> str:
    """``conv1.weight`` for what the layer conv1 reads as its weight, where PT2E lost the name."""
    if not _NAMELESS.fullmatch(name):
        return name
    for user in node.users:
        stack = list(user.meta.get("nn_module_stack", {}).values())
        if user.target in _LAYERS and stack and stack[-1][0]:
            part = _PARTS.get(user.args.index(node))
            return f"{stack[-1][0]}.{part}" if part else name
    return name
