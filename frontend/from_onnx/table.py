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
    "AffineGrid": ("align_corners",),
    "ArgMax": ("axis", "keepdims", "select_last_index"),
    "ArgMin": ("axis", "keepdims", "select_last_index"),
    "Attention": (
        *("is_causal", "kv_num_heads", "left_window_size", "q_num_heads", "right_window_size"),
        *("qk_matmul_output_mode", "scale", "softcap", "softmax_precision"),
    ),
    "AveragePool": (*_WINDOW, "ceil_mode", "count_include_pad"),
    "BatchNormalization": ("epsilon", "momentum"),
    "BitCast": ("to",),
    "BitShift": ("direction",),
    "Cast": ("to",),
    "CastLike": (),
    "CenterCropPad": ("axes",),
    "Clip": ("max", "min"),
    "Col2Im": ("dilations", "pads", "strides"),
    "Compress": ("axis",),
    "Concat": ("axis",),
    "Constant": ("value", "value_float", "value_floats", "value_int", "value_ints"),
    "ConstantOfShape": ("value",),
    "Conv": (*_WINDOW, "group"),
    "ConvTranspose": (*_WINDOW, "group", "output_padding", "output_shape"),
    "CumProd": ("exclusive", "reverse"),
    "CumSum": ("exclusive", "reverse"),
    "DFT": ("axis", "inverse", "onesided"),
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
    "MaxPool": (*_WINDOW, "ceil_mode", "storage_order"),
    "MaxUnpool": ("kernel_shape", "pads", "strides"),
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
    "ReverseSequence": ("batch_axis", "time_axis"),
    "RoiAlign": (
        *("coordinate_transformation_mode", "output_height", "output_width"),
        *("sampling_ratio", "spatial_scale"),
    ),
    "RotaryEmbedding": ("interleaved", "num_heads", "rotary_embedding_dim"),
    "STFT": ("onesided",),
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
    "TensorScatter": ("axis", "mode"),
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
_OUTPUTS: Mapping[str, int] = {
    **{"Attention": 4, "Dropout": 2, "MaxPool": 2, "TopK": 2, "LSTM": 3, "GRU": 2, "RNN": 2}
}
"""Operators of which more outputs than the first are honoured; Split's all are."""

EXPANDED = (
    *("CausalConvWithState", "Celu", "GroupNormalization", "LayerNormalization"),
    *("MeanVarianceNormalization", "NegativeLogLikelihoodLoss", "RMSNormalization"),
    *("SoftmaxCrossEntropyLoss", "SpaceToDepth", "SwiGLU", "Swish"),
)


OF_CONSTANTS = (
    *("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"),
    *("Det", "NonZero", "Unique"),
)
"""Operators that are computed at import, where they read constants alone."""

_COUNTS = "how many elements it gives depends on the data"
_RANDOM = "it is random; a network must give the same outputs for the same inputs"
_SEQUENCES = "sequences and optional values cannot be imported"
_TEXT = "it works on text, which belongs before the network"
_WHY: Mapping[str, str] = {
    **dict.fromkeys(("NonZero", "Unique"), _COUNTS),
    "NonMaxSuppression": "how many boxes it keeps depends on the data; end the network at its "
    "boxes and scores, and choose among them in the app",
    **dict.fromkeys(
        ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"), _RANDOM
    ),
    "RandomUniformLike": _RANDOM,
    **dict.fromkeys(
        (
            *("ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement"),
            *("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase"),
            *("SequenceInsert", "SequenceLength", "SequenceMap", "SplitToSequence"),
        ),
        _SEQUENCES,
    ),
    **dict.fromkeys(
        ("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"),
        _TEXT,
    ),
    "ImageDecoder": "it reads an image file, which belongs before the network",
}


def why_refused(node: NodeProto, opset: int) -> str | None:
    """Say what of a node is not honoured, or None."""
    if node.op_type not in HONOURED:
        return _WHY.get(node.op_type, "there is no translation of it")
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
