"""Batch norm and other scales and shifts fold into the layer before, exactly where they may."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from tvm.script import relax as R

from adaspring.frontend.from_torch.importer import from_torch

from ..support.frontend import operators, run
from ..support.networks import Fn
from ..support.outputs import assert_close

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


def norm(count, kind=nn.BatchNorm2d, seed=0, **settings):
    generator = torch.Generator().manual_seed(seed)
    layer = kind(count, **settings)
    layer.running_mean.normal_(generator=generator)
    layer.running_var.uniform_(0.3, 2, generator=generator)
    if layer.affine:
        layer.weight.data.normal_(generator=generator)
        layer.bias.data.normal_(generator=generator)
    return layer


def imported(network, x):
    return from_torch(network.eval(), (x,), name="network")


def test_batch_norm_after_a_convolution_leaves_a_convolution_and_a_bias():
    x = torch.randn(1, 2, 5, 5)
    model = imported(
        Fn(lambda s, x: s.bn(s.conv(x)), conv=nn.Conv2d(2, 3, 3, bias=False), bn=norm(3)), x
    )

    @R.function
    def expected(
        x: R.Tensor((1, 2, 5, 5), "float32"),
        conv_weight: R.Tensor((3, 2, 3, 3), "float32"),
        conv_bias: R.Tensor((3,), "float32"),
    ):
        R.func_attr({"num_input": 1, "global_symbol": "main"})
        with R.dataflow():
            y = R.nn.conv2d(x, conv_weight, out_dtype="float32")
            b = R.reshape(conv_bias, (1, 3, 1, 1))
            z = R.add(y, b)
            R.output(z)
        return z

    found = model.function.with_attr("global_symbol", "main")
    tvm.ir.assert_structural_equal(found, expected)
    assert list(model.weights) == ["conv.weight", "conv.bias"]


@QUICK
@given(
    groups=st.sampled_from([1, 2, 4]),
    multiplier=st.integers(1, 2),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
    affine=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_folding_keeps_the_numbers_of_any_convolution(
    groups, multiplier, kernel, stride, dilation, bias, affine, seed
):
    torch.manual_seed(seed)
    conv = nn.Conv2d(4, 4 * multiplier, kernel, stride, 1, dilation, groups, bias)
    network = Fn(
        lambda s, x: s.bn(s.conv(x)), conv=conv, bn=norm(4 * multiplier, seed=seed, affine=affine)
    )
    x = torch.randn(1, 4, 11, 10)
    model = imported(network, x)
    assert operators(model) == ["nn.conv2d", "reshape", "add"]
    assert list(model.weights) == ["conv.weight", "conv.bias"]
    with torch.no_grad():
        expected = network.double()(x.double()).float().numpy()
    assert_close(run(model, x), [expected], 1e-5)


def test_batch_norm_after_a_dense_layer_is_folded():
    x = torch.randn(4, 9)
    network = Fn(lambda s, x: s.bn(s.fc(x)), fc=nn.Linear(9, 5), bn=norm(5, nn.BatchNorm1d))
    model = imported(network, x)
    assert operators(model) == ["permute_dims", "matmul", "add"]
    assert_close(run(model, x), [network(x).detach().numpy()])


def test_batch_norm_over_the_sequence_of_a_dense_layer_is_left():
    x = torch.randn(2, 6, 9)
    network = Fn(lambda s, x: s.bn(s.fc(x)), fc=nn.Linear(9, 5), bn=norm(6, nn.BatchNorm1d))
    model = imported(network, x)
    assert operators(model) == ["permute_dims", "matmul", "add", "multiply", "add"]
    assert_close(run(model, x), [network(x).detach().numpy()])


def test_batch_norm_without_a_layer_before_it_is_a_multiplication_and_an_addition():
    x = torch.randn(1, 3, 4, 4)
    network = Fn(lambda s, x: s.bn(x), bn=norm(3))
    model = imported(network, x)
    assert operators(model) == ["multiply", "add"]
    assert {name: w.shape for name, w in model.weights.items()} == {
        "bn.scale": (1, 3, 1, 1),
        "bn.shift": (1, 3, 1, 1),
    }
    assert_close(run(model, x), [network(x).detach().numpy()])


def test_a_convolution_that_something_else_reads_too_keeps_its_own_values():
    x = torch.randn(1, 3, 6, 6)
    network = Fn(
        lambda s, x: (lambda y: s.bn(y) * torch.relu(y))(s.conv(x)),
        conv=nn.Conv2d(3, 4, 3),
        bn=norm(4),
    )
    model = imported(network, x)
    np.testing.assert_array_equal(
        model.weights["conv.weight"], network.conv.weight.detach().numpy()
    )
    assert_close(run(model, x), [network(x).detach().numpy()])


def test_a_weight_that_two_layers_share_is_not_scaled_for_one_of_them():
    x = torch.randn(1, 3, 6, 6)
    network = Fn(lambda s, x: s.bn(s.conv(x)) + s.conv(x), conv=nn.Conv2d(3, 3, 3), bn=norm(3))
    model = imported(network, x)
    assert_close(run(model, x), [network(x).detach().numpy()])


def test_a_weight_and_its_transpose_stay_one_weight():
    x = torch.randn(3, 9)
    network = Fn(lambda s, x: F.linear(s.fc(x), s.fc.weight.t()), fc=nn.Linear(9, 5, bias=False))
    model = imported(network, x)
    assert list(model.weights) == ["fc.weight"]
    assert_close(run(model, x), [network(x).detach().numpy()])


def test_a_chain_of_scales_and_shifts_folds_into_one_layer():
    x = torch.randn(1, 3, 6, 6)
    network = Fn(
        lambda s, x: s.b(s.a(s.conv(x))) * s.gain.view(1, -1, 1, 1) / 3 - 1,
        conv=nn.Conv2d(3, 4, 3),
        a=norm(4, seed=1),
        b=norm(4, seed=2),
        gain=nn.Parameter(torch.randn(4)),
    )
    model = imported(network, x)
    assert operators(model) == ["nn.conv2d", "reshape", "add"]
    assert_close(run(model, x), [network(x).detach().numpy()])


@pytest.mark.parametrize("function", [lambda y: 1 - y, lambda y: 2 / (y * y + 1)])
def test_a_layer_on_the_right_of_a_minus_or_a_division_is_not_folded(function):
    x = torch.randn(1, 3, 6, 6)
    network = Fn(lambda s, x: function(s.conv(x)), conv=nn.Conv2d(3, 4, 3))
    assert_close(run(imported(network, x), x), [network(x).detach().numpy()])


def test_a_scale_along_the_width_is_not_taken_for_one_per_channel():
    x = torch.randn(1, 3, 6, 6)
    network = Fn(
        lambda s, x: s.conv(x) * s.gain, conv=nn.Conv2d(3, 4, 3), gain=nn.Parameter(torch.randn(4))
    )
    model = imported(network, x)
    assert "multiply" in operators(model)
    assert_close(run(model, x), [network(x).detach().numpy()])


def test_weight_norm_is_computed_ahead():
    x = torch.randn(1, 3, 6, 6)
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    network = Fn(lambda s, x: s.conv(x), conv=conv)
    model = imported(network, x)
    assert operators(model) == ["nn.conv2d", "reshape", "add"]
    assert_close(run(model, x), [network(x).detach().numpy()])


def test_what_no_output_reads_is_removed_with_its_weights():
    x = torch.randn(1, 3, 6, 6)

    def function(s, x):
        s.unused(x)
        return s.conv(x)

    network = Fn(function, conv=nn.Conv2d(3, 4, 3), unused=nn.Conv2d(3, 4, 3))
    assert list(imported(network, x).weights) == ["conv.weight", "conv.bias"]


@pytest.mark.parametrize("divisor", [0.0, 1e-42], ids=["zero", "subnormal"])
def test_a_division_by_zero_is_not_folded(divisor):
    """x * inf is infinite in the sum of both signs, where the sum of x * w * inf is NaN."""
    x = torch.randn(1, 2, 4, 4)
    divisors = torch.tensor([1.0, divisor, 2.0]).reshape(3, 1, 1)
    network = Fn(lambda s, x: s.conv(x) / s.divisors, conv=nn.Conv2d(2, 3, 1))
    network.register_buffer("divisors", divisors)
    (found,) = run(imported(network, x), x)
    np.testing.assert_allclose(found, network(x).detach().numpy(), rtol=1e-5, atol=1e-6)
