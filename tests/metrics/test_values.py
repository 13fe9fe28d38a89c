"""Metrics of numbers are those of torch and of their definitions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adaspring.errors import DataError
from adaspring.metrics.values import COSINE, MOST_DB, MSE, PSNR, RELATIVE_ERROR

RANDOM = np.random.default_rng(0)
WANTED = RANDOM.random((30, 3, 8, 8)).astype(np.float32)
GIVEN = (WANTED + 0.1 * RANDOM.normal(size=WANTED.shape)).astype(np.float32)


def test_mse_and_cosine_are_torchs():
    given, wanted = torch.from_numpy(GIVEN).double(), torch.from_numpy(WANTED).double()
    assert MSE.value([GIVEN], WANTED) == pytest.approx(float(F.mse_loss(given, wanted)))
    angles = F.cosine_similarity(given.flatten(1), wanted.flatten(1))
    assert COSINE.value([GIVEN], WANTED) == pytest.approx(float(angles.mean()))


def test_psnr_is_in_decibels_below_the_range_of_the_targets():
    errors = np.square(GIVEN.astype(np.float64) - WANTED).reshape(30, -1).mean(axis=1)
    wanted = np.mean(20 * np.log10(np.ptp(WANTED)) - 10 * np.log10(errors))
    assert PSNR.value([GIVEN], WANTED) == pytest.approx(wanted)
    assert PSNR.value([255 * GIVEN], 255 * WANTED) == pytest.approx(wanted)
    assert PSNR.value([WANTED], WANTED) == MOST_DB
    with pytest.raises(DataError, match="targets that differ"):
        PSNR.value([GIVEN], np.ones_like(WANTED))


def test_the_relative_error_is_a_length_over_a_length():
    given, wanted = (x.reshape(30, -1).astype(np.float64) for x in (GIVEN, WANTED))
    found = np.linalg.norm(given - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    assert RELATIVE_ERROR.value([GIVEN], WANTED) == pytest.approx(found.mean())
    assert RELATIVE_ERROR.value([WANTED], WANTED) == 0
    assert RELATIVE_ERROR.value([np.ones((2, 4))], np.zeros((2, 4))) == 2


def test_the_cosine_of_zeros_is_0_and_of_two_1():
    rows = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    others = np.array([[0.0, 0.0], [1.0, 0.0], [-3.0, -4.0]])
    assert COSINE.value([rows], others) == pytest.approx((1 + 0 - 1) / 3)


def test_axes_of_one_do_not_count():
    given, wanted = RANDOM.random((9, 1)), RANDOM.random(9)
    assert MSE.value([given], wanted) == pytest.approx(np.mean((given[:, 0] - wanted) ** 2))


@pytest.mark.parametrize("named", [True, False])
def test_of_several_outputs_the_mean_counts(named):
    outputs = [GIVEN, GIVEN[:, 0] + 1]
    targets = {"a": WANTED, "b": WANTED[:, 0]} if named else [WANTED, WANTED[:, 0]]
    each = [MSE.value([o], t) for o, t in zip(outputs, (WANTED, WANTED[:, 0]), strict=True)]
    assert MSE.value(outputs, targets) == pytest.approx(np.mean(each))


def test_one_array_of_targets_is_for_the_first_output():
    assert MSE.value([GIVEN, GIVEN[:, 0]], WANTED) == MSE.value([GIVEN], WANTED)
