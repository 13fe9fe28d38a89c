"""Each layer's error is measured alone, and only as many as it takes are given back to float."""

import numpy as np
import pytest
import torch
from torch import nn

from adaspring.errors import DataError, PassError
from adaspring.frontend.data import Dataset
from adaspring.ir.layers import layers
from adaspring.metrics.classes import TOP1
from adaspring.passes import Kept, MixedPrecision, Quantize, run
from adaspring.passes.quantize.int8_layer import Integer
from adaspring.passes.quantize.mixed_precision import Chosen
from adaspring.passes.quantize.sensitivity import (
    Sensitivity,
    error_ratio,
    quantization_error,
    sensitivities,
)
from adaspring.reference.executor import accuracy, evaluate

from ...support.networks import Mlp, SmallCnn
from ...support.passes import Small, data, fingerprint, imported, known


def three(seed=0):
    """Three dense layers; in `b`, a channel of 1e4 makes the input of `c` round badly."""
    net = Small(
        lambda self, x: self.c(torch.relu(self.b(torch.relu(self.a(x))))),
        seed=seed,
        a=nn.Linear(12, 16),
        b=nn.Linear(16, 16),
        c=nn.Linear(16, 5),
    )
    with torch.no_grad():
        net.b.weight[3] *= 1e4
        net.c.weight[:, 3] *= 1e-4
    return net


def labelled(model, count=64):
    """Samples labelled by the float network itself, so that any change of class is a loss."""
    samples = data(model, count)
    scores = evaluate(model, samples)[0]
    return Dataset(inputs=samples.inputs, targets=scores.argmax(axis=1))


def parts(decisions):
    floats = {d.layer for d in decisions if isinstance(d, Kept)}
    integers = {d.layer for d in decisions if isinstance(d, Integer)}
    (chosen,) = (d for d in decisions if isinstance(d, Chosen))
    return floats, integers, chosen


def test_a_layer_alone_has_the_error_of_its_own_rounding():
    model = imported(three(), (1, 12))
    samples = data(model, 48)
    integers = Quantize().plan(model, samples)
    wanted = evaluate(model, samples)
    found = {each.layer: each.error for each in sensitivities(model, integers, samples, wanted)}
    decision = next(d for d in integers if d.layer == "a")
    span, x = decision.input_range, samples.inputs[0].astype(np.float64)
    x = (np.clip(np.rint(x / span.scale) + span.zero_point, 0, 255) - span.zero_point) * span.scale
    w = {name: array.astype(np.float64) for name, array in model.weights.items()}
    w["a.weight"] = decision.values * decision.scales[:, None].astype(np.float64)
    if decision.bias is not None:
        w["a.bias"] = decision.bias.astype(np.float64)
    for name in "ab":
        x = np.maximum(x @ w[f"{name}.weight"].T + w[f"{name}.bias"], 0)
    y = x @ w["c.weight"].T + w["c.bias"]
    assert found["a"].error_ratio == pytest.approx(error_ratio(y, wanted[0]), rel=1e-3)
    assert found["a"].drop is None


def test_the_most_sensitive_layer_comes_first_and_says_so():
    model = imported(three(), (1, 12))
    samples = labelled(model)
    integers = Quantize().plan(model, samples)
    found = sensitivities(model, integers, samples, evaluate(model, samples), TOP1)
    errors = [each.error.error_ratio for each in found]
    assert found[0].layer == "c"
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 10 * errors[1]
    assert "c: alone in int8, squared output error" in found[0].describe()
    assert "points" in found[0].describe()


def test_only_the_layer_that_breaks_the_bound_is_float():
    model = imported(three(), (1, 12))
    before = fingerprint(model)
    samples = data(model, 64)
    mixed = MixedPrecision(max_error_ratio=0.005)
    decisions = mixed.plan(model, samples)
    floats, integers, chosen = parts(decisions)
    assert (floats, integers) == ({"c"}, {"a", "b"})
    assert chosen.float_count == 1
    assert "1 of 3 layers given back to float" in chosen.describe()
    kept = next(d for d in decisions if isinstance(d, Kept))
    assert "float to hold the bound: alone in int8, squared output error" in kept.describe()
    small = mixed.apply(model, decisions)
    assert {layer.name: layer.quantized for layer in layers(small)} == {
        "a": True,
        "b": True,
        "c": False,
    }
    given = quantization_error(evaluate(small, samples), evaluate(model, samples), samples)
    assert given == chosen.error
    assert given.error_ratio <= 0.005
    assert fingerprint(model) == before


def test_no_fewer_layers_would_do():
    model = known(SmallCnn)
    samples = data(model, 32)
    wanted = evaluate(model, samples)
    whole = run(model, (Quantize(),), samples).model
    bound = quantization_error(evaluate(whole, samples), wanted, samples).error_ratio / 3
    decisions = MixedPrecision(max_error_ratio=bound).plan(model, samples)
    floats, _, chosen = parts(decisions)
    ranked = [d.layer for d in decisions if isinstance(d, Sensitivity)]
    assert 0 < chosen.float_count == len(floats) < len(ranked) + 1
    assert floats == set(ranked[: chosen.float_count])
    fewer = run(model, (Quantize(keep=tuple(ranked[: chosen.float_count - 1])),), samples).model
    assert (
        quantization_error(evaluate(fewer, samples), wanted, samples).error_ratio
        > bound
        >= (chosen.error.error_ratio)
    )


def test_a_loose_bound_is_plain_quantization():
    model = known(Mlp)
    samples = data(model, 32)
    mixed = run(model, (MixedPrecision(max_error_ratio=0.5),), samples)
    plain = run(model, (Quantize(),), samples)
    assert fingerprint(mixed.model) == fingerprint(plain.model)


def test_a_bound_of_zero_leaves_the_network_as_it_was():
    model = known(Mlp)
    (step,) = run(model, (MixedPrecision(max_error_ratio=0.0),), data(model, 32)).steps
    assert {decision.layer for decision in step.decisions} == {"fc1", "fc2", "fc3"}
    assert all(isinstance(decision, Kept) for decision in step.decisions)
    assert all("alone in int8" in decision.describe() for decision in step.decisions)
    mixed = MixedPrecision(max_error_ratio=0.0)
    assert fingerprint(mixed.apply(model, step.decisions)) == fingerprint(model)


def test_the_bound_on_accuracy_counts_calibration_samples():
    model = imported(three(), (1, 12))
    samples = labelled(model, 128)
    plain = run(model, (Quantize(),), samples).model
    assert accuracy(evaluate(plain, samples)[0], samples.labels) < 0.97
    mixed = MixedPrecision(max_drop=0.03)
    decisions = mixed.plan(model, samples)
    given = evaluate(mixed.apply(model, decisions), samples)[0]
    floats, integers, chosen = parts(decisions)
    assert "c" in floats
    assert integers
    assert accuracy(given, samples.labels) == pytest.approx(1 - chosen.error.drop)
    assert chosen.error.drop <= 0.03


def test_the_settings_of_quantize_hold():
    model = imported(three(), (1, 12))
    quantize = Quantize(calibration="minmax", rounding="gptq", keep=("a",))
    mixed = MixedPrecision(max_error_ratio=0.005, quantize=quantize)
    floats, integers, _ = parts(mixed.plan(model, data(model, 48)))
    assert (floats, integers) == ({"a", "c"}, {"b"})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "needs a bound; give max_error_ratio or max_drop"),
        ({"max_error_ratio": -0.1}, r"max_error_ratio is -0.1; choose a value from 0"),
        ({"max_drop": -1.5}, r"max_drop is -1.5; choose a value from 0"),
        ({"max_drop": float("nan")}, r"max_drop is nan; choose a value from 0"),
    ],
)
def test_bounds_that_say_nothing_are_refused(wrong, why):
    with pytest.raises(PassError, match=why):
        MixedPrecision(**wrong)


def test_a_bound_beyond_all_shares_is_refused_for_a_share():
    model = known(Mlp)
    with pytest.raises(PassError, match=r"max_drop is 1\.5; choose a value from 0 to below 1"):
        MixedPrecision(max_drop=1.5).plan(model, labelled(model))


def test_the_bound_is_in_the_unit_of_any_metric():
    model = imported(three(), (1, 12))
    samples = data(model, 64)
    wanted = evaluate(model, samples)[0]
    near = Dataset(inputs=samples.inputs, targets=wanted + np.float32(0.01))

    def mse(decisions):
        given = evaluate(Quantize().apply(model, decisions), near)[0]
        return float(np.square(given.astype(np.float64) - near.targets).mean())

    all_int8 = mse(Quantize().plan(model, near))
    mixed = MixedPrecision(max_drop=all_int8 / 10, metric="mse")
    decisions = mixed.plan(model, near)
    floats, integers, chosen = parts(decisions)
    assert floats
    assert integers
    assert chosen.error.drop == pytest.approx(mse(decisions) - 1e-4, rel=1e-3)
    assert chosen.error.drop <= all_int8 / 10
    assert "mse worse by" in chosen.describe()


def test_without_labels_the_bound_is_on_agreement_with_the_float_network():
    model = imported(three(), (1, 12))
    samples = data(model, 128)
    decisions = MixedPrecision(max_drop=0.03).plan(model, samples)
    given = evaluate(Quantize().apply(model, decisions), samples)[0].argmax(axis=1)
    agreed = np.mean(given == evaluate(model, samples)[0].argmax(axis=1))
    _, _, chosen = parts(decisions)
    assert chosen.error.drop == pytest.approx(1 - agreed)
    assert chosen.error.drop <= 0.03
    assert "agreement" in chosen.describe()


def test_data_that_cannot_tell_are_refused():
    model = known(Mlp)
    with pytest.raises(PassError, match="needs calibration data"):
        MixedPrecision(max_error_ratio=0.1).plan(model, None)
    with pytest.raises(DataError, match="top1 needs labels"):
        MixedPrecision(max_drop=0.1, metric="top1").plan(model, data(model, 8))
    broken = model.weights["fc3.weight"].copy()
    broken[0, 0] = np.inf
    model = model.evolved(model.module, {**model.weights, "fc3.weight": broken})
    with pytest.raises(PassError, match="outputs hold NaN or infinity"):
        MixedPrecision(max_error_ratio=0.1).plan(model, data(model, 8))


def test_a_quantized_network_is_refused():
    model = known(Mlp)
    small = run(model, (Quantize(),), data(model, 8)).model
    with pytest.raises(PassError, match="is quantized already"):
        MixedPrecision(max_error_ratio=0.1).plan(small, data(model, 8))
