"""One call of each operator that the reference executor knows: a function, and its shapes."""

from __future__ import annotations

from tvm import relax

IMAGE, MATRIX = (1, 4, 6, 6), (2, 8)
op, nn_op = relax.op, relax.op.nn
CALLS = {
    "clip": (lambda x: op.clip(x, -0.5, 0.7), [IMAGE]),
    "divide": (op.divide, [MATRIX, MATRIX]),
    "maximum": (op.maximum, [IMAGE, (1, 4, 1, 1)]),
    "erf": (op.erf, [MATRIX]),
    "round": (op.round, [MATRIX]),
    "gelu": (nn_op.gelu, [MATRIX]),
    "gelu_tanh": (nn_op.gelu_tanh, [MATRIX]),
    "silu": (nn_op.silu, [MATRIX]),
    "leakyrelu": (lambda x: nn_op.leakyrelu(x, 0.2), [MATRIX]),
    "prelu": (lambda x, a: nn_op.prelu(x, a, 1), [IMAGE, (4,)]),
    "softplus": (nn_op.softplus, [MATRIX]),
    "softmax": (lambda x: nn_op.softmax(x, 1), [IMAGE]),
    "log_softmax": (lambda x: nn_op.log_softmax(x, -1), [MATRIX]),
    "layer_norm": (lambda x, g, b: nn_op.layer_norm(x, g, b, axes=[-1]), [MATRIX, (8,), (8,)]),
    "rms_norm": (lambda x, g: nn_op.rms_norm(x, g, axes=[-1]), [MATRIX, (8,)]),
    "group_norm": (
        lambda x, g, b: nn_op.group_norm(x, g, b, 2, channel_axis=1, axes=[2, 3]),
        [IMAGE, (4,), (4,)],
    ),
    "mean": (lambda x: op.mean(x, axis=[2, 3]), [IMAGE]),
    "variance": (lambda x: op.variance(x, axis=[1], keepdims=True), [IMAGE]),
    "max": (lambda x: op.max(x, axis=[-1]), [IMAGE]),
    "avg_pool2d_inside": (
        lambda x: nn_op.avg_pool2d(x, (3, 3), strides=(2, 2), padding=(1, 1)),
        [IMAGE],
    ),
    "avg_pool2d_all": (
        lambda x: nn_op.avg_pool2d(x, (3, 3), padding=(1, 0, 1, 2), count_include_pad=True),
        [IMAGE],
    ),
    "max_pool2d": (
        lambda x: nn_op.max_pool2d(x, (2, 2), strides=(1, 1), padding=(0, 1, 1, 0)),
        [IMAGE],
    ),
    "adaptive_avg_pool2d": (lambda x: nn_op.adaptive_avg_pool2d(x, (4, 3)), [IMAGE]),
    "conv2d": (
        lambda x, w: nn_op.conv2d(x, w, strides=2, padding=(0, 1, 2, 1), dilation=1, groups=2),
        [IMAGE, (6, 2, 3, 3)],
    ),
    "conv1d": (lambda x, w: nn_op.conv1d(x, w, padding=1), [(1, 4, 9), (5, 4, 3)]),
    "conv2d_transpose": (
        lambda x, w: nn_op.conv2d_transpose(x, w, strides=2, padding=1, output_padding=1),
        [IMAGE, (4, 5, 3, 3)],
    ),
    "matmul": (op.matmul, [(1, 3, 4, 5), (5, 6)]),
    "attention": (lambda q: nn_op.attention(q, q, q), [(1, 5, 2, 4)]),
    "pad": (lambda x: nn_op.pad(x, [0, 0, 1, 2, 0, 0, 3, 0], pad_value=0.5), [IMAGE]),
    "permute_dims": (lambda x: op.permute_dims(x, [0, 2, 3, 1]), [IMAGE]),
    "expand_dims": (lambda x: op.expand_dims(x, [0, -1]), [MATRIX]),
    "squeeze": (lambda x: op.squeeze(x, [0]), [IMAGE]),
    "concat": (lambda a, b: op.concat([a, b], 1), [MATRIX, (2, 3)]),
    "stack": (lambda a, b: op.stack([a, b], 1), [MATRIX, MATRIX]),
    "strided_slice": (lambda x: op.strided_slice(x, [1, 3], [1, 0], [4, 6], [2, 3]), [IMAGE]),
    "take_one": (lambda x: op.take(x, relax.const(2, "int64"), axis=1), [IMAGE]),
    "take_some": (lambda x: op.take(x, relax.const([[2, 0]], "int64"), axis=2), [IMAGE]),
    "broadcast_to": (lambda x: op.broadcast_to(x, (3, 2, 8)), [MATRIX]),
    "where": (lambda a, b: op.where(op.greater(a, b), a, b), [MATRIX, MATRIX]),
    "full_like": (lambda x: op.full_like(x, relax.const(2.5)), [MATRIX]),
    "quantize": (
        lambda x: op.quantize(x, relax.const(0.25), relax.const(3, "uint8"), out_dtype="uint8"),
        [IMAGE],
    ),
}
