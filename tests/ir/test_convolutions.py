"""Convolutions of any kind are layers, with torch's own count of multiply-adds."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.layers import Layer, layers, macs_count

from ..support.convolution_networks import NETWORKS, convolution_network
from ..support.passes import imported


def multiply_adds(network, *inputs) -> int:
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(*inputs)
    return counted.get_total_flops() // 2


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_are_those_that_torch_counts(name):
    network = convolution_network(name)
    x = torch.zeros(network.shape)
    model = from_torch(network, (x,), name=name)
    assert macs_count(model) == multiply_adds(network, x)
    assert sum(layer.macs_count for layer in layers(model)) == macs_count(model)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_keep_their_names_in_torch(name):
    network = convolution_network(name)
    found = layers(from_torch(network, (torch.zeros(network.shape),), name=name))
    names = {key: type(part).__name__ for key, part in network.named_modules()}
    wanted = {key for key, kind in names.items() if kind.startswith(("Conv", "Linear"))}
    assert {layer.name for layer in found} == wanted
    assert all(layer.weight == f"{layer.name}.weight" for layer in found)


def only_layer(network, *shape) -> Layer:
    (layer,) = layers(imported(network, shape))
    return layer


@pytest.mark.parametrize(
    ("network", "shape", "kind", "axis", "features"),
    [
        (nn.Conv1d(4, 6, 3), (1, 4, 9), "conv1d", 0, 12),
        (nn.Conv3d(4, 6, (3, 2, 1), groups=2), (1, 4, 5, 5, 5), "grouped", 0, 12),
        (nn.Conv1d(4, 4, 3, groups=4), (1, 4, 9), "depthwise", 0, 3),
        (nn.ConvTranspose1d(4, 6, 3), (1, 4, 9), "conv1d_transpose", 1, 12),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (1, 4, 9, 9), "grouped", 1, 18),
        (nn.ConvTranspose2d(4, 4, 3, groups=4), (1, 4, 9, 9), "depthwise", 0, 9),
        (nn.ConvTranspose3d(4, 2, 2), (1, 4, 3, 3, 3), "conv3d_transpose", 1, 32),
    ],
)
def test_a_convolution_says_where_its_outputs_are_and_what_each_sums(
    network, shape, kind, axis, features
):
    layer = only_layer(network, *shape)
    assert (layer.kind, layer.output_axis, layer.features) == (kind, axis, features)
    assert layer.outputs == network.out_channels
    assert layer.scales_by_output == (kind != "grouped" or not layer.spreads)
