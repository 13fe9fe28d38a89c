"""Sampled rows of a layer's input, times its weight, are the sampled rows of its output."""

import numpy as np
import pytest
import torch
from torch import nn

from adaspring.ir.layers import layers
from adaspring.passes.moments import (
    grouped_weight,
    input_rows,
    layer_weight,
    merge,
    moments,
    output_rows,
    positions,
)

from ..support.passes import Small, imported

LAYERS = {
    "plain": (nn.Conv2d(6, 8, 3, padding=1, bias=False), (2, 6, 40, 40)),
    "strided": (nn.Conv2d(6, 8, (3, 5), stride=(2, 1), padding=(0, 2), bias=False), (1, 6, 9, 12)),
    "dilated": (nn.Conv2d(6, 8, 3, dilation=(2, 3), padding=2, bias=False), (1, 6, 12, 11)),
    "depthwise": (nn.Conv2d(6, 12, 3, groups=6, padding=1, bias=False), (1, 6, 8, 8)),
    "grouped": (nn.Conv2d(6, 9, 3, groups=3, bias=False), (1, 6, 8, 8)),
    "dense": (nn.Linear(6, 4, bias=False), (3, 5, 6)),
}


def sampled(name):
    part, shape = LAYERS[name]
    model = imported(Small(lambda self, x: self.part(x), part=part), shape)
    (layer,) = layers(model)
    x = torch.randn((20, *shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = torch.stack([part(one) for one in x])
    at = positions(layer, len(x))
    return model, layer, x, at, output_rows(layer, y, at)


@pytest.mark.parametrize("name", LAYERS)
def test_rows_in_times_the_weight_are_rows_out(name):
    model, layer, x, at, wanted = sampled(name)
    rows = torch.cat(list(input_rows(layer, x, at))).numpy()
    weight = grouped_weight(layer, model.weights[layer.weight])
    given = np.einsum("pgf,gof->pgo", rows, weight).reshape(len(rows), -1)
    np.testing.assert_allclose(given, wanted.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer_weight(layer, weight), model.weights[layer.weight])


@pytest.mark.parametrize("name", LAYERS)
def test_both_parts_together_are_the_moments_of_all_rows(name):
    _, layer, x, at, wanted = sampled(name)
    rows = torch.cat(list(input_rows(layer, x, at))).double().numpy()
    y = wanted.double().numpy().reshape(len(rows), layer.groups, -1)
    parts = moments(layer, x, at, wanted)
    seen = merge(*parts)
    assert parts[0].count + parts[1].count == seen.count == len(rows)
    assert parts[1].count == pytest.approx(len(rows) / 4, abs=at.shape[0])
    np.testing.assert_allclose(seen.x, rows.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(
        seen.xx, np.einsum("pgf,pge->gfe", rows, rows) / len(rows), atol=1e-9
    )
    np.testing.assert_allclose(seen.xy, np.einsum("pgf,pgo->gfo", rows, y) / len(rows), atol=1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_the_squared_error_is_that_of_the_rows(name):
    model, layer, x, at, wanted = sampled(name)
    seen = merge(*moments(layer, x, at, wanted))
    weight = grouped_weight(layer, model.weights[layer.weight]) * 0.9
    bias = np.full(seen.y.shape, 0.1)
    missing = wanted.double().numpy() * 0.1 - 0.1
    error = np.square(missing).sum(axis=1).mean()
    assert seen.squared_error(weight, bias) == pytest.approx(error, rel=1e-5)
