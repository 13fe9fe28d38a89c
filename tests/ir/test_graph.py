"""The graph view names every layer as the source does, and counts its multiply-adds."""

import pytest
import torch
from torch import nn

from adaspring.ir.graph import Graph
from adaspring.ir.layers import layers, macs_count, shared_weights, weight_bytes
from adaspring.passes.quantize.static import Quantize

from ..support.networks import ALL, MobileNetStyle, SmallResNet, TinyEncoder
from ..support.passes import Small, data, imported, known


def counted_by_hooks(network, shapes) -> int:
    """Count multiply-adds of torch's own layers, from what they really compute."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network(*[torch.zeros(shape) for shape in shapes])
    return total


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_layers_cost_what_torch_computes(network):
    net, model = network(), known(network)
    assert sum(layer.macs_count for layer in layers(model)) == counted_by_hooks(
        net, net.input_shapes
    )


@pytest.mark.parametrize("explicit", [True, False])
def test_attention_counts_its_two_products(explicit):
    model = imported(TinyEncoder(explicit=explicit))
    heads, length, width, blocks = 4, 16, 12, 2
    products = blocks * 2 * heads * length * length * width
    assert macs_count(model) == sum(layer.macs_count for layer in layers(model)) + products


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_every_layer_is_found_under_its_own_name(network):
    net = network()
    wanted = {name for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert {layer.name for layer in layers(known(network))} == wanted


def test_a_layer_says_what_it_is():
    stem, _, depthwise, *_ = layers(known(MobileNetStyle))
    assert (stem.kind, stem.bias, stem.strides) == ("conv2d", "stem.0.bias", (2, 2))
    assert (depthwise.kind, depthwise.groups) == ("depthwise", 32)
    assert depthwise.weight_shape == (32, 1, 3, 3)
    assert stem.output_shape == (1, 16, 16, 16)


def test_dense_layers_keep_torchs_order_and_say_so():
    *_, fc = layers(known(SmallResNet))
    assert (fc.kind, fc.weight_shape, fc.transposed, fc.output_axis) == ("dense", (10, 64), True, 0)


def test_a_layer_without_bias_has_none():
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(4, 3, bias=False)), (1, 4))
    (layer,) = layers(model)
    assert layer.bias is None
    assert layer.output.same_as(layer.call)


def test_a_quantized_layer_is_recognised():
    model = known(MobileNetStyle)
    samples = data(model, 8)
    quantize = Quantize()
    small = quantize.apply(model, quantize.plan(model, samples))
    kinds = {layer.name: (layer.kind, layer.quantized) for layer in layers(small)}
    assert kinds["stem.0"] == ("conv2d", True)
    assert kinds["classifier.1"] == ("dense", True)
    assert kinds["blocks.0.depthwise.0"] == ("depthwise", True)


def test_consumers_and_outputs_are_those_of_the_graph():
    model = known(SmallResNet)
    graph = Graph.of(model)
    first = layers(model)[0]
    assert graph.consumers[first.call] == (first.output,)
    assert [var.name for var in graph.outputs()] == [layers(model)[-1].output.name]


def test_a_weight_that_two_layers_read_is_shared():
    def forward(self, x):
        return self.fc(torch.relu(self.fc(x)))

    model = imported(Small(forward, fc=nn.Linear(4, 4)), (1, 4))
    assert "fc.weight" in shared_weights(model)
    assert not shared_weights(known(SmallResNet))


def test_weight_bytes_are_four_a_number():
    net = Small(lambda self, x: self.fc(x), fc=nn.Linear(4, 3))
    assert weight_bytes(imported(net, (1, 4))) == 4 * (12 + 3)
