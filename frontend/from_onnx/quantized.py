"""Quantized ONNX networks: QDQ as it stands, QLinearConv and QLinearMatMul rewritten as QDQ.

Before  QLinearConv(x, sx, zx, w, sw, zw, sy, zy, b)
After   QuantizeLinear(Conv(DequantizeLinear(x, sx, zx), DequantizeLinear(w, sw, zw),
        DequantizeLinear(b, sx * sw)), sy, zy)

Dynamic quantization (DynamicQuantizeLinear, ConvInteger) and ONNX Runtime's own operators
(QLinearAdd) are refused. `frontend/qdq.py` brings the imported network into the IR's form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableSequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from tvm import relax

from ...errors import UnsupportedOperator
from ...ir.edit import shape_of
from ..constants import digest
from ..quantization import QuantParams, constant_value, why_unsupported

Inputs = MutableSequence[Any]

AS_QDQ = (
    "quantize the network statically in the QDQ format "
    "(onnxruntime: quantize_static with quant_format=QuantFormat.QDQ)"
)
NOT_QDQ = ("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
_QDQ = ("QuantizeLinear", "DequantizeLinear")


def why_refused(node: NodeProto) -> str | None:
    """Why a quantized operator cannot be imported, or None."""
    if node.op_type in NOT_QDQ:
        return f"its scales are computed as it runs; {AS_QDQ}"
    if node.domain in ("", "ai.onnx"):
        return None
    if node.op_type in _QDQ:
        return f"it is in the domain {node.domain}; export with int8 or uint8 in standard ONNX"
    return f"it is in the domain {node.domain}; {AS_QDQ}" if node.op_type[0] == "Q" else None


def quantize(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """QuantizeLinear: uint8 unless a zero point or output_dtype says otherwise."""
    x = inputs[0]
    if str(x.ty.dtype) != "float32":
        raise ValueError(f"it quantizes {x.ty.dtype}; only float32 can be imported")
    wanted = attrs.get("output_dtype") or TensorProto.UINT8
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(wanted)).name
    if _optional(inputs, 2) is not None:
        dtype = str(inputs[2].ty.dtype)
    return _params(inputs, attrs, dtype).quantize(x)


def dequantize(inputs: Inputs, attrs: dict[str, Any], held: Any) -> relax.Expr:
    """DequantizeLinear of an activation or of a weight."""
    _check_float32("output_dtype", attrs)
    return _params(inputs, attrs, str(inputs[0].ty.dtype)).dequantize(inputs[0])


OWN: dict[str, Callable[[Inputs, dict[str, Any], Any], relax.Expr]] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
}


def _params(inputs: Inputs, attrs: dict[str, Any], dtype: str) -> QuantParams:
    _check_float32("precision", attrs)
    if attrs.get("block_size"):
        raise ValueError(
            "block-wise quantization cannot be imported; quantize per tensor or per channel"
        )
    scale, given = constant_value(inputs[1]), _optional(inputs, 2)
    if scale.dtype != np.float32:
        raise ValueError(f"its scale is {scale.dtype}; only float32 can be imported")
    zero_point = np.zeros((), dtype) if given is None else constant_value(given)
    return QuantParams.from_source(
        shape_of(inputs[0]), scale, zero_point, dtype, attrs.get("axis", 1)
    )


def _check_float32(attribute: str, attrs: dict[str, Any]) -> None:
    if attrs.get(attribute, 0) not in (0, TensorProto.FLOAT):
        found = TensorProto.DataType.Name(attrs[attribute]).lower()
        raise ValueError(f"its {attribute} is {found}; only float32 can be imported")


def _optional(inputs: Inputs, index: int) -> relax.Expr | None:
    return inputs[index] if index < len(inputs) else None


def parameter_names(proto: ModelProto) -> set[str]:
    """Name the scales and zero points: parameters of operators, not weights."""
    return {name for node in proto.graph.node if node.op_type in _QDQ for name in node.input[1:]}


def integer_names(path: Path, proto: ModelProto) -> dict[bytes, str]:
    """Give the source's names of the integer tensors that DequantizeLinear reads, by their digest.

    Types that TVM cannot even hold as constants are refused.
    """
    read = {node.input[0]: node for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    names = {}
    for name, tensor in _tensors(proto):
        if name in read:
            array = numpy_helper.to_array(tensor)
            if (why := why_unsupported(array.dtype.name)) is not None:
                raise _refusal(path, read[name], why)
            names[digest(array)] = name
    return names


def _refusal(path: Path, node: NodeProto, why: object) -> UnsupportedOperator:
    where = f"{path}: operator {node.op_type} (node {node.name or node.output[0]!r})"
    return UnsupportedOperator(f"{where} cannot be imported: {why}")


def _tensors(proto: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    for tensor in proto.graph.initializer:
        yield tensor.name, tensor
    for node in proto.graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                yield node.output[0], attribute.t


def rewrite_as_qdq(path: Path, proto: ModelProto) -> None:
    """Rewrite QLinearConv and QLinearMatMul as QDQ, in place."""
    if not any(node.op_type in _REWRITES for node in proto.graph.node):
        return
    shapes = {name: tuple(tensor.dims) for name, tensor in _tensors(proto)}
    nodes: list[NodeProto] = []
    for node in proto.graph.node:
        write = _REWRITES.get(node.op_type)
        try:
            nodes += [node] if write is None else write(node, shapes)
        except ValueError as error:
            raise _refusal(path, node, error) from error
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _conv(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> list[NodeProto]:
    x, w, y = node.input[0:3], node.input[3:6], node.input[6:8]
    nodes = [_dequantize(node, "x", x), _dequantize(node, "w", w, axis=0)]
    operands = [made.output[0] for made in nodes]
    if len(node.input) > 8 and node.input[8]:
        scale = f"{node.output[0]}/scale"
        nodes.append(helper.make_node("Mul", [x[1], w[1]], [scale]))
        nodes.append(_dequantize(node, "b", [node.input[8], scale], axis=0))
        operands.append(nodes[-1].output[0])
    return [*nodes, *_qdq(node, "Conv", operands, y)]


def _matmul(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> list[NodeProto]:
    a, b, y = node.input[0:3], node.input[3:6], node.input[6:8]
    if prod(shapes.get(a[1], (0,))) != 1:
        raise ValueError(f"the scale of its left side is not one constant; {AS_QDQ}")
    nodes = [_dequantize(node, "a", a), _dequantize(node, "b", b, axis=-1)]
    return [*nodes, *_qdq(node, "MatMul", [made.output[0] for made in nodes], y)]


_REWRITES = {"QLinearConv": _conv, "QLinearMatMul": _matmul}


def _dequantize(node: NodeProto, part: str, inputs: Any, **attributes: int) -> NodeProto:
    name = f"{node.output[0]}/{part}"
    return helper.make_node("DequantizeLinear", list(inputs), [name], name=name, **attributes)


def _qdq(node: NodeProto, op_type: str, operands: list[str], y: Any) -> list[NodeProto]:
    sums = f"{node.output[0]}/sums"
    compute = helper.make_node(op_type, operands, [sums], name=node.name)
    compute.attribute.extend(node.attribute)
    quantize = helper.make_node("QuantizeLinear", [sums, *y], list(node.output), name=node.name)
    return [compute, quantize]
