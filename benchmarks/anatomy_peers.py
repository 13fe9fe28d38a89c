"""What the profilers of ONNX Runtime and OpenVINO say of one call: rows of `anatomy.py`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from networks import random_data, seeded
from peer_calls import onnxruntime_int8, onnxruntime_session, openvino_request, save_onnx

ROUNDS = 30


def warm_call_us(call: Callable[[], object]) -> float:
    """Microseconds of one call right after another."""
    call()
    start = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - start)


def of_onnxruntime(kind: type, onnx: Path, runner: str, threads: int) -> dict[str, Any]:
    """What its profiler says of its kernels, and what a call takes without the profiler."""
    (x,) = random_data(kind.example_shape, 1).inputs
    plain = onnxruntime_session(onnx, threads)
    prefix = str(onnx.with_suffix(""))
    told = onnxruntime_session(onnx, threads, enable_profiling=True, profile_file_prefix=prefix)
    call_us = _median_us(partial(plain.run, None, {"x": x}))
    for _ in range(ROUNDS):
        told.run(None, {"x": x})
    events = json.loads(Path(told.end_profiling()).read_text())
    kernels = [event for event in events if event.get("name", "").endswith("_kernel_time")]
    functions_us = sum(event["dur"] for event in kernels) / ROUNDS
    return _of_peer(kind, runner, call_us, functions_us, len(kernels) // ROUNDS)


def of_openvino(kind: type, onnx: Path, runner: str, threads: int) -> dict[str, Any]:
    """What its performance counters say, and what a call takes without them."""
    (x,) = random_data(kind.example_shape, 1).inputs
    plain = openvino_request(onnx, "f32", threads)
    told = openvino_request(onnx, "f32", threads, PERF_COUNT=True)
    call_us = _median_us(partial(plain.infer, {"x": x}, share_inputs=True, share_outputs=True))
    sums, counts = [], []
    for _ in range(ROUNDS):
        told.infer({"x": x})
        times = [1e6 * info.real_time.total_seconds() for info in told.profiling_info]
        sums.append(sum(times))
        counts.append(sum(us > 0 for us in times))
    return _of_peer(kind, runner, call_us, float(np.median(sums)), int(np.median(counts)))


def _median_us(call: Callable[[], object]) -> float:
    return float(np.median([warm_call_us(call) for _ in range(ROUNDS)]))


def _of_peer(kind: type, runner: str, call_us: float, functions_us: float, count: int):
    return {
        "network": kind.__name__,
        "runner": runner,
        "call_us": call_us,
        "functions_us": functions_us,
        "between_us": call_us - functions_us,
        "functions_count": count,
    }


def theirs(kind: type, folder: Path, threads: int) -> list[dict[str, Any]]:
    """The rows of the peers that are installed."""
    onnx = folder / "net.onnx"
    save_onnx(seeded(kind), kind.example_shape, onnx)
    (inputs,) = random_data(kind.example_shape).inputs
    int8 = onnxruntime_int8(onnx, np.split(inputs, len(inputs)))
    found = [
        of_onnxruntime(kind, onnx, "onnxruntime-fp32", threads),
        of_onnxruntime(kind, int8, "onnxruntime-int8", threads),
    ]
    try:
        found.append(of_openvino(kind, onnx, "openvino-fp32", threads))
    except ImportError as error:
        print(f"left out: {error}")
    return found
