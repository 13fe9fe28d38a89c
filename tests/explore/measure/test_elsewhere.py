"""What a board that is not at hand would compute is run here, and compared."""

from dataclasses import replace

import numpy as np
import pytest

from adaspring import targets
from adaspring.backends.build import prepare, schedule
from adaspring.explore.board.code_jobs import CodeJob
from adaspring.explore.measure.elsewhere import agreement_elsewhere
from adaspring.explore.progress import Silent
from adaspring.explore.recipes import find_recipe
from adaspring.explore.variants import make_probe, make_variant
from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.passes import Quantize, run

from ...support.networks import SmallCnn, example_inputs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dense():
    network = SmallCnn()
    return from_torch(network, example_inputs(network), name="net")


def agreement(model, compressed, board, tmp_path, spoil=lambda weights: weights):
    probe = make_probe(model, None)
    variant = make_variant(find_recipe("dense"), compressed, probe)
    prepared = prepare(variant.model, targets.find(board))
    job = CodeJob("dense", prepared, schedule(prepared, None))
    spoiled = replace(job, prepared=replace(prepared, weights=spoil(dict(prepared.weights))))
    return agreement_elsewhere(model, [variant], [spoiled], probe, tmp_path, Silent())[
        "dense"
    ].ratio


@pytest.mark.parametrize("board", ["raspberry-pi-4", "rock-5b", "rock-5b-mali"])
@pytest.mark.parametrize("quantized", [False, True])
def test_a_lowering_for_a_board_agrees_with_the_reference(dense, board, quantized, tmp_path):
    samples = tuple(
        np.random.default_rng(0).normal(size=(8, *spec.shape[1:])).astype(spec.dtype)
        for spec in dense.inputs
    )
    data = Dataset(inputs=samples, targets=None)
    passes = (Quantize(),) if quantized else ()
    compressed = run(dense, passes, data)
    assert agreement(dense, compressed, board, tmp_path) < 5e-3


def test_a_lowering_that_is_wrong_is_seen(dense, tmp_path):
    def spoil(weights):
        name = next(name for name, value in weights.items() if value.ndim >= 4)
        return weights | {name: np.ascontiguousarray(weights[name][::-1])}

    compressed = run(dense, (), None)
    assert agreement(dense, compressed, "raspberry-pi-5", tmp_path, spoil) > 1e-2
