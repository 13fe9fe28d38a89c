"""Dropping residual blocks: y = x + f(x) becomes y = x, where that is possible and costs least."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn
from tvm import relax

from adaspring.benchmarks.networks.bert import BertMini
from adaspring.errors import DataError, PassError
from adaspring.frontend.data import Dataset
from adaspring.ir.layers import layers
from adaspring.passes import DropBlocks, Quantize, run
from adaspring.passes.decision import Kept
from adaspring.passes.depth.blocks import blocks
from adaspring.passes.depth.drop_blocks import Drop
from adaspring.passes.refit import Refit
from adaspring.reference.executor import evaluate

from ...support.networks import MobileNetStyle, SmallCnn, SmallResNet, TinyEncoder
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known, shapes
from ...support.random_networks import RECIPES, build


def plain(pass_, model, samples):
    """Drop blocks without refitting; return the network and the names of the dropped layers."""
    drops = [d for d in pass_.plan(model, samples) if isinstance(d, Drop)]
    small = pass_.apply(model, drops)
    relax.analysis.well_formed(small.module)
    return small, {name for drop in drops for name in drop.block.layers}


def chain(count=3, width=6):
    """A stem, `count` blocks x + f(x) of which the i-th adds ever more, and a head."""

    def forward(self, x):
        x = self.stem(x)
        for i in range(count):
            x = x + torch.relu(getattr(self, f"block{i}")(x))
        return self.head(x)

    parts = {f"block{i}": nn.Linear(width, width) for i in range(count)}
    net = Small(forward, stem=nn.Linear(4, width), **parts, head=nn.Linear(width, 3))
    with torch.no_grad():
        for i in range(count):
            getattr(net, f"block{i}").weight.mul_(0.1 * 4**i)
            getattr(net, f"block{i}").bias.mul_(0.1 * 4**i)
    return net


def test_before_and_after():
    model = imported(chain(), (1, 4))
    small, _ = plain(DropBlocks(count=2), model, data(model, 32))
    assert shapes(model).keys() == {"stem", "block0", "block1", "block2", "head"}
    assert shapes(small).keys() == {"stem", "block2", "head"}
    assert small.weights.keys() == {
        f"{layer}.{kind}" for layer in ("stem", "block2", "head") for kind in ("weight", "bias")
    }


def test_a_dropped_block_is_an_identity_in_torch():
    net = SmallResNet()
    model = imported(net)
    samples = data(model, 8)
    small, gone = plain(DropBlocks(count=1), model, samples)
    assert gone == {"layer1.1.conv1", "layer1.1.conv2"}
    net.layer1[1] = nn.Identity()  # the sum is followed by a ReLU, and so is its x
    with torch.no_grad():
        wanted = net(torch.from_numpy(samples.inputs[0])).numpy()
    np.testing.assert_allclose(evaluate(small, samples)[0], wanted, rtol=1e-3, atol=1e-4)


def test_attention_and_feed_forward_blocks_of_a_transformer_go_alone():
    net = TinyEncoder()
    model = imported(net)
    samples = data(model, 8)
    small, gone = plain(DropBlocks(count=1), model, samples)
    (index,) = {name.split(".")[1] for name in gone}
    assert gone == {f"blocks.{index}.fc1", f"blocks.{index}.fc2"}
    with torch.no_grad():
        net.blocks[int(index)].fc2.weight.zero_()
        net.blocks[int(index)].fc2.bias.zero_()
        wanted = net(torch.from_numpy(samples.inputs[0])).numpy()
    np.testing.assert_allclose(evaluate(small, samples)[0], wanted, rtol=1e-3, atol=1e-4)
    assert not any("norm2" in name and f"blocks.{index}" in name for name in small.weights)


def test_the_reported_error_is_that_of_the_network_without_the_block():
    model = imported(chain(), (1, 4))
    samples = data(model, 32)
    pass_ = DropBlocks(count=1)
    (drop,) = [d for d in pass_.plan(model, samples) if isinstance(d, Drop)]
    assert drop.layer == "block0"
    dropped = pass_.apply(model, [drop])
    assert drop.error_ratio == pytest.approx(error_ratio(model, dropped, samples), rel=1e-3)
    assert drop.describe() == (
        f"block0: block dropped, output error {drop.error_ratio:.1%} without it alone"
    )


def test_refitting_brings_outputs_nearer():
    model = imported(chain(), (1, 4))
    samples, unseen = data(model, 96), data(model, 32, seed=1)
    pass_ = DropBlocks(count=2)
    decisions = pass_.plan(model, samples)
    assert any(isinstance(d, Refit) for d in decisions)
    small, _ = plain(pass_, model, samples)
    refitted = pass_.apply(model, decisions)
    assert error_ratio(model, refitted, unseen) < 0.5 * error_ratio(model, small, unseen)


def test_a_ratio_is_of_the_blocks_that_can_go_rounded_down():
    model = imported(chain(), (1, 4))
    samples = data(model, 16)
    for ratio, left in ((0.3, 3), (0.34, 2), (0.99, 1)):
        small, _ = plain(DropBlocks(drop_ratio=ratio), model, samples)
        assert sum("block" in name for name in shapes(small)) == left


def test_every_layer_that_stays_says_why():
    model = known(SmallResNet)
    decisions = DropBlocks(count=1).plan(model, data(model, 8))
    why = {d.layer: d.why for d in decisions if isinstance(d, Kept)}
    (drop,) = [d for d in decisions if isinstance(d, Drop)]
    assert why.keys() | set(drop.block.layers) == {layer.name for layer in layers(model)}
    assert why["conv1"] == "it is in no residual block"
    assert why["layer2.0.conv1"] == "its shortcut is not the identity"
    assert why["layer2.1.conv2"].endswith("% without its block")


def test_a_block_whose_inside_is_read_elsewhere_stays():
    def forward(self, x):
        x = self.stem(x)
        inner = torch.relu(self.a(x))
        return self.head(x + self.b(inner)), inner

    parts = {"stem": (4, 6), "a": (6, 6), "b": (6, 6), "head": (6, 3)}
    net = Small(forward, **{name: nn.Linear(*size) for name, size in parts.items()})
    (block,) = blocks(imported(net, (1, 4)))
    assert (block.layers, block.why) == (("a", "b"), "a value inside it is read outside")


def test_what_is_no_residual_block_is_not_taken_for_one():
    def forward(self, x, y):
        x = self.a(x) + self.position  # a weight
        x = x + torch.tanh(x)  # no layer inside
        return self.b(x) + self.c(y)  # nothing in common

    net = Small(forward, a=nn.Linear(4, 6), b=nn.Linear(6, 3), c=nn.Linear(5, 3))
    net.position = nn.Parameter(torch.ones(1, 6))
    assert blocks(imported(net, (1, 4), (1, 5))) == ()


def test_blocks_at_the_very_end_and_in_a_row_can_go():
    def forward(self, x):
        x = self.stem(x)
        x = x + self.a(x)
        return x + self.b(x)

    net = Small(forward, stem=nn.Linear(4, 6), a=nn.Linear(6, 6), b=nn.Linear(6, 6))
    model = imported(net, (1, 4))
    samples = data(model, 8)
    small, _ = plain(DropBlocks(count=2), model, samples)
    with torch.no_grad():
        wanted = net.stem(torch.from_numpy(samples.inputs[0])).numpy()
    np.testing.assert_allclose(evaluate(small, samples)[0], wanted, rtol=1e-5, atol=1e-6)
    (outputs,) = (spec.shape for spec in small.outputs)
    assert outputs == (1, 6)


def test_a_block_inside_another_goes_with_it():
    def forward(self, x):
        x = self.stem(x)
        y = self.a(x)
        y = y + 1e-3 * self.inner(y)
        return self.head(x + 1e-2 * self.b(y))

    parts = {"stem": (4, 6), "a": (6, 6), "inner": (6, 6), "b": (6, 6), "head": (6, 3)}
    model = imported(
        Small(forward, **{name: nn.Linear(*size) for name, size in parts.items()}), (1, 4)
    )
    assert [block.layers for block in blocks(model)] == [("inner",), ("a", "inner", "b")]
    assert plain(DropBlocks(count=1), model, data(model, 8))[1] == {"inner"}
    small, _ = plain(DropBlocks(count=2), model, data(model, 8))
    assert shapes(small).keys() == {"stem", "head"}


def test_a_weight_that_another_layer_shares_stays():
    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.head(x + 1e-3 * self.a(x))

    net = Small(forward, a=nn.Linear(4, 4), head=nn.Linear(4, 3))
    model = imported(net, (1, 4))
    small, _ = plain(DropBlocks(count=1), model, data(model, 8))
    assert "a.weight" in small.weights
    with torch.no_grad():
        wanted = net.head(torch.relu(net.a(torch.from_numpy(data(model, 4).inputs[0]))))
    np.testing.assert_allclose(evaluate(small, data(model, 4))[0], wanted, rtol=1e-5, atol=1e-6)


def test_a_bert_has_two_blocks_a_layer():
    found = blocks(imported(BertMini().eval(), (1, 4, 256)))
    assert [(len(block.layers), block.why) for block in found] == [(4, None), (2, None)] * 4


@settings(max_examples=20, deadline=None)
@given(recipe=RECIPES)
def test_any_network_without_blocks_or_with_runs_afterwards(recipe):
    model = build(*recipe)
    before, samples = fingerprint(model), data(model, 4)
    small = run(model, (DropBlocks(drop_ratio=0.6),), samples).model
    for y, spec in zip(evaluate(small, samples), model.outputs, strict=True):
        assert np.isfinite(y).all()
        assert y.shape[1:] == spec.shape[1:]
    assert fingerprint(model) == before


def test_a_network_without_blocks_is_left_alone():
    model = known(SmallCnn)
    decisions = DropBlocks(drop_ratio=0.5).plan(model, data(model, 4))
    assert {d.why for d in decisions} == {"it is in no residual block"}
    with pytest.raises(PassError, match="count is 1, and 0 residual blocks can go"):
        DropBlocks(count=1).plan(model, data(model, 4))


def test_all_zero_outputs_and_constant_inputs_give_finite_networks():
    net = chain()
    with torch.no_grad():
        net.head.weight.zero_(), net.head.bias.zero_()
    model = imported(net, (1, 4))
    constant = Dataset(inputs=(np.ones((8, 4), np.float32),))
    decisions = DropBlocks(count=1).plan(model, constant)
    assert np.isfinite(evaluate(DropBlocks(count=1).apply(model, decisions), constant)[0]).all()


def test_blocks_that_hold_every_layer_do_not_all_go():
    net = Small(lambda self, x: x + torch.relu(self.a(x)), a=nn.Linear(4, 4))
    model = imported(net, (1, 4))
    with pytest.raises(PassError, match="all layers are in the blocks that would go"):
        DropBlocks(count=1).plan(model, data(model, 4))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either drop_ratio or count"),
        ({"drop_ratio": 0.5, "count": 1}, "either drop_ratio or count"),
        ({"drop_ratio": 1.0}, "drop_ratio is 1.0; choose a value between 0 and 1"),
        ({"drop_ratio": float("nan")}, "choose a value between 0 and 1"),
        ({"count": 0}, "count is 0; choose 1 or more"),
    ],
)
def test_senseless_settings_are_refused(given, message):
    with pytest.raises(PassError, match=message):
        DropBlocks(**given)


def test_no_data_nan_and_a_quantized_network_are_refused():
    model = known(MobileNetStyle)
    with pytest.raises(PassError, match=r"DropBlocks\(count=1\) needs calibration data"):
        run(model, (DropBlocks(count=1),), None)
    samples = data(model, 4)
    samples.inputs[0][2] = np.nan
    with pytest.raises(DataError, match=r"sample 2 of input .* holds NaN"):
        DropBlocks(count=1).plan(model, samples)
    integer = run(model, (Quantize(),), data(model, 4)).model
    with pytest.raises(PassError, match="quantized already"):
        DropBlocks(count=1).plan(integer, data(model, 4))


def test_decisions_for_another_network_are_refused():
    model = known(SmallResNet)
    decisions = DropBlocks(count=1).plan(model, data(model, 4))
    with pytest.raises(PassError, match="made for another network"):
        DropBlocks(count=1).apply(known(TinyEncoder), decisions)


def test_the_input_is_untouched():
    model = known(SmallResNet)
    before = fingerprint(model)
    DropBlocks(count=2).apply(model, DropBlocks(count=2).plan(model, data(model, 4)))
    assert fingerprint(model) == before
