"""Which channels go together: heads, groups, shuffles, reshapes; and what must stay says why."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from adaspring.benchmarks.networks.bert import BertMini
from adaspring.ir.graph import Graph, is_call, shape_of
from adaspring.ir.layers import layers, macs_count
from adaspring.passes.prune.coupling import groups
from adaspring.passes.prune.prune import ChannelSlice, Prune
from adaspring.reference.executor import evaluate

from ...support.networks import TinyEncoder
from ...support.passes import Small, data, imported, shapes, zeroed

RESHAPE = "relax.reshape"


def heads(x, count):
    n, length, width = x.shape
    return x.reshape(n, length, count, width // count).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).flatten(2)


def attend(q, k, v):
    return joined(torch.softmax(q @ k.transpose(2, 3), -1) @ v)


def separate(self, x):
    return self.out(attend(*(heads(layer(x), 4) for layer in (self.q, self.k, self.v))))


def fused_chunks(self, x):
    q, k, v = (heads(part, 4) for part in self.qkv(x).chunk(3, dim=-1))
    return self.out(joined(F.scaled_dot_product_attention(q, k, v, is_causal=True)))


def fused_five_axes(self, x):
    qkv = self.qkv(x).reshape(1, 6, 3, 4, 4).permute(2, 0, 3, 1, 4)
    return self.out(attend(*qkv.unbind(0)))


def fused_taken(self, x):
    qkv = self.qkv(x).reshape(1, 6, 3, 4, 4).permute(2, 0, 3, 1, 4)
    return self.out(attend(qkv[0], qkv[1], qkv[2]))


def over_places(self, x):
    y = self.stem(x)
    q, k, v = (layer(y).reshape(1, 4, 4, 16) for layer in (self.q, self.k, self.v))
    mixed = v @ torch.softmax(q.transpose(2, 3) @ k, -1)
    return self.out(mixed.reshape(1, 16, 4, 4))


def torch_own(self, x):
    return self.head(self.block(x))


def linear():
    return nn.Linear(16, 16)


def conv(c_in, c_out, kernel=1, **more):
    return nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, **more)


def encoder():
    return nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)


QKV = {"q": linear, "k": linear, "v": linear, "out": linear}
FUSED = {"qkv": lambda: nn.Linear(16, 48), "out": linear}
PLACES = {name: lambda: conv(16, 16) for name in ("q", "k", "v", "out")}
ATTENTIONS = {
    "separate": (separate, QKV, (1, 6, 16), ("q", "k", "v"), 16),
    "fused_chunks": (fused_chunks, FUSED, (1, 6, 16), ("qkv",), 48),
    "fused_five_axes": (fused_five_axes, FUSED, (1, 6, 16), ("qkv",), 48),
    "fused_taken": (fused_taken, FUSED, (1, 6, 16), ("qkv",), 48),
    "over_places": (
        over_places,
        {"stem": lambda: conv(3, 16), **PLACES},
        (1, 3, 4, 4),
        ("q", "k", "v"),
        16,
    ),
    "torch_own": (
        torch_own,
        {"block": encoder, "head": lambda: nn.Linear(16, 3)},
        (1, 6, 16),
        ("block.self_attn.in_proj_weight",),
        48,
    ),
}


def pruned(model, keep_ratio=0.5, multiple_of=1):
    """Prune without data, and check the result against the dense network zeroed."""
    prune = Prune(keep_ratio=keep_ratio, multiple_of=multiple_of)
    decisions = prune.plan(model, None)
    assert any(isinstance(d, ChannelSlice) for d in decisions)
    small, samples = prune.apply(model, decisions), data(model, 4)
    for y, z in zip(
        evaluate(zeroed(model, decisions), samples), evaluate(small, samples), strict=True
    ):
        np.testing.assert_allclose(z, y, rtol=1e-3, atol=1e-5)
    return small


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_head_goes_as_a_whole(name):
    forward, parts, shape, names, channels = ATTENTIONS[name]
    model = imported(Small(forward, **{part: make() for part, make in parts.items()}), shape)
    (group,) = [group for group in groups(model) if group.layers == names]
    assert (group.channels, group.units, group.why) == (channels, 4, None)
    assert shapes(pruned(model))[names[0]][0] == channels // 2


def test_attention_in_a_bert_loses_heads_and_its_reshapes_follow():
    model = imported(BertMini().eval(), (1, 16, 256))
    found = {group.layers: group for group in groups(model)}
    first = found["layers.0.query", "layers.0.key", "layers.0.value"]
    assert first.describe() == (
        "layers.0.query + layers.0.key + layers.0.value: 256 channels in 4 units"
    )
    assert found["layers.0.up",].channels == 1024
    prune = Prune(keep_ratio=0.75)
    small = prune.apply(model, prune.plan(model, None))
    left = shapes(small)
    assert left["layers.0.query"] == (192, 256)
    assert left["layers.0.output"] == (256, 192)
    assert left["layers.0.up"] == (768, 256)
    parted = [shape_of(value) for _, value in Graph.of(small).bindings if is_call(value, RESHAPE)]
    assert set(parted) == {(1, 16, 3, 64), (1, 16, 192)}
    assert macs_count(small) == pytest.approx(0.75 * macs_count(model))


def test_heads_and_widths_of_an_encoder_are_pruned_and_its_embedding_stays():
    found = {group.layers: group for group in groups(imported(TinyEncoder(explicit=True)))}
    assert found["blocks.0.q", "blocks.0.k", "blocks.0.v"].units == 4
    assert found["blocks.1.fc1",].why is None
    assert any(group.why == "layer_norm over channels" for group in found.values())


def in_groups(c_in, c_out, count):
    def forward(self, x):
        return self.b(torch.relu(self.g(torch.relu(self.a(x))))).mean(dim=(2, 3))

    parts = {"a": conv(3, c_in), "g": conv(c_in, c_out, 3, groups=count), "b": conv(c_out, 4)}
    return imported(Small(forward, **parts), (1, 3, 5, 5))


def test_of_many_small_groups_whole_groups_go():
    model = in_groups(32, 32, 16)
    first, *_ = groups(model)
    assert (first.layers, first.channels, first.unit) == (("a", "g"), 32, 2)
    small = pruned(model)
    assert shapes(small) == {"a": (16, 3, 1, 1), "g": (16, 2, 3, 3), "b": (4, 16, 1, 1)}
    assert next(layer for layer in layers(small) if layer.name == "g").groups == 8


def test_of_few_wide_groups_each_loses_the_same_channels():
    model = in_groups(16, 32, 2)
    first, second, *_ = groups(model)
    assert (first.layers, first.units, second.layers, second.units) == (("a",), 8, ("g",), 16)
    small = pruned(model)
    assert shapes(small) == {"a": (8, 3, 1, 1), "g": (16, 4, 3, 3), "b": (4, 16, 1, 1)}
    assert next(layer for layer in layers(small) if layer.name == "g").groups == 2


@pytest.mark.parametrize(("count", "left"), [(6, (12, 1)), (3, (9, 2))])
def test_a_grouped_convolution_of_the_input_loses_outputs_alone(count, left):
    forward = lambda self, x: self.b(torch.relu(self.g(x)))  # noqa: E731
    model = imported(Small(forward, g=conv(6, 18, 3, groups=count), b=conv(18, 4)), (1, 6, 5, 5))
    assert shapes(pruned(model)) == {"g": (*left, 3, 3), "b": (4, left[0], 1, 1)}


def test_a_depthwise_convolution_of_the_input_stays():
    forward = lambda self, x: self.b(torch.relu(self.g(x)))  # noqa: E731
    model = imported(Small(forward, g=conv(6, 6, 3, groups=6), b=conv(6, 4)), (1, 6, 5, 5))
    assert groups(model)[0].why == "network input"


@pytest.mark.parametrize(("count", "behind"), [(2, 1), (2, 2), (3, 1)])
def test_a_channel_shuffle_is_followed(count, behind):
    def forward(self, x):
        x = F.channel_shuffle(torch.relu(self.g(self.a(x))), count)
        return self.b(x).mean(dim=(2, 3))

    parts = {"a": conv(3, 24), "g": conv(24, 24, 3, groups=count), "b": conv(24, 4, groups=behind)}
    model = imported(Small(forward, **parts), (1, 3, 5, 5))
    assert shapes(pruned(model))["g"][:2] == (12, 12 // count)


def test_a_dense_layer_that_becomes_an_image_loses_whole_channels():
    forward = lambda self, x: self.b(torch.relu(self.a(x)).reshape(1, 8, 4, 4))  # noqa: E731
    model = imported(Small(forward, a=nn.Linear(5, 128), b=conv(8, 4, 3)), (1, 5))
    assert (groups(model)[0].channels, groups(model)[0].unit) == (128, 16)
    assert shapes(pruned(model)) == {"a": (64, 5), "b": (4, 4, 3, 3)}


def test_an_axis_that_becomes_an_images_height_stays():
    forward = lambda self, x: self.b(self.a(x).reshape(1, 1, 8, 1))  # noqa: E731
    model = imported(Small(forward, a=nn.Linear(5, 8), b=conv(1, 4, 3)), (1, 5))
    assert groups(model)[0].why == "a convolution moves over it"


def test_a_group_norm_loses_whole_groups():
    forward = lambda self, x: self.b(torch.relu(self.n(self.a(x))))  # noqa: E731
    model = imported(
        Small(forward, a=conv(3, 16), n=nn.GroupNorm(4, 16), b=conv(16, 4)), (1, 3, 4, 4)
    )
    assert groups(model)[0].describe() == "a: 16 channels in 4 units"
    assert shapes(pruned(model))["a"] == (8, 3, 1, 1)


def test_a_slice_of_channels_is_followed():
    forward = lambda self, x: self.b(torch.relu(self.a(x)[:, 2:6]))  # noqa: E731
    model = imported(Small(forward, a=conv(3, 8), b=conv(4, 4)), (1, 3, 4, 4))
    assert shapes(pruned(model)) == {"a": (4, 3, 1, 1), "b": (4, 2, 1, 1)}


def test_channels_that_nothing_reads_are_removed_without_a_refit():
    forward = lambda self, x: self.b(torch.relu(self.a(x)[:, 8:]))  # noqa: E731
    model = imported(Small(forward, a=conv(3, 12), b=conv(4, 4)), (1, 3, 4, 4))
    samples, prune = data(model, 8), Prune(keep_ratio=0.5, multiple_of=4)
    decisions = prune.plan(model, samples)
    assert [d.describe() for d in decisions] == [
        "a: 8 -> 4 channels",
        "a: kept, 4 channels, and 4 would stay",
        "b: kept, network output",
    ]
    wanted, found = evaluate(model, samples)[0], evaluate(prune.apply(model, decisions), samples)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_every_other_channel_is_not_followed_and_says_so():
    forward = lambda self, x: self.b(torch.relu(self.a(x)[:, ::2]))  # noqa: E731
    model = imported(Small(forward, a=conv(3, 8), b=conv(4, 4)), (1, 3, 4, 4))
    assert "strided_slice leaves channels out" in {group.why for group in groups(model)}


def test_units_come_in_steps_that_suit_every_layer_of_a_group():
    model = imported(TinyEncoder(explicit=True))  # heads of 12 channels: two of them make 24
    prune = Prune(keep_ratio=0.7, multiple_of=8)
    (q,) = [d for d in prune.plan(model, None) if d.layer == "blocks.0.q"]
    assert q.why == "48 channels, and 48 would stay"
    (q,) = [
        d for d in Prune(keep_ratio=0.5, multiple_of=8).plan(model, None) if d.layer == "blocks.0.q"
    ]
    assert q.describe() == (
        "blocks.0.q (with blocks.0.k, blocks.0.v): 48 -> 24 channels, in units of 12"
    )
