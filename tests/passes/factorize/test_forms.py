"""Every form of a convolution gives what it promises, and says where it does not fit."""

import numpy as np
import pytest
import torch
from torch import nn
from tvm import relax

from adaspring.ir.layers import layers, macs_count
from adaspring.passes import Kept, Prune, Quantize, run
from adaspring.passes.factorize.factorize import Factorize, Split
from adaspring.passes.factorize.forms import ALL_FORMS
from adaspring.passes.factorize.forms.depthwise import Bottleneck, Cp, Separable
from adaspring.passes.factorize.forms.matrix import Svd, Tucker
from adaspring.passes.factorize.forms.separated import Fire, Spatial

from ...support.networks import SmallCnn
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known, shapes

pytestmark = pytest.mark.slow

FITTED = (Spatial(), Cp(), Bottleneck(), Separable(), Fire())
MOVES = {
    "strided": {"stride": 2, "padding": 1},
    "dilated": {"padding": (2, 3), "dilation": 2},
    "mixed": {"stride": (2, 1), "padding": (3, 2), "dilation": (1, 2)},
}
C_IN, C_OUT, RANK = 12, 10, 4


def random_factors():
    random = np.random.default_rng(0)
    return lambda *shape: random.normal(size=shape)


def exact_weight(form):
    """A weight (10, 12, 3, 3) that has this form, written out by hand, at rank 4 if it has one."""
    draw = random_factors()
    if form.name == "spatial":
        return np.einsum("orx,riy->oiyx", draw(C_OUT, RANK, 3), draw(RANK, C_IN, 3))
    if form.name == "cp":
        return np.einsum(
            "or,ry,rx,ri->oiyx", draw(C_OUT, RANK), draw(RANK, 3), draw(RANK, 3), draw(RANK, C_IN)
        )
    if form.name == "bottleneck":
        return np.einsum("or,ryx,ri->oiyx", draw(C_OUT, RANK), draw(RANK, 3, 3), draw(RANK, C_IN))
    if form.name == "separable":
        return np.einsum("oi,iyx->oiyx", draw(C_OUT, C_IN), draw(C_IN, 3, 3))
    squeeze, point, around = (
        draw(RANK, C_IN),
        np.zeros((C_OUT // 2, RANK, 3, 3)),
        draw(C_OUT // 2, RANK, 3, 3),
    )
    point[:, :, 1, 1] = draw(C_OUT // 2, RANK)
    return np.einsum("opyx,pi->oiyx", np.concatenate([point, around]), squeeze)


EXPECTED = {
    "spatial": [(RANK, C_IN, 3, 1), (C_OUT, RANK, 1, 3)],
    "cp": [(RANK, C_IN, 1, 1), (RANK, 1, 3, 1), (RANK, 1, 1, 3), (C_OUT, RANK, 1, 1)],
    "bottleneck": [(RANK, C_IN, 1, 1), (RANK, 1, 3, 3), (C_OUT, RANK, 1, 1)],
    "separable": [(C_IN, 1, 3, 3), (C_OUT, C_IN, 1, 1)],
    "fire": [(RANK, C_IN, 1, 1), (C_OUT // 2, RANK, 1, 1), (C_OUT // 2, RANK, 3, 3)],
}


def conv(weight, size=(9, 10), bias=True, **moves):
    c_out, c_in, *kernel = weight.shape
    layer = nn.Conv2d(c_in, c_out, tuple(kernel), bias=bias, **moves)
    net = Small(lambda self, x: torch.relu(self.c(x)), c=layer)
    with torch.no_grad():
        net.c.weight.copy_(torch.from_numpy(np.asarray(weight)))
    return imported(net, (1, c_in, *size))


def split(model, form, max_error_ratio, calibration=None, multiple_of=1):
    factorize = Factorize(max_error_ratio=max_error_ratio, multiple_of=multiple_of, forms=(form,))
    decisions = factorize.plan(model, calibration)
    small = factorize.apply(model, decisions)
    relax.analysis.well_formed(small.module)
    return small, decisions


@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES.keys())
@pytest.mark.parametrize("form", FITTED, ids=lambda form: form.name)
def test_a_weight_that_has_a_form_is_found_to_have_it(form, moves):
    model = conv(exact_weight(form), **moves)
    small, (decision,) = split(model, form, 0.03)
    assert list(shapes(small).values()) == EXPECTED[form.name]
    assert list(shapes(small)) == [f"c.{i}" for i in range(len(EXPECTED[form.name]))]
    assert decision.macs_count_after == macs_count(small) < macs_count(model)
    assert error_ratio(model, small, data(model)) < 0.03
    assert small.outputs == model.outputs


def test_the_bias_goes_where_the_outputs_are_made():
    chain, _ = split(conv(exact_weight(Cp()), padding=1), Cp(), 0.03)
    assert [layer.bias for layer in layers(chain)] == [None, None, None, "c.3.bias"]
    branches, _ = split(conv(exact_weight(Fire()), padding=1), Fire(), 0.03)
    assert [layer.bias for layer in layers(branches)] == [None, "c.1.bias", "c.2.bias"]
    assert branches.weights["c.1.bias"].shape == (C_OUT // 2,)


@pytest.mark.parametrize("form", FITTED, ids=lambda form: form.name)
def test_without_data_the_error_is_that_of_the_weight(form):
    weight = np.random.default_rng(1).normal(size=(C_OUT, C_IN, 3, 3))
    model = conv(weight, bias=False, padding=1)
    small, (decision,) = split(model, form, 0.95)
    image = np.zeros((C_IN, C_IN, 9, 10), np.float32)  # one impulse for each input channel
    image[np.arange(C_IN), np.arange(C_IN), 4, 4] = 1.0
    parts = [torch.from_numpy(f).double() for f in decision.factors]
    found = parts_by_torch(decision, parts, torch.from_numpy(image).double()).numpy()
    response = found[:, :, 3:6, 3:6][:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    error = np.linalg.norm(response - weight) / np.linalg.norm(weight)
    assert decision.error_ratio == pytest.approx(error, rel=1e-3)
    assert len(layers(small)) == len(parts)


def parts_by_torch(decision, weights, x):
    branches = []
    for index, (part, weight) in enumerate(zip(decision.parts, weights, strict=True)):
        top, left, bottom, right = part.padding
        assert (top, left) == (bottom, right)
        y = torch.nn.functional.conv2d(
            x, weight, None, part.strides, (top, left), part.dilation, part.groups
        )
        if index >= len(weights) - decision.branches:
            branches.append(y)
        else:
            x = y
    return torch.cat(branches, 1)


@pytest.mark.parametrize("form", FITTED, ids=lambda form: form.name)
def test_with_data_the_outputs_are_nearer_than_with_a_fit_to_the_weight(form):
    model = conv(np.random.default_rng(1).normal(size=(C_OUT, C_IN, 3, 3)), padding=1)
    samples = narrow(data(model, 64))
    of_weight, (blind, *_) = split(model, form, 0.9)
    rank = blind.ranks
    factorize = Factorize(max_error_ratio=0.9, multiple_of=rank[0] if rank else 1, forms=(form,))
    seen, *_ = factorize.plan(model, samples)
    assert seen.ranks == rank
    alone = factorize.apply(model, (seen,))
    assert error_ratio(model, alone, samples) < error_ratio(model, of_weight, samples)


def narrow(samples):
    """The same with neighbouring channels and places alike, as activations are."""
    x = samples.inputs[0]
    x = x + 0.8 * np.roll(x, 1, axis=1) + 0.8 * np.roll(x, 1, axis=2) + np.roll(x, 1, axis=3)
    return type(samples)(inputs=(x.astype(np.float32),))


def reason(model, *forms, **settings):
    factorize = Factorize(max_error_ratio=0.5, forms=forms, **settings)
    (decision,) = factorize.plan(model, None)
    assert isinstance(decision, Kept)
    return decision.why


def test_what_a_form_cannot_represent_is_left_out_with_the_reason():
    draw = random_factors()
    assert "even kernel" in reason(conv(draw(8, 8, 4, 4)), Fire())
    assert "padding is less" in reason(conv(draw(8, 8, 3, 3)), Fire())
    assert "one output channel" in reason(conv(draw(1, 8, 3, 3), padding=1), Fire())
    assert "its kernel is one-dimensional" in reason(conv(draw(8, 8, 3, 1)), Spatial())
    assert reason(conv(draw(8, 8, 1, 1)), Spatial()) == "none of the chosen forms fits it"
    grouped = Small(lambda self, x: self.c(x), c=nn.Conv2d(8, 8, 3, groups=2))
    assert "have few weights already" in reason(imported(grouped, (1, 8, 6, 6)), *ALL_FORMS)


def test_a_full_rank_weight_is_kept_with_the_error_that_was_reached():
    why = reason(conv(random_factors()(16, 16, 3, 3), padding=1), Spatial(), Fire())
    assert "spatial: the error is" in why
    assert "fire: the error is" in why
    assert "at the largest rank that saves MACs" in why


def test_of_several_forms_the_one_of_the_fewest_macs_is_taken():
    model = conv(exact_weight(Cp()), padding=1)
    factorize = Factorize(max_error_ratio=0.03, multiple_of=1, forms=ALL_FORMS)
    (decision,) = factorize.plan(model, None)
    alone = [split(model, form, 0.03)[1][0] for form in ALL_FORMS]
    counts = {d.form: d.macs_count_after for d in alone if isinstance(d, Split)}
    assert decision.form == min(counts, key=counts.get) == "cp"


@pytest.mark.parametrize("form", ALL_FORMS, ids=lambda form: form.name)
def test_thin_layers_and_single_places_are_split_rightly_or_kept(form):
    draw = random_factors()
    cases = (
        conv(draw(1, 6, 3, 3), padding=1),
        conv(draw(6, 1, 3, 3), padding=1),
        conv(draw(6, 5, 3, 3), size=(1, 1), padding=1),
        conv(np.full((6, 5, 3, 3), 1e4), padding=1),
    )
    for model in cases:
        for samples in (None, data(model, 8)):
            small, (decision, *_) = split(model, form, 0.9, samples)
            if isinstance(decision, Split):
                assert decision.error_ratio <= 0.9
                assert macs_count(small) < macs_count(model)
                assert error_ratio(model, small, data(model, 16)) < 1.5


@pytest.mark.parametrize("form", FITTED, ids=lambda form: form.name)
def test_fitting_twice_gives_the_same_and_leaves_the_input_untouched(form):
    model = conv(random_factors()(C_OUT, C_IN, 3, 3), padding=1)
    before, samples = fingerprint(model), narrow(data(model, 16))
    first, second = (split(model, form, 0.9, samples)[0] for _ in range(2))
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint(model) == before


@pytest.mark.parametrize("form", [Tucker(), *FITTED], ids=lambda form: form.name)
def test_prune_factorize_quantize_works_with_every_form(form):
    model = known(SmallCnn)
    passes = (
        Prune(keep_ratio=0.75, multiple_of=4),
        Factorize(max_error_ratio=0.9, multiple_of=4, forms=(form, Svd())),
        Quantize(),
    )
    result = run(model, passes, data(model, 24))
    split_layers = [d for d in result.steps[1].decisions if isinstance(d, Split)]
    assert any(d.form == form.name for d in split_layers)
    assert all(layer.quantized for layer in layers(result.model))
    assert np.isfinite(error_ratio(model, result.model, data(model, 4)))


def test_what_is_factorized_already_is_left_alone():
    for form in (Cp(), Fire()):
        small, _ = split(conv(exact_weight(form), padding=1), form, 0.03)
        decisions = Factorize(max_error_ratio=0.9, multiple_of=1).plan(small, None)
        assert {d.why for d in decisions} == {"it is part of a factorized layer already"}
