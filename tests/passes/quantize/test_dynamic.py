"""Dynamic int8 scales each input by its own largest value, and needs no calibration data."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from adaspring import targets
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.lowering.lower import lower
from adaspring.errors import PassError
from adaspring.explore.recipes import RECIPES, find_recipes
from adaspring.frontend.data import Dataset
from adaspring.ir.graph import Graph, is_call
from adaspring.ir.layers import layers, macs_count
from adaspring.passes import DynamicQuantize, Kept, Prune, Quantize, run
from adaspring.passes.quantize.dynamic import DynamicInteger
from adaspring.reference.executor import Reference, evaluate

from ...support.backends import run as built_and_run
from ...support.networks import ALL, Mlp, SmallCnn, SmallResNet, TinyEncoder
from ...support.outputs import assert_close
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known

BOARDS = {"host": targets.host(), "null": targets.null()}


def quantized(model, **settings):
    before = fingerprint(model)
    (step,) = run(model, (DynamicQuantize(**settings),), None).steps
    assert fingerprint(model) == before
    return DynamicQuantize(**settings).apply(model, step.decisions), step.decisions


def two():
    return imported(
        Small(
            lambda self, x: self.b(torch.relu(self.a(x))),
            a=nn.Conv2d(3, 8, 3, padding=1),
            b=nn.Conv2d(8, 6, 3, stride=2),
        ),
        (1, 3, 9, 9),
    )


def by_numpy(model, x):
    """The two layers in float64, over levels that are rounded here."""

    def rounded(value, limit, low):
        scale = np.float32(np.abs(value).max()) / np.float32(limit)
        levels = np.clip(np.rint(value.astype(np.float32) / scale), low, limit).astype(np.float64)
        return levels * float(scale)

    def weight(name):
        w = model.weights[name].astype(np.float64)
        scale = np.abs(w).max(axis=(1, 2, 3), keepdims=True) / 127
        return torch.from_numpy(np.rint(w / scale) * scale)

    bias = {n: torch.from_numpy(model.weights[n].astype(np.float64)) for n in ("a.bias", "b.bias")}
    first = F.conv2d(
        torch.from_numpy(rounded(x, 127, -127)), weight("a.weight"), bias["a.bias"], 1, 1
    )
    second = torch.from_numpy(rounded(first.relu().numpy(), 255, 0))
    return F.conv2d(second, weight("b.weight"), bias["b.bias"], 2).numpy()


def test_before_and_after():
    model = two()
    small, (first, second) = quantized(model)
    assert [first.dtype, second.dtype] == ["int8", "uint8"]
    assert small.weights["a.weight"].dtype == np.int8
    assert small.weights["a.weight_scale"].shape == (8,)
    assert macs_count(small) == macs_count(model)
    calls = [value for _, value in Graph.of(small).bindings if is_call(value, "relax.quantize")]
    assert [str(call.attrs.out_dtype) for call in calls] == ["int8", "uint8"]
    assert "scaled in every run" in first.describe()
    for scale in (1.0, 1e-3, 300.0):
        x = scale * data(model, 1).inputs[0]
        expected = by_numpy(model, x.astype(np.float64))
        found = Reference(small).run(x)[0]
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_every_network_stays_near_what_it_computed(network):
    model = known(network)
    small, decisions = quantized(model)
    names = [each.layer for each in decisions if isinstance(each, DynamicInteger)]
    assert names == [layer.name for layer in layers(model)]
    runs = model.inputs[0].shape[0]
    assert error_ratio(model, small, data(model, runs)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("network", [Mlp, SmallCnn, SmallResNet, TinyEncoder])
def test_what_is_built_agrees_with_the_reference(network, board, tmp_path):
    """Within 3 %: where a value lies between two levels, the board may take the other."""
    small, _ = quantized(known(network))
    for seed, scale in enumerate((1.0, 50.0)):
        inputs = [
            (scale * a[: s.shape[0]]).astype(a.dtype) if a.dtype.kind == "f" else a[: s.shape[0]]
            for a, s in zip(data(small, small.inputs[0].shape[0], seed=seed).inputs, small.inputs,
                            strict=True)
        ]  # fmt: skip
        folder = tmp_path / str(seed)
        folder.mkdir()
        built = built_and_run(small, BOARDS[board], folder, *inputs)
        assert_close(built, Reference(small).run(*inputs), 0.03)


def test_layers_multiply_integers():
    small, _ = quantized(known(SmallCnn))
    lowered = lower(small, instruction_set(targets.host()))
    for layer in layers(small):
        assert lowered.weights[layer.weight].dtype == np.int8


def test_inputs_that_grow_are_not_clipped():
    model = two()
    static = run(model, (Quantize(),), data(model, 32)).model
    small, _ = quantized(model)
    wild = Dataset(inputs=(50 * data(model, 16).inputs[0],))
    assert error_ratio(model, small, wild) < 0.05 < error_ratio(model, static, wild)


def test_an_input_of_zeros_gives_what_it_gave():
    model = two()
    small, _ = quantized(model)
    zeros = np.zeros((1, 3, 9, 9), np.float32)
    expected, found = Reference(model).run(zeros)[0], Reference(small).run(zeros)[0]
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_an_outlier_costs_the_others_their_resolution_but_nothing_breaks():
    model = two()
    small, _ = quantized(model)
    x = data(model, 1).inputs[0].copy()
    x[0, 0, 0, 0] = 1e4
    assert np.isfinite(Reference(small).run(x)[0]).all()


def test_layers_may_be_kept_and_unknown_names_are_refused():
    model = two()
    small, decisions = quantized(model, keep=("a",))
    assert decisions[-1] == Kept(layer="a", why="float, as asked for")
    assert small.weights["a.weight"].dtype == np.float32
    with pytest.raises(PassError, match="no layer named 'c' to keep"):
        run(model, (DynamicQuantize(keep=("c",)),), None)


def test_it_comes_last_and_once():
    model = known(SmallCnn)
    thin = run(model, (Prune(keep_ratio=0.5, multiple_of=1), DynamicQuantize()), None).model
    assert {w.dtype for n, w in thin.weights.items() if n.endswith("conv1.weight")} <= {
        np.dtype(np.int8)
    }
    with pytest.raises(PassError, match="put DynamicQuantize"):
        run(model, (DynamicQuantize(), Prune(keep_ratio=0.5)), None)
    with pytest.raises(PassError, match="quantized already"):
        DynamicQuantize().plan(thin, None)


def test_a_weight_with_nan_is_refused():
    model = two()
    weights = {**model.weights, "a.weight": np.full((8, 3, 3, 3), np.nan, np.float32)}
    with pytest.raises(PassError, match="a holds NaN"):
        run(model.evolved(model.module, weights), (DynamicQuantize(),), None)


def test_the_recipe_is_tried_where_it_is_named():
    assert [recipe.name for recipe in find_recipes(("int8-dynamic",))] == ["dense", "int8-dynamic"]
    assert find_recipes(()) == RECIPES
    assert not any(recipe.needs_data for recipe in find_recipes(("int8-dynamic",)))


def test_accuracy_on_trained_digits_stays():
    from ...support.training import part, wide

    held = part(1200, 1797)
    small, _ = quantized(wide())
    dense, given = (evaluate(model, held)[0].argmax(1) for model in (wide(), small))
    assert np.mean(given == held.labels) > np.mean(dense == held.labels) - 0.01
