"""The spectrum of a layer's outputs: the best factors of every rank, whatever its shape."""

from __future__ import annotations

import numpy as np
import pytest

from adaspring.passes.factorize.lowrank import spectrum

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("outputs", "inputs"), [(40, 12), (12, 40), (20, 20)])
@pytest.mark.parametrize("seen", [False, True])
def test_each_rank_loses_the_least_that_it_can(outputs, inputs, seen):
    """NumPy's singular values of W R, with R Rᵀ the inputs' covariance, say what that is."""
    weight = RANDOM.normal(size=(outputs, inputs))
    root = RANDOM.normal(size=(inputs, inputs)) if seen else np.eye(inputs)
    found = spectrum(weight, root @ root.T if seen else None)
    values = np.linalg.svd(weight @ root, compute_uv=False)
    for rank in range(min(outputs, inputs) + 1):
        left_out = (weight - found.left[:, :rank] @ found.right[:rank]) @ root
        lost = np.linalg.norm(left_out) / np.linalg.norm(weight @ root)
        least = np.linalg.norm(values[rank:]) / np.linalg.norm(values)
        assert lost == pytest.approx(least, abs=1e-9)
        assert found.error_ratios[rank] == pytest.approx(least, abs=1e-7)


def test_many_outputs_of_few_inputs_take_no_matrix_of_the_outputs():
    """A text recognizer scores 18,000 characters from 120 features."""
    found = spectrum(RANDOM.normal(size=(18_000, 4)), None)
    assert found.left.shape == (18_000, 4)
    assert found.right.shape == (4, 4)
    assert len(found.error_ratios) == 5
