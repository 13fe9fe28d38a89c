"""Random ONNX networks: seeded, of odd shapes, with several inputs and outputs and shared weights.

Each step picks a value that is there and appends nodes that make another. What nothing reads in
the end is an output.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

OPSET = 18
_LARGEST = 3000
_UNARY = (
    *("Relu", "Sigmoid", "Tanh", "HardSwish", "Elu", "LeakyRelu", "Abs", "Neg", "Erf", "Softplus"),
    *("Softsign", "Selu", "Floor", "Ceil", "Sign", "Mish", "ThresholdedRelu", "HardSigmoid"),
    *("Shrink", "Celu", "Sin", "Cos", "Atan", "Identity"),
)
_REDUCE = (
    *("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceSum", "ReduceSumSquare"),
)


class RandomOnnx:
    """One network in the making; `model()` gives it, `inputs()` what it is run on."""

    def __init__(self, seed: int, steps: int = 8):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights, self.shapes, self._read = [], {}, {}, set()
        self.given = {}
        for _ in range(self.random.integers(1, 3)):
            rank = int(self.random.choice([1, 2, 3, 4, 4, 4, 5]))
            self._input([int(self.random.integers(1, 8)) for _ in range(rank)])
        while len(self.nodes) < steps:
            self._step()

    def model(self) -> onnx.ModelProto:
        """Return the network; every value that nothing reads is an output."""
        made = [name for node in self.nodes for name in node.output if name]
        outputs = [name for name in made if name not in self._read]
        graph = helper.make_graph(
            self.nodes,
            "random",
            [_info(name, value) for name, value in self.given.items()],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        proto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
        )
        typed = {v.name: v for v in shape_inference.infer_shapes(proto).graph.output}
        del proto.graph.output[:]
        proto.graph.output.extend(typed[name] for name in outputs)
        return proto

    def inputs(self) -> list[np.ndarray]:
        """Return normal inputs."""
        return list(self.given.values())

    def _input(self, shape):
        name = f"x{len(self.given)}"
        self.given[name] = self.random.normal(size=shape).astype("float32")
        self.shapes[name] = tuple(shape)

    def _step(self):
        name = str(self.random.choice(list(self.shapes)))
        steps = [_unary, _unary, _binary, _reduce, _transpose, _reshape, _slice, _gather, _softmax]
        steps += [_split, _pad, _concat, _where, _clip, _top, _norm, _squeeze, _expand, _cumsum]
        rank = len(self.shapes[name])
        if rank >= 1:
            steps += [_matmul, _matmul]
        if rank in (3, 4):
            steps += [_conv, _conv, _conv, _pool, _batch_norm, _conv_transpose, _prelu]
        if rank == 4:
            steps += [_resize, _resize, _space]
        step = steps[self.random.integers(len(steps))]
        step(self, name, self.shapes[name])

    def node(self, kind, inputs, shape, outputs=1, **attributes):
        """Append a node unless what it makes is too large; return its outputs."""
        shapes = shape if isinstance(shape, list) else [shape] * outputs
        if any(np.prod(s, dtype=int) > _LARGEST for s in shapes):
            return None
        names = [f"v{len(self.nodes)}_{i}" for i in range(len(shapes))]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(
            helper.make_node(kind, inputs, names, f"n{len(self.nodes)}", **attributes)
        )
        self.shapes |= {name: tuple(s) for name, s in zip(names, shapes, strict=True)}
        self._read |= set(inputs)
        return names

    def weight(self, shape, low=None):
        """Return a weight of a shape, now and then one that is there."""
        same = [n for n, v in self.weights.items() if v.shape == tuple(shape) and v.dtype == "f4"]
        if same and low is None and self.random.random() < 0.3:
            return str(self.random.choice(same))
        value = self.random.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))
        return self.constant((np.abs(value) + low if low is not None else value).astype("f4"))

    def constant(self, value):
        """Return the name of a constant."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value)
        return name

    def integers(self, *values):
        """Return the name of a constant list of int64."""
        return self.constant(np.array(values, "int64"))

    def axis(self, shape):
        """Return an axis, counted from either end."""
        axis = int(self.random.integers(len(shape)))
        return axis - len(shape) if self.random.random() < 0.5 else axis

    def flip(self):
        """Return True half of the time."""
        return bool(self.random.random() < 0.5)

    def number(self, low, high):
        """Return an integer from low to high."""
        return int(self.random.integers(low, high + 1))


def _info(name, value):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)


def _unary(net, x, shape):
    net.node(str(net.random.choice(_UNARY)), [x], shape)


def _binary(net, x, shape):
    other = tuple(1 if net.flip() else n for n in shape[net.number(0, len(shape)) :])
    y = x if net.random.random() < 0.2 else net.weight(other, 0.5)
    kind = str(net.random.choice(["Add", "Sub", "Mul", "Div", "Max", "Min"]))
    if y == x:
        kind = str(net.random.choice(["Add", "Mul", "Max"]))
    net.node(kind, [x, y] if net.flip() or kind == "Div" else [y, x], shape)


def _reduce(net, x, shape):
    if not shape:
        return
    axes = sorted({net.axis(shape) % len(shape) for _ in range(net.number(1, 2))})
    keep = net.flip()
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    dropped = tuple(n for i, n in enumerate(shape) if i not in axes)
    signed = [a - len(shape) if net.flip() else a for a in axes]
    kind = str(net.random.choice(_REDUCE))
    if kind in ("ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean") or OPSET >= 18:
        inputs = [x, net.integers(*signed)]
        net.node(kind, inputs, kept if keep else dropped, keepdims=int(keep))


def _transpose(net, x, shape):
    if shape:
        order = net.random.permutation(len(shape)).tolist()
        net.node("Transpose", [x], tuple(shape[i] for i in order), perm=order)


def _reshape(net, x, shape):
    total = int(np.prod(shape))
    first = int(net.random.choice([n for n in range(1, total + 1) if total % n == 0]))
    net.node("Reshape", [x, net.integers(first, -1)], (first, total // first))


def _slice(net, x, shape):
    if not shape:
        return
    axis = net.axis(shape)
    length = shape[axis]
    step = int(net.random.choice([1, 1, 2, -1]))
    start, end = net.number(-length, length), net.number(-length - 1, length + 1)
    span = len(range(*slice(start, end, step).indices(length)))
    if span:
        parts = [net.integers(start), net.integers(end), net.integers(axis), net.integers(step)]
        made = list(shape)
        made[axis] = span
        net.node("Slice", [x, *parts], tuple(made))


def _gather(net, x, shape):
    if not shape:
        return
    axis = net.axis(shape)
    places = net.random.integers(-shape[axis], shape[axis], size=net.number(1, 4))
    made = list(shape)
    made[axis] = len(places)
    net.node("Gather", [x, net.integers(*places)], tuple(made), axis=axis)


def _softmax(net, x, shape):
    if shape:
        kind = str(net.random.choice(["Softmax", "LogSoftmax"]))
        net.node(kind, [x], shape, axis=net.axis(shape))


def _split(net, x, shape):
    if not shape:
        return
    axis = net.axis(shape)
    count = net.number(1, min(3, shape[axis]))
    size = -(-shape[axis] // count)
    parts = [size] * (count - 1) + [shape[axis] - size * (count - 1)]
    if min(parts) > 0:
        shapes = [
            tuple(p if i == axis % len(shape) else n for i, n in enumerate(shape)) for p in parts
        ]
        net.node("Split", [x], shapes, axis=axis, num_outputs=count)


def _pad(net, x, shape):
    if not shape:
        return
    mode = str(net.random.choice(["constant", "reflect", "edge"]))
    most = min(shape) - 1 if mode == "reflect" else 2
    widths = [net.number(0, min(2, most)) for _ in range(2 * len(shape))]
    made = tuple(n + a + b for n, a, b in zip(shape, *np.split(np.array(widths), 2), strict=True))
    net.node("Pad", [x, net.integers(*widths)], tuple(map(int, made)), mode=mode)


def _concat(net, x, shape):
    if shape:
        axis = net.axis(shape)
        made = list(shape)
        made[axis] *= 2
        net.node("Concat", [x, net.weight(shape) if net.flip() else x], tuple(made), axis=axis)


def _where(net, x, shape):
    made = net.node(str(net.random.choice(["Less", "GreaterOrEqual"])), [x, net.weight(())], shape)
    if made:
        net.node("Where", [made[0], x, net.weight(shape)], shape)
        del net.shapes[made[0]]


def _clip(net, x, shape):
    low, high = (net.constant(np.float32(v)) for v in sorted(net.random.normal(size=2)))
    net.node("Clip", [x, low if net.flip() else "", high], shape)


def _top(net, x, shape):
    if not shape:
        return
    axis = net.axis(shape)
    count = net.number(1, shape[axis])
    made = list(shape)
    made[axis] = count
    made = net.node(
        "TopK", [x, net.integers(count)], tuple(made), 2, axis=axis, largest=int(net.flip())
    )
    if made:
        del net.shapes[made[1]]


def _norm(net, x, shape):
    if shape:
        axis = net.axis(shape)
        rest = shape[axis % len(shape) :]
        if np.prod(rest) > 1:
            inputs = [x, net.weight(rest), net.weight(rest)]
            net.node("LayerNormalization", inputs, shape, axis=axis)


def _squeeze(net, x, shape):
    ones = [i for i, n in enumerate(shape) if n == 1]
    if ones and net.flip():
        axis = int(net.random.choice(ones))
        net.node("Squeeze", [x, net.integers(axis)], shape[:axis] + shape[axis + 1 :])
    elif len(shape) < 5:
        axis = net.number(0, len(shape))
        net.node("Unsqueeze", [x, net.integers(axis)], (*shape[:axis], 1, *shape[axis:]))


def _expand(net, x, shape):
    made = (2, *(net.number(1, 3) if n == 1 else n for n in shape))
    net.node("Expand", [x, net.integers(*made)], made)


def _cumsum(net, x, shape):
    if shape:
        net.node(
            "CumSum",
            [x, net.constant(np.int64(net.axis(shape)))],
            shape,
            exclusive=int(net.flip()),
            reverse=int(net.flip()),
        )


def _matmul(net, x, shape):
    width = net.number(1, 6)
    if len(shape) == 2 and net.flip():
        transposed = net.flip()
        weight = net.weight((width, shape[1]) if transposed else (shape[1], width))
        bias = [net.weight((width,))] if net.flip() else []
        made = (shape[0], width)
        net.node("Gemm", [x, weight, *bias], made, transB=int(transposed), alpha=0.5, beta=2.0)
    else:
        net.node("MatMul", [x, net.weight((shape[-1], width))], (*shape[:-1], width))


def _window(net, spatial):
    kernel = [net.number(1, min(3, n)) for n in spatial]
    strides = [net.number(1, k) for k in kernel]
    pads = [net.number(0, k - 1) for k in kernel * 2]
    lengths = [
        (n + pads[i] + pads[len(spatial) + i] - kernel[i]) // strides[i] + 1
        for i, n in enumerate(spatial)
    ]
    return kernel, strides, pads, lengths


def _conv(net, x, shape):
    channels, (kernel, strides, pads, lengths) = shape[1], _window(net, shape[2:])
    groups = channels if net.random.random() < 0.3 else 1
    width = groups * net.number(1, 2) if groups > 1 else net.number(1, 6)
    inputs = [x, net.weight((width, channels // groups, *kernel))]
    inputs += [net.weight((width,))] if net.flip() else []
    made = (shape[0], width, *lengths)
    net.node("Conv", inputs, made, pads=pads, strides=strides, group=groups)


def _conv_transpose(net, x, shape):
    kernel = [net.number(1, 3) for _ in shape[2:]]
    strides = [net.number(1, 2) for _ in shape[2:]]
    width = net.number(1, 4)
    lengths = [(n - 1) * s + k for n, s, k in zip(shape[2:], strides, kernel, strict=True)]
    weight = net.weight((shape[1], width, *kernel))
    net.node("ConvTranspose", [x, weight], (shape[0], width, *lengths), strides=strides)


def _pool(net, x, shape):
    if net.random.random() < 0.2:
        made = (*shape[:2], *[1] * (len(shape) - 2))
        net.node("GlobalAveragePool" if net.flip() else "GlobalMaxPool", [x], made)
        return
    kernel, strides, pads, lengths = _window(net, shape[2:])
    kind, made = ("MaxPool" if net.flip() else "AveragePool"), (*shape[:2], *lengths)
    include = int(net.flip()) if kind == "AveragePool" else None
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    net.node(kind, [x], made, count_include_pad=include, **attributes)


def _batch_norm(net, x, shape):
    weights = [net.weight(shape[1:2]) for _ in range(3)]
    net.node("BatchNormalization", [x, *weights, net.weight(shape[1:2], 0.5)], shape)


def _prelu(net, x, shape):
    slope = [(1,), (shape[1], *[1] * (len(shape) - 2))][net.number(0, 1)]
    net.node("PRelu", [x, net.weight(slope)], shape)


def _resize(net, x, shape):
    mode = str(net.random.choice(["nearest", "linear", "cubic"]))
    coordinates = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    sizes = [*shape[:2], net.number(2, 9), net.number(2, 9)]
    net.node(
        "Resize",
        [x, "", "", net.integers(*sizes)],
        tuple(sizes),
        mode=mode,
        coordinate_transformation_mode=str(net.random.choice(coordinates)),
        nearest_mode="floor" if mode == "nearest" else None,
    )


def _space(net, x, shape):
    if shape[2] % 2 == 0 and shape[3] % 2 == 0:
        made = (shape[0], 4 * shape[1], shape[2] // 2, shape[3] // 2)
        net.node("SpaceToDepth", [x], made, blocksize=2)
    elif shape[1] % 4 == 0:
        made = (shape[0], shape[1] // 4, 2 * shape[2], 2 * shape[3])
        net.node("DepthToSpace", [x], made, blocksize=2, mode="CRD" if net.flip() else "DCR")
