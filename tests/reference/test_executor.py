"""The reference executor gives torch's and TVM's numbers, for one sample and for many."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import tvm
from torch import nn
from tvm import relax

from adaspring.errors import DataError, InputError
from adaspring.frontend.data import Dataset
from adaspring.reference.executor import Reference, accuracy, evaluate, observe
from adaspring.reference.operators import TABLE

from ..support.calls import CALLS
from ..support.models import single_call
from ..support.networks import ALL, SmallCnn, TinyEncoder, TwoInputs
from ..support.passes import Small, data, imported, known


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_many_samples_at_once_agree_with_torch(network):
    net, model = network(), known(network)
    samples = data(model, 70)
    with torch.no_grad():
        wanted = net(*map(torch.from_numpy, samples.inputs))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for given, expected in zip(evaluate(model, samples), wanted, strict=True):
        np.testing.assert_allclose(given, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_one_run_agrees_with_the_same_sample_among_many():
    model = imported(TinyEncoder(explicit=True))
    samples = data(model, 5)
    many = evaluate(model, samples)[0]
    one = Reference(model).run(samples.inputs[0][3:4])[0]
    np.testing.assert_allclose(one, many[3:4], rtol=1e-5, atol=1e-6)


def test_a_network_with_a_batch_of_four_takes_ten_samples():
    net = SmallCnn()
    model = imported(net, (4, 3, 32, 32))
    samples = data(model, 10)
    with torch.no_grad():
        wanted = net(torch.from_numpy(samples.inputs[0])).numpy()
    np.testing.assert_allclose(evaluate(model, samples)[0], wanted, rtol=1e-4, atol=1e-5)


def test_several_inputs_and_outputs_keep_their_order():
    model = known(TwoInputs)
    scores, embedding = evaluate(model, data(model, 3))
    assert (scores.shape, embedding.shape) == ((3, 5), (3, 12))


def test_an_operator_outside_the_table_runs_through_tvm():
    model = single_call(lambda x: relax.op.image.resize2d(x, (2, 6), method="linear"), (1, 2, 4, 3))
    assert "relax.image.resize2d" not in TABLE
    samples = data(model, 4)
    wanted = F.interpolate(torch.from_numpy(samples.inputs[0]), (2, 6), mode="bilinear")
    np.testing.assert_allclose(evaluate(model, samples)[0], wanted, rtol=1e-5, atol=1e-6)


def test_a_form_that_the_table_does_not_cover_runs_through_tvm():
    model = single_call(
        lambda x: relax.op.nn.max_pool2d(x, (2, 2), strides=(2, 2), ceil_mode=True), (1, 2, 5, 5)
    )
    samples = data(model, 3)
    wanted = F.max_pool2d(torch.from_numpy(samples.inputs[0]), 2, 2, ceil_mode=True).numpy()
    np.testing.assert_array_equal(evaluate(model, samples)[0], wanted)


@pytest.mark.parametrize("name", CALLS)
def test_the_table_agrees_with_tvm_compiled(name):
    build, shapes = CALLS[name]
    model = single_call(build, *shapes)
    random = np.random.default_rng(0)
    values = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    if name == "quantize":
        values[0] = np.round(values[0] * 8) / 8  # half of them are ties
    bindings = model.function.body.blocks[0].bindings
    assert all(b.value.op.name in TABLE for b in bindings if isinstance(b.value, relax.Call))
    main = relax.VirtualMachine(tvm.compile(model.module, "llvm"), tvm.cpu())["main"]
    wanted = main(*[tvm.runtime.tensor(value) for value in values])
    given = Reference(model).run(*values)[0]
    np.testing.assert_allclose(given, wanted.numpy(), rtol=1e-5, atol=2e-6)


def test_split_gives_every_piece():
    def forward(self, x):
        a, b = torch.split(x, [3, 5], dim=1)
        return b, a

    model = imported(Small(forward), (1, 8))
    x = np.arange(8, dtype=np.float32)[None]
    b, a = Reference(model).run(x)
    np.testing.assert_array_equal(np.concatenate([a, b], axis=1), x)


def test_observed_values_are_those_of_every_sample():
    model = imported(Small(lambda self, x: torch.relu(self.fc(x)), fc=nn.Linear(6, 4)), (1, 6))
    samples = data(model, 9)
    output = model.function.body.blocks[0].bindings[-1].var.name
    read = model.function.params[0].name
    seen = observe(model, samples, [output, read])
    np.testing.assert_array_equal(seen[output][:, 0], evaluate(model, samples)[0])
    np.testing.assert_array_equal(seen[read][:, 0], samples.inputs[0])


def test_an_unknown_variable_cannot_be_observed():
    model = known(SmallCnn)
    with pytest.raises(InputError, match=r"no variable.*nosuch"):
        observe(model, data(model, 1), ["nosuch"])


def test_a_wrong_shape_is_refused_with_both_shapes():
    model = known(SmallCnn)
    with pytest.raises(InputError, match=r"\(1, 3, 16, 16\).*\(1, 3, 32, 32\)"):
        Reference(model).run(np.zeros((1, 3, 16, 16), np.float32))


def test_samples_of_a_wrong_shape_are_refused():
    model = known(SmallCnn)
    with pytest.raises(DataError, match="network takes"):
        evaluate(model, Dataset(inputs=(np.zeros((2, 1, 32, 32), np.float32),)))


def test_a_sample_with_nan_is_named():
    model = known(SmallCnn)
    samples = data(model, 4).inputs[0].copy()
    samples[2, 0, 5, 5] = np.nan
    with pytest.raises(DataError, match=r"sample 2 of input .* holds NaN"):
        evaluate(model, Dataset(inputs=(samples,)))


def test_accuracy_is_the_share_of_largest_scores():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4]])
    assert accuracy(scores, np.array([1, 1, 1])) == pytest.approx(2 / 3)
