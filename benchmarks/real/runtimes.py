"""The same ONNX file in ONNX Runtime and OpenVINO, as calls on one sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Feed = Mapping[str, np.ndarray]
Calls = dict[str, Callable[[], object]]


def onnxruntime_outputs(onnx: Path, feeds: list[Feed]) -> list[list[np.ndarray]]:
    """Each output of each feed."""
    session = _session(onnx, 1)
    return [session.run(None, dict(feed)) for feed in feeds]


def runtimes(onnx: Path, feed: Feed, threads: int) -> Calls:
    """A call for each runtime that is installed and takes the file; who does not is named."""
    session = _session(onnx, threads)
    calls: Calls = {"onnxruntime": lambda: session.run(None, dict(feed))}
    try:
        return calls | {"openvino": _openvino(onnx, feed, threads)}
    except ImportError:
        print("left out: openvino is not installed (the extra peers)")
    except RuntimeError as error:
        print(f"left out: openvino does not take {onnx.name}: {str(error).splitlines()[0]}")
    return calls


def _session(onnx: Path, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def _openvino(onnx: Path, feed: Feed, threads: int) -> Callable[[], object]:
    """A request of the file with the feed's shapes, in float32."""
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx)
    model.reshape({name: list(value.shape) for name, value in feed.items()})
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer(dict(feed), share_inputs=True, share_outputs=True)
