"""A lifted network gives the reference's outputs and torch's gradients, and its weights go back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from tvm import relax

from adaspring.errors import InputError, UnsupportedOperator
from adaspring.ir.model import Model
from adaspring.passes import Factorize, Prune, Quantize, run
from adaspring.reference.executor import Reference, evaluate
from adaspring.training import TorchModel

from ..support.calls import CALLS
from ..support.models import single_call
from ..support.networks import ALL, TinyEncoder, TwoInputs
from ..support.passes import Small, data, fingerprint, imported, known


def runs(model: Model, count: int) -> list[torch.Tensor]:
    """Give `count` runs (S, *shape) of random inputs."""
    random = np.random.default_rng(0)
    shapes = [(count, *spec.shape) for spec in model.inputs]
    return [torch.from_numpy(random.normal(size=s).astype(np.float32)) for s in shapes]


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_many_runs_at_once_give_the_reference_executors_outputs(network):
    model = known(network)
    inputs = runs(model, 5)
    wanted = Reference(model).mapped([x.numpy() for x in inputs])
    for given_, expected in zip(TorchModel(model)(*inputs), wanted, strict=True):
        np.testing.assert_allclose(given_.detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_every_operator_gives_the_reference_executors_numbers(name):
    build, shapes = CALLS[name]
    model = single_call(build, *shapes)
    inputs = runs(model, 3)
    wanted = Reference(model).mapped([x.numpy() for x in inputs])[0]
    given_ = TorchModel(model)(*inputs)[0]
    assert given_.dtype == torch.from_numpy(wanted).dtype
    np.testing.assert_allclose(given_.numpy(), wanted, rtol=1e-6, atol=1e-6)


def conv_net():
    def forward(self, x):
        y = torch.relu(self.conv(x))
        return self.fc(nn.functional.max_pool2d(y, 2).flatten(1))

    return Small(forward, conv=nn.Conv2d(2, 4, 3, padding=1), fc=nn.Linear(36, 5))


@pytest.mark.parametrize("make", [conv_net, TinyEncoder], ids=["convolutions", "encoder"])
def test_gradients_are_those_of_the_source_network(make):
    net = make()
    shape = (1, 2, 6, 6) if make is conv_net else (1, 16, 32)
    lifted = TorchModel(imported(net, shape))
    x = runs(lifted.model, 4)[0]
    net(x[:, 0]).square().sum().backward()
    lifted(x)[0].square().sum().backward()
    theirs, ours = dict(net.named_parameters()), dict(lifted.named_parameters())
    assert set(ours) == set(theirs)
    for name, parameter in theirs.items():
        scale = float(parameter.grad.abs().max())
        difference = (ours[name].grad - parameter.grad.reshape(ours[name].shape)).abs().max()
        assert float(difference) <= 1e-5 * max(scale, 1.0), name


def test_the_parameters_have_the_models_names_and_integers_are_buffers():
    model = run(known(TinyEncoder), (Quantize(),), data(known(TinyEncoder))).model
    lifted = TorchModel(model)
    parameters, buffers = dict(lifted.named_parameters()), dict(lifted.named_buffers())
    assert set(parameters) | set(buffers) == set(model.weights)
    assert {model.weights[name].dtype.kind for name in parameters} == {"f"}
    assert {str(model.weights[name].dtype) for name in buffers} == {"int8"}


@pytest.mark.parametrize(
    "passes",
    [(Prune(keep_ratio=0.5, multiple_of=1),), (Factorize(max_error_ratio=0.5, multiple_of=1),)],
    ids=["pruned", "factorized"],
)
def test_compressed_networks_are_lifted_as_they_are(passes):
    dense = imported(conv_net(), (1, 2, 6, 6))
    model = run(dense, passes, None).model
    assert set(model.weights) != set(dense.weights) or (
        model.weights["conv.weight"].shape != dense.weights["conv.weight"].shape
    )
    inputs = runs(model, 3)
    wanted = Reference(model).mapped([x.numpy() for x in inputs])[0]
    np.testing.assert_allclose(
        TorchModel(model)(*inputs)[0].detach().numpy(), wanted, rtol=1e-5, atol=1e-5
    )


def test_one_run_has_the_networks_own_shapes():
    model = known(TwoInputs)
    lifted = TorchModel(model)
    inputs = runs(model, 3)
    together = lifted(*inputs)
    alone = lifted(*[x[1] for x in inputs])
    for many, one, spec in zip(together, alone, model.outputs, strict=True):
        assert tuple(one.shape) == spec.shape
        torch.testing.assert_close(many[1], one, rtol=1e-5, atol=1e-6)


def test_trained_weights_go_back_into_the_model_and_the_model_is_untouched():
    model = imported(conv_net(), (1, 2, 6, 6))
    before = fingerprint(model)
    lifted = TorchModel(model)
    with torch.no_grad():
        for parameter in lifted.parameters():
            parameter.mul_(1.5)
    evolved = lifted.evolved()
    assert fingerprint(model) == before
    assert list(evolved.weights) == list(model.weights)
    for name, array in model.weights.items():
        np.testing.assert_array_equal(evolved.weights[name], np.float32(1.5) * array)
    with torch.no_grad():
        lifted.fc.bias.zero_()
    assert evolved.weights["fc.bias"].any()
    samples = data(model, 3)
    assert not np.allclose(evaluate(evolved, samples)[0], evaluate(model, samples)[0])


def test_an_operator_outside_the_table_is_refused_by_name():
    model = single_call(lambda x: relax.op.image.resize2d(x, (6, 6)), (1, 3, 3, 5))
    with pytest.raises(UnsupportedOperator, match=r"relax\.image\.resize2d .*without retraining"):
        TorchModel(model)


def test_a_form_that_the_table_does_not_cover_is_refused_by_name():
    model = single_call(lambda x: relax.op.nn.max_pool2d(x, (2, 2), layout="NHWC"), (1, 6, 6, 2))
    with pytest.raises(UnsupportedOperator, match=r"relax\.nn\.max_pool2d in this form"):
        TorchModel(model)(*runs(model, 2))


def test_inputs_of_another_rank_are_refused_with_the_shapes():
    lifted = TorchModel(known(TwoInputs))
    with pytest.raises(InputError, match=r"\(1, 3, 16, 16\).*\(1, 8\)"):
        lifted(torch.zeros(1, 3, 16, 16), torch.zeros(2, 1, 8))


names = st.lists(
    st.sampled_from(["a", "type", "forward", "0", "onnx::MatMul_3", "x/y"]), min_size=1
)


@settings(max_examples=30, deadline=None)
@given(first=names.map(".".join), second=names.map(".".join))
def test_any_weight_name_is_kept(first, second):
    params = [relax.Var(f"v{i}", relax.TensorType((2, 2), "float32")) for i in range(3)]
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            product = builder.emit(relax.op.matmul(params[0], params[1]))
            out = builder.emit_output(relax.op.add(product, params[2]))
        builder.emit_func_output(out)
    base = known(TwoInputs)
    second = second if second != first else f"{second}.b"
    weights = {first: np.eye(2, dtype=np.float32), second: np.ones((2, 2), np.float32)}
    specs = (base.inputs[0].__class__(name="x", shape=(2, 2), dtype="float32"),)
    model = Model(name="n", module=builder.get(), weights=weights, inputs=specs, outputs=())
    lifted = TorchModel(model)
    assert set(dict(lifted.named_parameters())) == {first, second}
    torch.testing.assert_close(lifted(torch.eye(2))[0].detach(), torch.eye(2) + 1)
