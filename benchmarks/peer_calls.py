"""What users run today: a torch network in ONNX Runtime, OpenVINO and torch, each as a call.

Every function gives calls by name, on one NumPy input, with the same number of threads. OpenVINO
and NNCF are the extra `peers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

Call = Callable[[np.ndarray], object]
Calls = dict[str, Call]


def save_onnx(network: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Export the network; its input is `x`."""
    program = torch.onnx.export(
        network, (torch.zeros(shape),), dynamo=True, verbose=False, input_names=["x"]
    )
    program.save(path)


def onnxruntime_session(onnx: Path, threads: int, **options: Any) -> Any:
    """A session of the model; further options by name."""
    import onnxruntime

    set_to = onnxruntime.SessionOptions()
    for name, value in {"intra_op_num_threads": threads, **options}.items():
        setattr(set_to, name, value)
    return onnxruntime.InferenceSession(onnx, set_to, providers=["CPUExecutionProvider"])


def onnxruntime_call(onnx: Path, threads: int) -> Call:
    """A session of the model, whose input is `x`, as a call."""
    session = onnxruntime_session(onnx, threads)
    return lambda x: session.run(None, {"x": x})


def onnxruntime_int8(onnx: Path, samples: Sequence[np.ndarray]) -> Path:
    """Static int8 (QDQ, per channel) of the model, calibrated on `samples`, beside it."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self):
            sample = next(self.left, None)
            return None if sample is None else {"x": sample}

    ready, int8 = onnx.with_suffix(".ready.onnx"), onnx.with_suffix(".int8.onnx")
    quant_pre_process(onnx, ready, skip_symbolic_shape=True)
    quantize_static(
        ready,
        int8,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
    )
    return int8


def onnxruntime_calls(onnx: Path, samples: Sequence[np.ndarray], threads: int) -> Calls:
    """fp32, and static int8 calibrated on `samples`."""
    return {
        "onnxruntime-fp32": onnxruntime_call(onnx, threads),
        "onnxruntime-int8": onnxruntime_call(onnxruntime_int8(onnx, samples), threads),
    }


def openvino_request(model, precision: str, threads: int, **settings: Any) -> Any:
    """A request of a model, read or in a file; further settings by name."""
    import openvino

    settings |= {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    return openvino.Core().compile_model(model, "CPU", settings).create_infer_request()


def openvino_call(model, precision: str, threads: int) -> Call:
    """A request of an OpenVINO model, whose input is `x`, as a call."""
    request = openvino_request(model, precision, threads)
    return lambda x: request.infer({"x": x}, share_inputs=True, share_outputs=True)


def openvino_calls(onnx: Path, samples: Sequence[np.ndarray], threads: int) -> Calls:
    """fp32, bf16, and NNCF's int8 calibrated on `samples`."""
    import nncf
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx)
    quantized = nncf.quantize(core.read_model(onnx), nncf.Dataset([{"x": s} for s in samples]))
    return {
        "openvino-fp32": openvino_call(model, "f32", threads),
        "openvino-bf16": openvino_call(model, "bf16", threads),
        "openvino-int8": openvino_call(quantized, "f32", threads),
    }


def torch_calls(network: nn.Module, shape: tuple[int, ...], threads: int) -> Calls:
    """Eager and compiled, channels last where there are images."""
    torch.set_num_threads(threads)
    if len(shape) == 4:
        network = network.to(memory_format=torch.channels_last)
    compiled = torch.compile(network)

    def call(function):
        def run(x: np.ndarray) -> torch.Tensor:
            tensor = torch.from_numpy(x)
            if tensor.ndim == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                return function(tensor)

        run(np.zeros(shape, np.float32))
        return run

    return {"torch-eager": call(network), "torch-compile": call(compiled)}
