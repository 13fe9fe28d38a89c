"""A network written as a .pt2 comes back with its names, its layers and its outputs."""

import numpy as np
import pytest
from tvm import relax

from adaspring.errors import TrainingError
from adaspring.frontend import load_model
from adaspring.ir.layers import layers
from adaspring.ir.model import Model, TensorSpec
from adaspring.passes import Factorize, Prune, Quantize, run
from adaspring.reference.executor import evaluate
from adaspring.training import pt2_bytes

from ..support.networks import ALL, SmallCnn, TwoInputs
from ..support.passes import data, fingerprint, known

COMPRESSED = (Prune(keep_ratio=0.5, multiple_of=1), Factorize(max_error_ratio=0.3, multiple_of=1))


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_a_compressed_network_comes_back_whole(network, tmp_path):
    model = run(known(network), COMPRESSED, None).model
    before = fingerprint(model)
    (tmp_path / "net.pt2").write_bytes(pt2_bytes(model))
    found = load_model(tmp_path / "net.pt2")
    assert fingerprint(model) == before
    assert set(found.weights) == set(model.weights)
    assert [spec.name for spec in found.inputs] == [spec.name for spec in model.inputs]
    assert [(a.name, a.bias) for a in layers(found)] == [(a.name, a.bias) for a in layers(model)]
    samples = data(model, 5)
    for ours, theirs in zip(evaluate(found, samples), evaluate(model, samples), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_quantized_network_is_refused_with_the_weight():
    model = run(known(SmallCnn), (Quantize(),), data(known(SmallCnn), 8)).model
    with pytest.raises(TrainingError, match=r"conv1\.weight is int8; .*float network"):
        pt2_bytes(model)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [(("in.1", "in_1"), ["in_1", "in_1_"]), (("class", "0x"), ["class_", "_0x"])],
)
def test_input_names_that_are_not_pythons_are_made_so(names, wanted, tmp_path):
    model = known(TwoInputs)
    inputs = tuple(
        TensorSpec(name=name, shape=spec.shape, dtype=spec.dtype)
        for name, spec in zip(names, model.inputs, strict=True)
    )
    renamed = Model(
        name="n",
        module=model.module,
        weights=model.weights,
        inputs=inputs,
        outputs=model.outputs,
    )
    (tmp_path / "net.pt2").write_bytes(pt2_bytes(renamed))
    found = load_model(tmp_path / "net.pt2")
    assert [spec.name for spec in found.inputs] == wanted
    assert isinstance(found.function, relax.Function)
