"""Pruning removes coupled channels together, and what is left computes what it should."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from tvm import relax

from adaspring.errors import PassError
from adaspring.ir.layers import layers
from adaspring.passes.decision import Kept
from adaspring.passes.prune.coupling import groups
from adaspring.passes.prune.prune import ChannelSlice, Prune
from adaspring.passes.refit import Refit
from adaspring.reference.executor import evaluate

from ...support.networks import ALL, MobileNetStyle, SmallCnn, SmallResNet, TinyEncoder
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known, shapes, zeroed


def conv(c_in, c_out, kernel=3, **more):
    return nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, **more)


def concatenated():
    def forward(self, x):
        a, b = torch.relu(self.a(x)), torch.relu(self.b(x))
        return self.head(torch.cat([a, b, a], dim=1)).mean(dim=(2, 3))

    return Small(forward, a=conv(3, 8), b=conv(3, 16, 1), head=conv(32, 4)), (1, 3, 8, 8)


def shuffled():
    def forward(self, x):
        left, right = torch.chunk(self.stem(x), 2, dim=1)
        x = torch.cat([torch.relu(right), self.branch(left)], dim=1)
        return self.head(x).mean(dim=(2, 3))

    return Small(forward, stem=conv(3, 16), branch=conv(8, 12), head=conv(20, 4)), (1, 3, 8, 8)


def gated():
    def forward(self, x):
        x = F.silu(self.stem(x))
        gate = torch.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        x = x * torch.sigmoid(self.excite(gate))
        return self.head(torch.flatten(F.max_pool2d(x, 2), 1))

    parts = {"stem": conv(3, 16), "squeeze": conv(16, 8, 1), "excite": conv(8, 16, 1)}
    return Small(forward, **parts, head=nn.Linear(256, 5)), (1, 3, 8, 8)


def gated_linear():
    def forward(self, x):
        a, b = torch.chunk(self.wide(x), 2, dim=-1)
        return self.out(a * torch.sigmoid(b))

    return Small(forward, wide=nn.Linear(6, 32), out=nn.Linear(16, 5)), (1, 6)


def multiplied():
    def forward(self, x):
        x = self.point(torch.relu(self.deep(self.stem(x))) * self.scale + self.shift)
        return x.mean(dim=(2, 3))

    net = Small(forward, stem=conv(3, 8), deep=conv(8, 16, groups=8), point=conv(16, 4, 1))
    net.scale = nn.Parameter(torch.linspace(0.5, 1.5, 16).reshape(1, 16, 1, 1))
    net.shift = nn.Parameter(torch.linspace(-0.5, 0.5, 16).reshape(1, 16, 1, 1))
    return net, (1, 3, 8, 8)


OWN = {f.__name__: f for f in (concatenated, shuffled, gated, gated_linear, multiplied)}
NETWORKS = [*(n.__name__ for n in ALL), *OWN]


def network(name):
    if name in OWN:
        net, shape = OWN[name]()
        return imported(net, shape)
    return known(next(n for n in ALL if n.__name__ == name))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_pruned_network_is_the_dense_one_with_those_channels_zeroed(name):
    model = network(name)
    prune = Prune(keep_ratio=0.5, multiple_of=2)
    decisions = prune.plan(model, None)
    assert any(isinstance(d, ChannelSlice) for d in decisions)
    small = prune.apply(model, decisions)
    relax.analysis.well_formed(small.module)
    samples = data(model, 6)
    pairs = zip(evaluate(zeroed(model, decisions), samples), evaluate(small, samples), strict=True)
    for wanted, result in pairs:
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)
    assert all(a.shape == b.shape for a, b in zip(small.outputs, model.outputs, strict=True))


def test_before_and_after():
    model = known(SmallCnn)
    prune = Prune(keep_ratio=0.5)
    after = shapes(prune.apply(model, prune.plan(model, None)))
    assert shapes(model) == {
        "conv1": (16, 3, 3, 3),
        "conv2": (32, 16, 3, 3),
        "fc1": (64, 2048),
        "fc2": (10, 64),
    }
    assert after == {
        "conv1": (8, 3, 3, 3),
        "conv2": (16, 8, 3, 3),
        "fc1": (32, 1024),
        "fc2": (10, 32),
    }


def test_residual_adds_couple_their_producers():
    found = {group.layers: group.channels for group in groups(known(SmallResNet))}
    assert found["conv1", "layer1.0.conv2", "layer1.1.conv2"] == 16
    assert found["layer2.0.downsample.0", "layer2.0.conv2", "layer2.1.conv2"] == 32
    assert found["layer1.0.conv1",] == 16


def test_a_depthwise_layer_follows_its_producer():
    found = [group.layers for group in groups(known(MobileNetStyle))]
    assert ("blocks.0.expand.0", "blocks.0.depthwise.0") in found


def test_a_gate_is_coupled_to_what_it_gates():
    found = [group.layers for group in groups(network("gated"))]
    assert ("stem", "excite") in found
    assert ("squeeze",) in found


def test_channels_that_a_split_pairs_go_together():
    (wide, *_) = groups(network("gated_linear"))
    assert (wide.layers, wide.channels, wide.unit, wide.units) == (("wide",), 32, 2, 16)


def test_the_least_important_channels_go():
    net, shape = (
        Small(lambda self, x: self.b(torch.relu(self.a(x))), a=nn.Linear(4, 6), b=nn.Linear(6, 3)),
        (1, 4),
    )
    with torch.no_grad():
        net.a.weight.copy_(torch.ones(6, 4) * torch.tensor([3.0, 1, 2, 6, 5, 4])[:, None])
        net.b.weight.fill_(1.0)
    (channels, _) = Prune(keep_ratio=0.5, multiple_of=1).plan(imported(net, shape), None)
    assert channels.kept == (3, 4, 5)


def test_with_data_a_channel_that_never_fires_goes_however_large_its_weights():
    net = Small(lambda self, x: self.b(torch.relu(self.a(x))), a=nn.Linear(4, 4), b=nn.Linear(4, 3))
    with torch.no_grad():
        net.a.weight[1] *= 10
        net.a.bias[1] = -1000.0
    model = imported(net, (1, 4))
    channels = Prune(keep_ratio=0.75, multiple_of=1).plan(model, data(model, 32))[0]
    assert channels.kept == (0, 2, 3)
    assert 1 in Prune(keep_ratio=0.75, multiple_of=1).plan(model, None)[0].kept


@pytest.mark.parametrize("name", ["SmallResNet", "MobileNetStyle", "Mlp", "concatenated"])
def test_refitting_on_data_brings_outputs_nearer(name):
    model = network(name)
    samples, unseen = data(model, 96), data(model, 32, seed=1)
    prune = Prune(keep_ratio=0.7, multiple_of=2)
    decisions = prune.plan(model, samples)
    plain = prune.apply(model, [d for d in decisions if isinstance(d, ChannelSlice)])
    fitted = prune.apply(model, decisions)
    assert shapes(plain) == shapes(fitted)
    # Mlp: 96 samples for 90 independent features, the hardest case not to overfit
    gain = 1.0 if name == "Mlp" else 0.5
    assert error_ratio(model, fitted, unseen) < gain * error_ratio(model, plain, unseen)


def test_a_duplicated_channel_is_removed_without_loss():
    net = Small(
        lambda self, x: self.b(torch.relu(self.a(x))).mean(dim=(2, 3)), a=conv(3, 8), b=conv(8, 4)
    )
    with torch.no_grad():
        net.a.weight[4:], net.a.bias[4:] = net.a.weight[:4], net.a.bias[:4]
    model = imported(net, (1, 3, 12, 12))
    samples = data(model, 64)
    prune = Prune(keep_ratio=0.5, multiple_of=1)
    decisions = prune.plan(model, samples)
    if len({j % 4 for j in decisions[0].kept}) == 4:
        assert error_ratio(model, prune.apply(model, decisions), samples) < 1e-2
    refits = [d for d in decisions if isinstance(d, Refit)]
    assert [d.layer for d in refits] == ["b"]
    assert refits[0].error_after_ratio < refits[0].error_before_ratio


def test_every_layer_is_decided_on_or_says_why_not():
    model = known(TinyEncoder)
    decisions = Prune(keep_ratio=0.5).plan(model, None)
    named = {name for d in decisions for name in _layers_of(d)}
    assert named == {layer.name for layer in layers(model)}
    why = {d.layer: d.why for d in decisions if isinstance(d, Kept)}
    assert why["head"] == "network output"
    assert "layer_norm over channels" in why["embed"]
    assert not {"blocks.0.q", "blocks.0.fc1"} & set(why)


def _layers_of(decision):
    return decision.group.layers if isinstance(decision, ChannelSlice) else (decision.layer,)


def test_a_layer_that_rounding_up_leaves_whole_says_so():
    (first, _) = Prune(keep_ratio=0.9).plan(network("gated_linear"), None)
    assert first.describe() == "wide: kept, 32 channels, and 32 would stay"


def test_a_layer_of_one_channel_is_left_alone():
    net = Small(lambda self, x: self.b(self.a(x)), a=nn.Linear(4, 1), b=nn.Linear(1, 3))
    decisions = Prune(keep_ratio=0.5, multiple_of=1).plan(imported(net, (1, 4)), None)
    assert Kept(layer="a", why="it has one output channel") in decisions


def test_two_channels_can_become_one():
    net = Small(lambda self, x: self.b(self.a(x)), a=nn.Linear(4, 2), b=nn.Linear(2, 3))
    model = imported(net, (1, 4))
    prune = Prune(keep_ratio=0.5, multiple_of=1)
    samples = data(model, 16)
    small = prune.apply(model, prune.plan(model, samples))
    assert shapes(small) == {"a": (1, 4), "b": (3, 1)}
    assert np.isfinite(evaluate(small, samples)[0]).all()


def test_all_zero_weights_prune_to_finite_numbers():
    net = Small(lambda self, x: self.b(torch.relu(self.a(x))), a=nn.Linear(4, 8), b=nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    model = imported(net, (1, 4))
    prune = Prune(keep_ratio=0.5, multiple_of=1)
    small = prune.apply(model, prune.plan(model, data(model, 8)))
    np.testing.assert_array_equal(evaluate(small, data(model, 4))[0], np.zeros((4, 3)))


def test_the_input_is_untouched():
    model = known(MobileNetStyle)
    before = fingerprint(model)
    prune = Prune(keep_ratio=0.5)
    prune.apply(model, prune.plan(model, data(model, 8)))
    assert fingerprint(model) == before


def test_decisions_for_another_network_are_refused():
    prune = Prune(keep_ratio=0.5)
    decisions = prune.plan(known(SmallCnn), None)
    with pytest.raises(PassError, match="made for another network"):
        prune.apply(known(SmallResNet), decisions)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1.0, float("nan")])
def test_a_senseless_ratio_is_refused(ratio):
    with pytest.raises(PassError, match="between 0 and 1"):
        Prune(keep_ratio=ratio)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    width=st.integers(2, 20),
    keep_ratio=st.floats(0.05, 0.95),
    multiple_of=st.sampled_from([1, 3, 8]),
)
def test_any_width_keeps_the_ratio_rounded_up(width, keep_ratio, multiple_of):
    net = Small(lambda self, x: self.b(self.a(x)), a=nn.Linear(3, width), b=nn.Linear(width, 2))
    model = imported(net, (1, 3))
    prune = Prune(keep_ratio=keep_ratio, multiple_of=multiple_of)
    decisions = prune.plan(model, None)
    left = shapes(prune.apply(model, decisions))["a"][0]
    assert width * keep_ratio <= left + 1e-9
    assert left == width or (left % multiple_of == 0 and left - multiple_of < width * keep_ratio)
    samples = data(model, 2)
    wanted = evaluate(zeroed(model, decisions), samples)[0]
    np.testing.assert_allclose(
        evaluate(prune.apply(model, decisions), samples)[0], wanted, rtol=1e-4, atol=1e-5
    )
