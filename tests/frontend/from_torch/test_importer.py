"""torch networks keep their numbers and their weights' names."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from adaspring.errors import ModelError, UnsupportedOperator
from adaspring.frontend.from_torch.importer import from_torch

from ...support.frontend import operators, run
from ...support.networks import (
    ALL,
    Fn,
    Mlp,
    SmallCnn,
    SmallResNet,
    TinyEncoder,
    TwoInputs,
    example_inputs,
)
from ...support.outputs import assert_close


def results(network, inputs):
    with torch.no_grad():
        y = network(*inputs)
    return [t.numpy() for t in (y if isinstance(y, tuple) else (y,))]


@pytest.mark.parametrize("make", [*ALL, lambda: TinyEncoder(explicit=True)])
def test_an_imported_network_computes_what_torch_does(make):
    network = make()
    inputs = example_inputs(network)
    model = from_torch(network, inputs, name="network")
    assert_close(run(model, *inputs), results(network, inputs))


@pytest.mark.parametrize("make", ALL)
def test_every_weight_has_a_name_of_the_source_or_is_a_layers_bias(make):
    network = make()
    model = from_torch(network, example_inputs(network), name="network")
    source = set(network.state_dict())
    layers = {name.removesuffix(".weight") for name in source if name.endswith(".weight")}
    for name in model.weights:
        assert name in source or name.removesuffix(".bias") in layers, name
    assert all(value.dtype == np.float32 for value in model.weights.values())


@pytest.mark.parametrize("make", ALL)
def test_the_ir_is_one_dataflow_block_of_operators_without_batch_norm(make):
    network = make()
    model = from_torch(network, example_inputs(network), name="network")
    assert len(model.module.functions) == 1
    assert len(model.function.body.blocks) == 1
    assert "nn.batch_norm" not in operators(model)
    assert not [name for name in operators(model) if name.startswith("call_")]


def test_a_residual_network_is_convolutions_biases_relus_and_additions_alone():
    model = from_torch(SmallResNet(), example_inputs(SmallResNet()), name="resnet")
    assert set(operators(model)) == {
        *("nn.conv2d", "reshape", "add", "nn.relu", "mean", "permute_dims", "matmul")
    }


def test_several_inputs_and_outputs_keep_their_order_names_and_shapes():
    model = from_torch(TwoInputs(), example_inputs(TwoInputs()), name="two")
    assert [(i.name, i.shape, i.dtype) for i in model.inputs] == [
        ("image", (1, 3, 16, 16), "float32"),
        ("features", (1, 8), "float32"),
    ]
    assert [o.shape for o in model.outputs] == [(1, 5), (1, 12)]


def test_a_training_network_is_imported_in_eval_mode_and_left_in_training_mode():
    network = SmallCnn()
    network.train()
    network.bn1.eval()
    inputs = example_inputs(network)
    model = from_torch(network, inputs, name="cnn")
    assert network.training
    assert network.conv1.training
    assert not network.bn1.training
    assert_close(run(model, *inputs), results(network.eval(), inputs))


def test_the_callers_weights_are_untouched_and_not_shared():
    network = SmallCnn()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model = from_torch(network, example_inputs(network), name="cnn")
    fc = model.weights["fc1.weight"].copy()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    with torch.no_grad():
        network.fc1.weight.zero_()
    np.testing.assert_array_equal(model.weights["fc1.weight"], fc)


IMAGE = (2, 4, 9, 9)
OPERATORS = {
    "relu6": (lambda s, x: F.relu6(5 * x), IMAGE),
    "hardswish": (lambda s, x: F.hardswish(4 * x), IMAGE),
    "hardsigmoid": (lambda s, x: F.hardsigmoid(4 * x), IMAGE),
    "silu": (lambda s, x: F.silu(x), IMAGE),
    "sigmoid and tanh": (lambda s, x: torch.sigmoid(x) * torch.tanh(x), IMAGE),
    "leaky relu": (lambda s, x: F.leaky_relu(x, 0.2), IMAGE),
    "gelu": (lambda s, x: F.gelu(x) + F.gelu(x, approximate="tanh"), IMAGE),
    "softmax": (lambda s, x: F.softmax(x, 1) + F.log_softmax(x, -1), IMAGE),
    "concat and split": (lambda s, x: torch.cat([x, torch.split(x, [1, 3], 1)[1]], 1), IMAGE),
    "channel shuffle": (lambda s, x: x.view(2, 2, 2, 81).transpose(1, 2).reshape(2, -1), IMAGE),
    "average pool": (lambda s, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), IMAGE),
    "max pool": (lambda s, x: F.max_pool2d(x - 10, 3, 2, 1), IMAGE),
    "adaptive pool": (lambda s, x: F.adaptive_avg_pool2d(x, (4, 7)), IMAGE),
    "nearest": (lambda s, x: F.interpolate(x, size=(13, 14)), IMAGE),
    "bilinear": (lambda s, x: F.interpolate(x, scale_factor=2, mode="bilinear"), IMAGE),
    "padding": (lambda s, x: F.pad(x, (1, 2, 0, 3), value=0.5), IMAGE),
    "amax": (lambda s, x: x.amax((2, 3)), IMAGE),
    "scaled exponential units": (lambda s, x: F.selu(x) + F.elu(x, 0.7) + F.celu(x, 0.6), IMAGE),
    "adaptive max pool": (lambda s, x: F.adaptive_max_pool2d(x, 3), IMAGE),
    "causal attention": (
        lambda s, x: F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.3),
        (1, 2, 5, 4),
    ),
    "three-dimensional attention": (
        lambda s, x: F.scaled_dot_product_attention(x, 2 * x, x),
        (2, 5, 4),
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_computes_what_torch_does(name):
    function, shape = OPERATORS[name]
    network = Fn(function).eval()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    model = from_torch(network, (x,), name="operator")
    assert_close(run(model, x), results(network, (x,)))


@pytest.mark.parametrize("boolean", [True, False])
def test_an_attention_mask_that_is_a_buffer_is_honoured(boolean):
    mask = torch.ones(5, 5).tril()
    network = Fn(
        lambda s, x: F.scaled_dot_product_attention(x, x, x, attn_mask=s.mask),
        mask=nn.Buffer(mask.bool() if boolean else mask),
    ).eval()
    x = torch.randn(1, 2, 5, 4)
    assert_close(run(from_torch(network, (x,), name="m"), x), results(network, (x,)))


def test_squeeze_and_excite_has_its_layers():
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 1))
    network = Fn(lambda s, x: x * F.hardsigmoid(s.gate(x)), gate=gate).eval()
    x = torch.randn(IMAGE)
    model = from_torch(network, (x,), name="se")
    assert list(model.weights) == [
        *("gate.1.weight", "gate.1.bias", "gate.3.weight", "gate.3.bias")
    ]
    assert_close(run(model, x), results(network, (x,)))


def test_token_ids_are_integer_inputs():
    network = Fn(lambda s, x: s.e(x).mean(1), e=nn.Embedding(10, 6)).eval()
    x = torch.tensor([[1, 2, 9]])
    model = from_torch(network, (x,), name="embedding")
    assert model.inputs[0].dtype == "int64"
    assert_close(run(model, x), results(network, (x,)))


def test_an_operator_that_cannot_be_imported_is_named_with_its_layer():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.i0(x)

    network = nn.Sequential(nn.Linear(4, 4), Odd())
    with pytest.raises(UnsupportedOperator, match=r"aten\.\S*i0\S* in layer '1'") as caught:
        from_torch(network, (torch.ones(1, 4),), name="odd")
    assert "\n" not in str(caught.value)


def test_a_setting_that_cannot_be_imported_is_refused_without_noise(capfd):
    network = Fn(lambda s, x: torch.cdist(torch.relu(x), x, p=1.0)).eval()
    with pytest.raises(UnsupportedOperator, match=r"_cdist_forward.* p = 1.0 is not supported"):
        from_torch(network, (torch.randn(IMAGE),), name="distances")
    assert capfd.readouterr() == ("", "")


def test_a_double_network_is_refused_with_what_to_do():
    with pytest.raises(ModelError, match=r"torch\.float64; convert the network with \.float\(\)"):
        from_torch(Mlp().double(), (torch.ones(1, 64).double(),), name="mlp")


def test_a_program_exported_in_training_mode_is_refused():
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    program = torch.export.export(network, (torch.ones(1, 4),))
    with pytest.raises(ModelError, match=r"dropout in layer '1' is on; export .* eval mode"):
        from_torch(program, name="dropout")


def test_free_dimensions_are_refused():
    batch = torch.export.Dim("batch", min=2, max=8)
    program = torch.export.export(Mlp(), (torch.ones(4, 64),), dynamic_shapes={"x": {0: batch}})
    with pytest.raises(ModelError, match="without dynamic_shapes"):
        from_torch(program, name="mlp")


def test_an_output_that_is_not_a_tensor_is_refused():
    network = Fn(lambda s, x: (x + 1, 3)).eval()
    with pytest.raises(ModelError, match="returns something that is not a tensor"):
        from_torch(network, (torch.ones(2),), name="pair")


def test_a_network_that_counts_its_calls_is_refused():
    def function(s, x):
        s.calls.add_(1)
        return x + s.calls

    network = Fn(function, calls=nn.Buffer(torch.zeros(1))).eval()
    with pytest.raises(ModelError, match="modifies its buffer calls as it runs"):
        from_torch(network, (torch.ones(2),), name="counter")


def test_a_module_without_example_inputs_is_refused():
    with pytest.raises(ModelError, match="needs example inputs"):
        from_torch(Mlp(), name="mlp")


def test_a_network_that_torch_cannot_trace_gives_one_line():
    network = Fn(lambda s, x: x if x.sum() > 0 else -x).eval()
    with pytest.raises(ModelError, match="cannot trace") as caught:
        from_torch(network, (torch.ones(2),), name="branch")
    assert "\n" not in str(caught.value)
