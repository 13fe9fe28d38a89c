"""Networks that come quantized, for the tests: by ONNX Runtime's tool, or node by node."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from . import networks

onnxruntime.set_default_logger_severity(3)


def quantized_by_onnx_runtime(
    folder: Path,
    make: type[networks.Network],
    activations: str = "QUInt8",
    *,
    per_channel: bool = True,
) -> Path:
    """Export a network and quantize it by `quantize_static` in the QDQ format, MinMax."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Samples(CalibrationDataReader):
        def __init__(self, names: list[str]) -> None:
            runs = [networks.example_inputs(network, seed) for seed in range(2, 6)]
            self.feeds = iter([dict(zip(names, map(np.asarray, run), strict=True)) for run in runs])

        def get_next(self):
            return next(self.feeds, None)

    network = make()
    plain = folder / f"{make.__name__}-plain.onnx"
    path = folder / f"{make.__name__}-{activations}-{per_channel}.onnx"
    names = [f"x{i}" for i in range(len(network.input_shapes))]
    # both tools warn of their own deprecations, and of what they would rather be given
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            if not plain.exists():
                torch.onnx.export(
                    network,
                    networks.example_inputs(network),
                    plain,
                    dynamo=False,
                    opset_version=17,
                    input_names=names,
                )
            quantize_static(
                plain,
                path,
                Samples(names),
                per_channel=per_channel,
                activation_type=getattr(QuantType, activations),
                weight_type=QuantType.QInt8,
            )
    finally:
        logging.disable(logging.NOTSET)
    return path


def run_onnx_runtime(path: Path, *inputs: np.ndarray) -> list[np.ndarray]:
    """What ONNX Runtime gives; its optimizer is off, so that it computes what the file says."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options)
    names = [i.name for i in session.get_inputs()]
    return session.run(None, dict(zip(names, map(np.asarray, inputs), strict=True)))


def output_scale(path: Path) -> float:
    """The step of the network's last quantization."""
    proto = onnx.load(path)
    held = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    last = [n for n in proto.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")][-1]
    return float(held[last.input[1]].max())


class Graph:
    """An ONNX graph under construction: each method adds nodes and returns their result's name."""

    def __init__(self, *shape: int, opset: int = 13) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.held: dict[str, np.ndarray] = {}
        self.shape, self.opset = shape, opset

    def node(self, op_type: str, *inputs: str, **attributes) -> str:
        name = f"{op_type}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def hold(self, name: str, value: np.ndarray) -> str:
        self.held[name] = np.asarray(value)
        return name

    def parameters(self, scale, zero_point, dtype: str = "uint8") -> list[str]:
        at = len(self.held)
        names = [self.hold(f"scale{at}", np.asarray(scale, np.float32))]
        if zero_point is not None:
            names.append(self.hold(f"zero{at}", np.asarray(zero_point, dtype)))
        return names

    def quantize(self, x: str, scale=0.05, zero_point=100, dtype: str = "uint8", **axis) -> str:
        return self.node("QuantizeLinear", x, *self.parameters(scale, zero_point, dtype), **axis)

    def dequantize(self, x: str, scale=0.05, zero_point=100, dtype: str = "uint8", **axis) -> str:
        return self.node("DequantizeLinear", x, *self.parameters(scale, zero_point, dtype), **axis)

    def fake(self, x: str, scale=0.05, zero_point=100, dtype: str = "uint8") -> str:
        return self.dequantize(self.quantize(x, scale, zero_point, dtype), scale, zero_point, dtype)

    def weight(self, name: str, levels: np.ndarray, scale=0.01, zero_point=0, axis=None) -> str:
        along = {} if axis is None else {"axis": axis}
        if axis is not None and np.ndim(zero_point) == 0:
            zero_point = np.full(np.shape(scale), zero_point)
        return self.dequantize(
            self.hold(name, levels), scale, zero_point, str(levels.dtype), **along
        )

    def save(self, path: Path, *outputs: str, dtype: int = TensorProto.FLOAT) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.held.items()],
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        proto = onnx.shape_inference.infer_shapes(proto)
        for value in proto.graph.output:
            if not value.type.tensor_type.HasField("shape"):  # of an operator that ONNX lacks
                value.type.tensor_type.shape.dim.add().dim_param = "n"
        onnx.save(proto, path)
        return path


def levels(shape: tuple[int, ...], dtype: str = "int8", seed: int = 0) -> np.ndarray:
    """Random weights over the whole range of their type."""
    limits = np.iinfo(dtype)
    random = np.random.default_rng(seed)
    return random.integers(limits.min, limits.max + 1, shape).astype(dtype)


def values(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Normal values, so that some are beyond the levels of `Graph.fake`'s scale."""
    return (3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)
