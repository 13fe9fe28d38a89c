"""How many channels stay: one ratio for all, ratios by name, and steps of whole tiles."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from adaspring.errors import PassError
from adaspring.passes import Prune
from adaspring.passes.prune.budget import keep_over_groups
from adaspring.passes.prune.coupling import Group
from adaspring.passes.prune.prune import ChannelSlice

from ...support.networks import MobileNetStyle, SmallResNet
from ...support.passes import Small, data, imported, known, shapes


def chain():
    """Layers a (8 wide), b (16 wide, half of its channels next to nothing), c."""
    net = Small(
        lambda self, x: self.c(torch.relu(self.b(torch.relu(self.a(x))))),
        a=nn.Linear(4, 8),
        b=nn.Linear(8, 16),
        c=nn.Linear(16, 3),
    )
    with torch.no_grad():
        for layer in (net.a, net.b, net.c):
            layer.weight.fill_(1.0)
        net.b.weight[::2] *= 1e-3
        net.c.weight[:, ::2] *= 1e-3
    return imported(net, (1, 4))


def widths(model, prune, samples=None):
    left = shapes(prune.apply(model, prune.plan(model, samples)))
    return {name: shape[0] for name, shape in left.items()}


def test_a_global_ratio_takes_from_where_it_costs_least():
    model = chain()
    settings = {"keep_ratio": 16 / 24, "multiple_of": 1, "floor_ratio": 0.125}
    assert widths(model, Prune(scope="global", **settings)) == {"a": 8, "b": 8, "c": 3}
    assert widths(model, Prune(**settings)) == {"a": 6, "b": 11, "c": 3}


def test_a_global_ratio_leaves_every_group_its_floor():
    model = chain()
    prune = Prune(keep_ratio=0.05, multiple_of=1, scope="global", floor_ratio=0.25)
    assert widths(model, prune) == {"a": 2, "b": 4, "c": 3}


def test_global_counts_are_rounded_up_to_the_step():
    model = chain()
    prune = Prune(keep_ratio=10 / 24, multiple_of=4, scope="global")
    assert widths(model, prune) == {"a": 4, "b": 8, "c": 3}  # 2 + 8 are the best ten


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    keep_ratio=st.floats(0.01, 0.99),
    floor_ratio=st.floats(0.01, 0.99),
    step=st.sampled_from([1, 2, 8]),
    seed=st.integers(0, 99),
)
def test_any_global_ratio_is_kept_at_least(sizes, keep_ratio, floor_ratio, step, seed):
    random = np.random.default_rng(seed)
    groups = [Group(layers=(str(i),), channels=2 * n, unit=2) for i, n in enumerate(sizes)]
    found = [random.exponential(size=n) for n in sizes]
    counts = keep_over_groups(groups, [step] * len(sizes), found, keep_ratio, floor_ratio)
    assert sum(counts) >= keep_ratio * sum(sizes) - 1e-6
    assert all(count >= floor_ratio * n for count, n in zip(counts, sizes, strict=True))
    assert all(count % step == 0 for count in counts)
    exact = keep_over_groups(groups, [1] * len(sizes), found, keep_ratio, 1e-9)
    assert sum(exact) <= keep_ratio * sum(sizes) + 1 + len(sizes)


def test_groups_that_hold_zeros_alone_are_ranked_too():
    groups = [Group(layers=("a",), channels=4), Group(layers=("b",), channels=4)]
    assert keep_over_groups(groups, [1, 1], [np.zeros(4), np.ones(4)], 0.5, 0.25) == [1, 4]


def test_a_global_ratio_works_on_data_and_on_coupled_layers():
    model = known(SmallResNet)
    prune = Prune(keep_ratio=0.5, multiple_of=2, scope="global")
    left = widths(model, prune, data(model, 16))
    assert left["conv1"] == left["layer1.0.conv2"] == left["layer1.1.conv2"]
    dense = widths(model, Prune(keep_ratio=0.99, multiple_of=64))
    assert sum(left.values()) < 0.7 * sum(dense.values())


def test_a_layer_named_gets_its_own_ratio():
    model = chain()
    prune = Prune(keep_ratio=0.5, multiple_of=1, keep_ratios={"b": 0.25})
    assert widths(model, prune) == {"a": 4, "b": 4, "c": 3}
    prune = Prune(keep_ratio=0.5, multiple_of=1, keep_ratios={"b": 0.25}, scope="global")
    assert widths(model, prune) == {"a": 4, "b": 4, "c": 3}


def test_two_ratios_for_one_group_are_refused():
    ratios = {"conv1": 0.5, "layer1.0.conv2": 0.75}
    with pytest.raises(PassError, match=r"conv1 0.5, layer1.0.conv2 0.75: .* give them one ratio"):
        Prune(keep_ratio=0.5, keep_ratios=ratios).plan(known(SmallResNet), None)


@pytest.mark.parametrize("setting", ["keep_ratios", "multiples"])
def test_a_layer_that_the_network_does_not_have_is_refused(setting):
    value = {"keep_ratios": {"nowhere": 0.5}, "multiples": {"nowhere": 4}}[setting]
    with pytest.raises(PassError, match=f"{setting} names 'nowhere'; the network has a, b, c"):
        Prune(keep_ratio=0.5, **{setting: value}).plan(chain(), None)


def test_steps_by_name_are_multiples_of_a_kernels_tile():
    model = chain()
    prune = Prune(keep_ratio=0.55, multiple_of=1, multiples={"b": 6})
    assert widths(model, prune) == {"a": 5, "b": 12, "c": 3}


def test_steps_of_coupled_layers_are_kept_together():
    model = known(MobileNetStyle)
    multiples = {"blocks.0.expand.0": 4, "blocks.0.depthwise.0": 6}
    decisions = Prune(keep_ratio=0.4, multiple_of=1, multiples=multiples).plan(model, None)
    (channels,) = [d for d in decisions if "blocks.0.expand.0" in d.layer]
    assert isinstance(channels, ChannelSlice)
    assert len(channels.kept) == 24  # of 32: 12.8 up to a multiple of 4 and of 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep_ratios": {"a": 1.0}}, r"keep_ratios\['a'\] is 1.0; choose a value between"),
        ({"floor_ratio": 0.0}, "floor_ratio is 0.0; choose a value between 0 and 1"),
        ({"multiples": {"a": 0}}, r"multiples\['a'\] is 0; choose 1 or more"),
        ({"multiple_of": 0}, "multiple_of is 0; choose 1 or more"),
        ({"scope": "layer"}, "scope is 'layer'; choose from group, global"),
    ],
)
def test_senseless_settings_are_refused(settings, message):
    with pytest.raises(PassError, match=message):
        Prune(keep_ratio=0.5, **settings)


def test_a_pass_prints_what_differs_from_the_defaults():
    assert repr(Prune(keep_ratio=0.5)) == "Prune(keep_ratio=0.5)"
    prune = Prune(keep_ratio=0.5, multiple_of=16, importance="l1", keep_ratios={"a": 0.25})
    assert repr(prune) == (
        "Prune(keep_ratio=0.5, multiple_of=16, importance='l1', keep_ratios={'a': 0.25})"
    )
    assert hash(prune) == hash(Prune(keep_ratio=0.5, multiple_of=16, importance="l1"))
