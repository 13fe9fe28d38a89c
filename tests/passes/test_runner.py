"""A pipeline keeps every decision, checks every step, and names the pass that fails."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from adaspring.errors import PassError
from adaspring.frontend.data import Dataset
from adaspring.ir.layers import layers, macs_count, weight_bytes
from adaspring.passes import DropBlocks, Factorize, Kept, Prune, Quantize, run

from ..support.networks import ALL, SmallCnn, SmallResNet
from ..support.passes import data, error_ratio, fingerprint, known

ALL_THREE = (Prune(keep_ratio=0.75), Factorize(max_error_ratio=0.2), Quantize())


@pytest.mark.slow
@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_prune_factorize_quantize_works_on_every_network(network):
    model = known(network)
    before = fingerprint(model)
    samples = data(model, 48)
    result = run(model, ALL_THREE, samples)
    assert fingerprint(model) == before
    assert [step.settings for step in result.steps] == list(ALL_THREE)
    assert any(layer.quantized for layer in layers(result.model))
    assert macs_count(result.model) <= macs_count(model)
    assert np.isfinite(error_ratio(model, result.model, samples))


def test_each_step_says_what_it_saved():
    model = known(SmallResNet)
    first, second, third = run(model, ALL_THREE, data(model, 32)).steps
    assert first.macs_count_before == macs_count(model)
    assert first.weight_bytes_before == weight_bytes(model)
    assert first.macs_count_after == second.macs_count_before
    assert third.weight_bytes_after < third.weight_bytes_before / 3
    assert third.macs_count_after == third.macs_count_before
    assert "MACs" in first.describe()
    assert all(
        decision.describe() for step in (first, second, third) for decision in step.decisions
    )


def test_no_passes_give_the_model_back():
    model = known(SmallCnn)
    assert run(model, (), None).model is model


def test_two_runs_give_the_same_network():
    model = known(SmallCnn)
    first, second = (run(model, ALL_THREE, data(model, 32)).model for _ in range(2))
    assert fingerprint(first) == fingerprint(second)


def test_a_pass_that_needs_data_says_so_before_it_starts():
    with pytest.raises(PassError, match=r"Quantize\(.*\) needs calibration data; give a data set"):
        run(known(SmallCnn), (Quantize(),), None)


LATE = (Prune(keep_ratio=0.5), Factorize(max_error_ratio=0.1), DropBlocks(count=1), Quantize())


@pytest.mark.parametrize("late", LATE)
def test_compressing_after_quantizing_is_refused_before_anything_runs(late):
    with pytest.raises(PassError, match=r"after Quantize\(.*\): .* quantized already .* last"):
        run(known(SmallCnn), (Prune(keep_ratio=0.5), Quantize(), late), None)


@pytest.mark.parametrize("late", LATE)
def test_a_quantized_network_is_refused_by_every_pass(late):
    model = known(SmallCnn)
    samples = data(model, 8)
    integer = run(model, (Quantize(),), samples).model
    with pytest.raises(PassError, match=r"conv1 is quantized already"):
        run(integer, (late,), samples)


@pytest.mark.slow
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1)])
def test_blocks_are_dropped_before_or_after_other_passes(order):
    model = known(SmallResNet)
    three = (DropBlocks(count=1), Prune(keep_ratio=0.75), Factorize(max_error_ratio=0.2))
    samples = data(model, 24)
    result = run(model, (*(three[i] for i in order), Quantize()), samples)
    assert macs_count(result.model) < 0.7 * macs_count(model)
    assert error_ratio(model, result.model, samples) < 0.6


def test_nan_in_the_calibration_data_is_refused():
    model = known(SmallCnn)
    samples = data(model, 4).inputs[0].copy()
    samples[1] = np.nan
    for settings in ALL_THREE:
        with pytest.raises(PassError, match=r"sample 1 of input .* holds NaN or infinity"):
            run(model, (settings,), Dataset(inputs=(samples,)))


@dataclass(frozen=True)
class Breaks:
    """A pass whose result is not a well-formed function."""

    needs_data: ClassVar[bool] = False

    def plan(self, model, calibration):
        return (Kept(layer="conv1", why="test"),)

    def apply(self, model, decisions):
        raise ValueError("out of luck")


def test_a_failing_pass_is_named_with_what_ran_before_it():
    with pytest.raises(
        PassError, match=r"Breaks\(\) failed after Prune\(keep_ratio=0.5.*out of luck"
    ):
        run(known(SmallCnn), (Prune(keep_ratio=0.5), Breaks()), None)
