"""Random small networks, written directly in the passes' IR: what hypothesis draws, and shrinks.

A network is a list of (step, number): each step of `ON_IMAGES` turns an image into another, the
number decides its widths and activation. Then come a head of dense layers, or tokens with the
steps of `ON_TOKENS`. Every drawn list is a valid network.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from tvm import relax
from tvm.relax import op
from tvm.script import relax as script

from adaspring.ir.graph import shape_of
from adaspring.ir.model import Model, TensorSpec

ACTIVATIONS = (op.nn.relu, op.nn.silu, op.tanh, lambda x: x)


class Builder:
    """Emits calls as the frontend writes them; weights come from a seed."""

    def __init__(self, seed: int):
        self.block, self.weights, self.params = relax.BlockBuilder(), {}, []
        self.random, self.extra_outputs = np.random.default_rng(seed), []

    def weight(self, name, shape, spread=None):
        """Make a weight whose layer keeps the size of what it reads."""
        scale = spread or 1.2 / np.sqrt(max(np.prod(shape[1:]), 1))
        self.weights[name] = (scale * self.random.normal(size=shape)).astype(np.float32)
        self.params.append(relax.Var(name.replace(".", "_"), script.Tensor(shape, "float32")))
        return self.params[-1]

    def named(self, name):
        return self.params[list(self.weights).index(name)]

    def emit(self, expr):
        return self.block.emit(expr)

    def conv(self, x, c_out, kernel=3, groups=1, weight=None):
        name, c_in = f"conv{len(self.weights)}", shape_of(x)[1]
        if weight is None:
            weight = self.weight(f"{name}.weight", (c_out, c_in // groups, kernel, kernel))
        bias = self.weight(f"{name}.bias", (c_out,), 0.3)
        y = self.emit(op.nn.conv2d(x, weight, padding=kernel // 2, groups=groups))
        return self.emit(op.add(y, self.emit(op.reshape(bias, (1, c_out, 1, 1)))))

    def dense(self, x, width):
        name = f"dense{len(self.weights)}"
        weight = self.weight(f"{name}.weight", (width, shape_of(x)[-1]))
        bias = self.weight(f"{name}.bias", (width,), 0.3)
        return self.emit(op.add(self.emit(op.matmul(x, self.emit(op.permute_dims(weight)))), bias))

    def act(self, x, number):
        return self.emit(ACTIVATIONS[number % len(ACTIVATIONS)](x))


def _conv(net, x, n):
    return net.act(net.conv(x, 4 * (1 + n % 3), 1 + 2 * (n // 3 % 2)), n)


def _depthwise(net, x, n):
    channels = shape_of(x)[1]
    return net.act(net.conv(x, channels * (1 + n % 2), 3, groups=channels), n // 2)


def _grouped(net, x, n):
    x = net.act(net.conv(x, 12, 1), n)
    return net.conv(x, (12, 24)[n % 2], 3, groups=(2, 4, 3, 6)[n // 2 % 4])


def _residual(net, x, n):
    y = net.conv(net.act(net.conv(x, 4 + 4 * (n % 2)), n), shape_of(x)[1], 1)
    return net.act(net.emit(op.add(x, y) if n % 3 else op.add(y, x)), n)


def _projected(net, x, n):
    return net.emit(op.add(net.conv(x, 8, 1), net.act(net.conv(x, 8), n)))


def _concat(net, x, n):
    parts = [x, net.act(net.conv(x, 4 + n % 5), n), net.conv(x, 2, 1)]
    return net.emit(op.concat(parts[n % 2 :], axis=1))


def _split(net, x, n):
    wide = net.conv(x, 8 + 4 * (n % 2))
    if n % 3 == 2:
        left, right = (
            net.emit(op.strided_slice(wide, [1], [start], [end]))
            for start, end in ((0, 4), (4, 100))
        )
    else:
        halves = net.emit(op.split(wide, [4], axis=1))
        left, right = (net.emit(relax.TupleGetItem(halves, i)) for i in (0, 1))
    if n % 3 == 0:
        gate = net.emit(op.sigmoid(net.conv(right, 4, 1)))
        return net.emit(op.multiply(left, gate))
    return net.emit(op.concat([net.act(right, n), net.conv(left, 5)], axis=1))


def _gate(net, x, n):
    channels = shape_of(x)[1]
    mean = net.emit(op.mean(x, [2, 3], keepdims=True))
    squeezed = net.act(net.conv(mean, 3, 1), n)
    return net.emit(op.multiply(x, net.emit(op.sigmoid(net.conv(squeezed, channels, 1)))))


def _affine(net, x, n):
    shape = (1, shape_of(x)[1], 1, 1)
    scale, shift = (net.weight(f"affine{len(net.weights)}", shape, 1.0) for _ in range(2))
    if n % 2:
        shift = net.emit(op.broadcast_to(shift, shape_of(x)))
    return net.emit(op.add(net.emit(op.multiply(scale, x)), shift))


def _shared(net, x, n):
    channels = shape_of(x)[1]
    y = net.act(net.conv(x, channels, 1), n)
    weight = net.named([name for name in net.weights if name.endswith(".weight")][-1])
    return net.conv(y, channels, 1, weight=weight)


def _pool(net, x, n):
    if shape_of(x)[2] < 2:
        return x
    pool = op.nn.max_pool2d if n % 2 else op.nn.avg_pool2d
    return net.emit(pool(x, [2, 2], strides=[2, 2]))


def _shuffle(net, x, n):
    groups = 2 + n % 2
    y = net.conv(x, 12, 1)
    _, channels, height, width = shape_of(y)
    y = net.emit(op.reshape(y, (1, groups, channels // groups, height, width)))
    y = net.emit(op.permute_dims(y, [0, 2, 1, 3, 4]))
    y = net.emit(op.reshape(y, (1, channels, height, width)))
    return net.conv(y, 12, 1, groups=groups if n // 2 % 2 else 1)


def _group_norm(net, x, n):
    y = net.conv(x, 8)
    gamma, beta = (net.weight(f"norm{len(net.weights)}", (8,), 1.0) for _ in range(2))
    groups = (2, 4)[n % 2]
    return net.emit(op.nn.group_norm(y, gamma, beta, groups, channel_axis=1, axes=[2, 3]))


def _output(net, x, n):
    net.extra_outputs.append(net.conv(x, 2, 1))
    return x


def _norm(net, x):
    width = shape_of(x)[-1]
    gamma, beta = (net.weight(f"norm{len(net.weights)}", (width,), 1.0) for _ in range(2))
    return net.emit(op.nn.layer_norm(x, gamma, beta, axes=-1))


def _mlp(net, x, n):
    hidden = net.act(net.dense(_norm(net, x), 8 + 4 * (n % 2)), n)
    return net.emit(op.add(x, net.dense(hidden, shape_of(x)[-1])))


def _attention(net, x, n):
    _, length, width = shape_of(x)
    heads, inner = (2, 3)[n % 2], 12
    y = _norm(net, x) if n // 2 % 2 else x
    shape = (1, length, heads, inner // heads)
    if n // 4 % 2:
        fused = net.emit(op.reshape(net.dense(y, 3 * inner), (1, length, 3, *shape[2:])))
        fused = net.emit(op.permute_dims(fused, [2, 0, 3, 1, 4]))
        q, k, v = (
            net.emit(op.take(fused, relax.const(i, "int64"), axis=0, mode="fast")) for i in range(3)
        )
    else:
        q, k, v = (
            net.emit(
                op.permute_dims(net.emit(op.reshape(net.dense(y, inner), shape)), [0, 2, 1, 3])
            )
            for _ in range(3)
        )
    scores = net.emit(op.matmul(q, net.emit(op.permute_dims(k, [0, 1, 3, 2]))))
    mixed = net.emit(op.matmul(net.emit(op.nn.softmax(scores, axis=-1)), v))
    mixed = net.emit(op.permute_dims(mixed, [0, 2, 1, 3]))
    merged = net.emit(op.reshape(mixed, (1, length, inner)))
    return net.emit(op.add(x, net.dense(merged, width)))


def _token_dense(net, x, n):
    return net.act(net.dense(x, 6 + 2 * (n % 3)), n)


def _flat(net, x, n):
    """Flatten an image into one dense layer's input, and (n odd) make an image of it again."""
    flat = net.emit(op.reshape(x, (1, int(np.prod(shape_of(x))))))
    if n % 2 == 0:
        return net.emit(op.reshape(net.act(net.dense(flat, 7), n), (1, 1, 7)))
    image = net.emit(op.reshape(net.act(net.dense(flat, 16), n), (1, 4, 2, 2)))
    return _mean(net, net.conv(image, 6), n)


def _mean(net, x, n):
    return net.emit(op.reshape(net.emit(op.mean(x, [2, 3])), (1, 1, shape_of(x)[1])))


def _tokens(net, x, n):
    _, channels, height, width = shape_of(x)
    return net.emit(
        op.permute_dims(net.emit(op.reshape(x, (1, channels, height * width))), [0, 2, 1])
    )


ON_IMAGES = (
    *(_conv, _depthwise, _grouped, _residual, _projected, _concat, _split, _gate, _affine),
    *(_shared, _pool, _shuffle, _group_norm, _output),
)
TO_TOKENS = (_flat, _mean, _tokens)
ON_TOKENS = (_mlp, _attention, _token_dense)


def build(image_steps, to_tokens, token_steps, seed=0) -> Model:
    """Build a network from (step, number) pairs: image (1, 3, 4, 4) → scores, and extra outputs."""
    net = Builder(seed)
    image = relax.Var("image", script.Tensor((1, 3, 4, 4), "float32"))
    with net.block.function("main"):
        with net.block.dataflow():
            x = _conv(net, image, 5)
            for step, number in image_steps:
                x = step(net, x, number)
            x = to_tokens[0](net, x, to_tokens[1])
            for step, number in token_steps:
                x = step(net, x, number)
            scores = net.dense(net.emit(op.mean(x, [1])), 5)
            outputs = [scores, *net.extra_outputs]
            result = outputs[0] if len(outputs) == 1 else relax.Tuple(outputs)
            result = net.block.emit_output(result)
        net.block.emit_func_output(result, params=[image, *net.params])
    return Model(
        name="random",
        module=net.block.get(),
        weights=net.weights,
        inputs=(TensorSpec(name="image", shape=(1, 3, 4, 4), dtype="float32"),),
        outputs=tuple(
            TensorSpec(name=f"output{i}", shape=shape_of(value), dtype="float32")
            for i, value in enumerate(outputs)
        ),
    )


_NUMBER = st.integers(0, 11)
RECIPES = st.tuples(
    st.lists(st.tuples(st.sampled_from(ON_IMAGES), _NUMBER), max_size=5),
    st.tuples(st.sampled_from(TO_TOKENS), _NUMBER),
    st.lists(st.tuples(st.sampled_from(ON_TOKENS), _NUMBER), max_size=2),
    st.integers(0, 3),
)
"""What `build` takes, so that hypothesis prints the steps of a network and not its weights."""
