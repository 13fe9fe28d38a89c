"""Others on this machine's CUDA device: torch, eager and compiled, and ONNX Runtime; its roofline.

What is not installed, or has no CUDA, is left out and named.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from adaspring.explore.measure.timing import time_ms

Call = Callable[[Any], Any]
_SIDE, _BYTES, _REPEATS = 4096, 1 << 30, 20


def torch_is_here() -> bool:
    """Whether the installed torch computes on CUDA."""
    return torch.cuda.is_available()


def torch_calls(network: nn.Module, x: np.ndarray) -> dict[str, Call]:
    """Eager and compiled (max-autotune), in fp32, tf32 and fp16; each returns when it is done."""
    there = torch.from_numpy(x).cuda()
    calls: dict[str, Call] = {}
    for form, dtype in (("fp32", torch.float32), ("tf32", torch.float32), ("fp16", torch.float16)):
        placed = _copy(network).cuda().to(dtype)
        given = there.to(dtype)
        calls[f"torch {form}"] = _done(placed, given, tf32=form == "tf32")
        compiled = torch.compile(placed, mode="max-autotune")
        calls[f"torch.compile {form}"] = _done(compiled, given, tf32=form == "tf32")
    return calls


def _copy(network: nn.Module) -> nn.Module:
    stored = io.BytesIO()
    torch.save(network, stored)
    stored.seek(0)
    return torch.load(stored, weights_only=False)


def _done(network: Callable, x: torch.Tensor, *, tf32: bool) -> Call:
    def call(_: Any) -> Any:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        with torch.inference_mode():
            result = network(x)
        torch.cuda.synchronize()
        return result

    return call


def onnxruntime_call(network: nn.Module, x: np.ndarray) -> Call | None:
    """ONNX Runtime's CUDA provider in fp32, its input there already; None where it has none."""
    try:
        import onnxruntime
    except ImportError:
        return None
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return None
    stored = io.BytesIO()
    torch.onnx.export(network, (torch.from_numpy(x),), stored, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(stored.getvalue(), providers=["CUDAExecutionProvider"])
    binding = session.io_binding()
    there = onnxruntime.OrtValue.ortvalue_from_numpy(x, "cuda", 0)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, there)
    binding.bind_output(session.get_outputs()[0].name, "cuda", 0)
    return lambda _: session.run_with_iobinding(binding)


@dataclass(frozen=True)
class Roofline:
    """What torch's own products and copies reach: 1e9 operations and bytes a second."""

    gops: dict[str, float]
    bandwidth: float


def roofline() -> Roofline:
    """Measure it; products of 4096 x 4096, a copy of 1 GiB."""
    side = torch.randn(_SIDE, _SIDE, device="cuda")
    half, bytes_ = side.half(), side.mul(10).to(torch.int8)
    torch.backends.cuda.matmul.allow_tf32 = False
    products: dict[str, Callable[[], torch.Tensor]] = {
        "fp32": lambda: side @ side,
        "fp16": lambda: half @ half,
        "int8": lambda: torch._int_mm(bytes_, bytes_),
    }
    operations = 2.0 * _SIDE**3
    gops = {form: operations / (1e6 * _best_ms(product)) for form, product in products.items()}
    moved = torch.empty(_BYTES, dtype=torch.uint8, device="cuda")
    return Roofline(gops, 2 * _BYTES / (1e6 * _best_ms(moved.clone)))


def _best_ms(call: Callable[[], torch.Tensor]) -> float:
    def done() -> None:
        call()
        torch.cuda.synchronize()

    done()
    return min(time_ms(done) for _ in range(_REPEATS))
