"""What can be imported: each operator, with the attributes that are honoured.

An attribute that is not listed must have its default, an output beyond the first must be unread;
what is not so is refused by name. `EXPANDED` are written in other operators by ONNX's own
definition of them, where an operator's row does not cover a node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import AttributeProto, NodeProto, helper

_ELEMENTWISE = (
    *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitwiseAnd"),
    *("BitwiseNot", "BitwiseOr", "BitwiseXor", "Ceil", "Cos", "Cosh", "Div", "Equal", "Erf", "Exp"),
    *("Floor", "Greater", "GreaterOrEqual", "HardSwish", "Identity", "IsNaN", "Less"),
    *("LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mul", "Neg", "Not", "Or", "PRelu"),
    *("Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"),
    *("Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh", "Where", "Xor"),
)
_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
_WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")

HONOURED: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(_ELEMENTWISE, ()),
    **dict.fromkeys(_REDUCTIONS, ("axes", "keepdims", "noop_with_empty_axes")),
    "ArgMax": ("axis", "keepdims", "select_last_index"),
    "ArgMin": ("axis", "keepdims", "select_last_index"),
    "AveragePool": (*_WINDOW, "ceil_mode", "count_include_pad"),
    "BatchNormalization": ("epsilon", "momentum"),
    "BitShift": ("direction",),
    "Cast": ("to",),
    "CastLike": (),
    "Clip": ("max", "min"),
    "Concat": ("axis",),
    "Constant": ("value", "value_float", "value_floats", "value_int", "value_ints"),
    "ConstantOfShape": ("value",),
    "Conv": (*_WINDOW, "group"),
    "ConvTranspose": (*_WINDOW, "group", "output_padding", "output_shape"),
    "CumSum": ("exclusive", "reverse"),
    "DepthToSpace": ("blocksize", "mode"),
    "DequantizeLinear": ("axis", "block_size", "output_dtype"),
    "Dropout": ("ratio", "seed"),
    "Einsum": ("equation",),
    "Elu": ("alpha",),
    "Expand": (),
    "EyeLike": ("dtype", "k"),
    "Flatten": ("axis",),
    "Gather": ("axis",),
    "GatherElements": ("axis",),
    "GatherND": ("batch_dims",),
    "Gelu": ("approximate",),
    "Gemm": ("alpha", "beta", "transA", "transB"),
    "GlobalAveragePool": (),
    "GlobalLpPool": ("p",),
    "GlobalMaxPool": (),
    "GridSample": ("align_corners", "mode", "padding_mode"),
    "GroupNormalization": ("epsilon", "num_groups"),
    "HardSigmoid": ("alpha", "beta"),
    "Hardmax": ("axis",),
    "InstanceNormalization": ("epsilon",),
    "IsInf": ("detect_negative", "detect_positive"),
    "LRN": ("alpha", "beta", "bias", "size"),
    "LayerNormalization": ("axis", "epsilon"),
    "LeakyRelu": ("alpha",),
    "LogSoftmax": ("axis",),
    "LpNormalization": ("axis", "p"),
    "LpPool": (*_WINDOW, "p"),
    "MatMul": (),
    "MaxRoiPool": ("pooled_shape", "spatial_scale"),
    "MaxPool": (*_WINDOW, "ceil_mode"),
    "Mod": ("fmod",),
    "OneHot": ("axis",),
    "Pad": ("mode", "pads", "value"),
    "QuantizeLinear": ("axis", "block_size", "output_dtype", "precision"),
    "RMSNormalization": ("axis", "epsilon"),
    "Range": (),
    "Reshape": ("allowzero",),
    "Resize": (
        *("axes", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside"),
        *("keep_aspect_ratio_policy", "mode", "nearest_mode"),
    ),
    "RoiAlign": ("output_height", "output_width", "sampling_ratio", "spatial_scale"),
    "Scatter": ("axis",),
    "ScatterElements": ("axis", "reduction"),
    "ScatterND": ("reduction",),
    "Selu": ("alpha", "gamma"),
    "Shape": ("end", "start"),
    "Shrink": ("bias", "lambd"),
    "Size": (),
    "Slice": ("axes", "ends", "starts"),
    "Softmax": ("axis",),
    "SpaceToDepth": ("blocksize",),
    "Split": ("axis", "num_outputs", "split"),
    "Squeeze": ("axes",),
    "ThresholdedRelu": ("alpha",),
    "Tile": (),
    "TopK": ("axis", "k", "largest", "sorted"),
    "Transpose": ("perm",),
    "Trilu": ("upper",),
    "Unsqueeze": ("axes",),
    "Upsample": ("mode", "scales"),
    "LSTM": ("activations", "direction", "hidden_size", "layout"),
    "GRU": ("activations", "direction", "hidden_size", "layout", "linear_before_reset"),
    "RNN": ("activations", "direction", "hidden_size", "layout"),
}
RECURRENT = ("LSTM", "GRU", "RNN")
_OUTPUTS: Mapping[str, int] = {"TopK": 2, "LSTM": 3, "GRU": 2, "RNN": 2}
"""Operators of which more outputs than the first are honoured; Split's all are."""

EXPANDED = (
    *("AffineGrid", "Attention", "Celu", "CenterCropPad", "GroupNormalization"),
    *("LayerNormalization", "MeanVarianceNormalization", "NegativeLogLikelihoodLoss"),
    *("RMSNormalization", "RotaryEmbedding", "SoftmaxCrossEntropyLoss", "SpaceToDepth"),
    *("SwiGLU", "Swish"),
)


def why_refused(node: NodeProto, opset: int) -> str | None:
    """Say what of a node is not honoured, or None."""
    if node.op_type not in HONOURED:
        return "there is no translation of it"
    for attribute in node.attribute:
        if attribute.name not in HONOURED[node.op_type] and not _is_default(attribute, node, opset):
            value = helper.get_attribute_value(attribute)
            value = value.decode(errors="replace") if isinstance(value, bytes) else value
            return f"its attribute {attribute.name} = {value} is not supported"
    if node.op_type != "Split" and len(node.output) > _OUTPUTS.get(node.op_type, 1):
        return f"its output {node.output[-1]!r} is not supported"
    return None


def _is_default(attribute: AttributeProto, node: NodeProto, opset: int) -> bool:
    try:
        known: Any = onnx.defs.get_schema(node.op_type, opset).attributes.get(attribute.name)
    except onnx.defs.SchemaError:
        return False
    if known is None or known.default_value.type == AttributeProto.UNDEFINED:
        return False
    default = helper.get_attribute_value(known.default_value)
    return bool(default == helper.get_attribute_value(attribute))
