"""Recurrent weights in 8 and 16 bits: what is stored, what is computed, what is left alone."""

import numpy as np
import pytest
import torch
from torch import nn

from adaspring import targets
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.loops import loops
from adaspring.ir.verify import verify
from adaspring.passes import DynamicQuantize, MixedPrecision, Quantize, SixteenBit, WeightOnly
from adaspring.passes.decision import Kept
from adaspring.passes.loop_weights import LoopWeight
from adaspring.reference.executor import Reference

from ..support.backends import run
from ..support.outputs import assert_close
from ..support.passes import data, fingerprint


class Tagger(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = kind(6, 20, bidirectional=True), nn.Linear(40, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0])


def imported(kind=nn.LSTM):
    return from_torch(Tagger(kind).eval(), (torch.zeros(5, 2, 6),), name="tagger")


def sample():
    return np.random.default_rng(0).standard_normal((5, 2, 6)).astype(np.float32)


PASSES = {
    "int8": WeightOnly(),
    "bfloat16": SixteenBit(),
    "float16": SixteenBit(dtype="float16"),
    "int8 too": Quantize(),
    "int8 dynamic": DynamicQuantize(),
}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("name", PASSES)
def test_a_rounded_loop_computes_nearly_what_it_did(name, kind, tmp_path):
    model, x = imported(kind), sample()
    before = fingerprint(model)
    decisions = PASSES[name].plan(model, data(model, 8))
    rounded = PASSES[name].apply(model, decisions)
    verify(rounded)
    assert fingerprint(model) == before
    assert [loop.stored.dtype for loop in loops(rounded)] == [name.split()[0]] * 2
    wanted, found = Reference(model).run(x)[0], Reference(rounded).run(x)[0]
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
    assert np.abs(found - wanted).max() > 0
    assert_close(run(rounded, targets.host(), tmp_path, x), [found], 2e-3 if " " in name else 1e-5)


def test_int8_has_a_scale_for_each_row():
    model = imported()
    decisions = [d for d in WeightOnly().plan(model, None) if isinstance(d, LoopWeight)]
    assert [d.layer for d in decisions] == ["layer.weight_hh_l0", "layer.weight_hh_l0_reverse"]
    weight = model.weights["layer.weight_hh_l0"].astype(np.float64)
    scales = np.abs(weight).max(axis=1) / 127
    np.testing.assert_allclose(decisions[0].scales, scales, rtol=1e-6)
    np.testing.assert_array_equal(decisions[0].stored, np.rint(weight / scales[:, None]))
    assert decisions[0].describe().startswith("layer.weight_hh_l0: a loop's weights in int8, chang")


def test_four_bits_leave_a_loop_alone_and_say_why():
    model = imported()
    kept = [d for d in WeightOnly(bits=4).plan(model, None) if "_hh_" in d.layer]
    assert [type(d) for d in kept] == [Kept, Kept]
    assert "8 bits and a scale for each output" in kept[0].why


def test_weights_that_float16_cannot_hold_stay_as_they_are():
    network = Tagger().eval()
    with torch.no_grad():
        network.layer.weight_hh_l0[0, 0] = 1e6
    model = from_torch(network, (torch.zeros(5, 2, 6),), name="tagger")
    decisions = SixteenBit(dtype="float16").plan(model, data(model, 4))
    kept = {d.layer: d for d in decisions}["layer.weight_hh_l0"]
    assert isinstance(kept, Kept)
    assert "beyond float16" in kept.why


def test_mixed_precision_keeps_loops_in_floats():
    model = imported()
    mixed = MixedPrecision(max_error_ratio=0.5)
    decisions = mixed.plan(model, data(model, 8))
    assert [type(d) for d in decisions if "_hh_" in d.layer] == [Kept, Kept]
    assert [loop.stored.dtype for loop in loops(mixed.apply(model, decisions))] == ["float32"] * 2
