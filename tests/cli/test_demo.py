"""The demo's digits are hard alike for all, and its day asks for more than one thing."""

from __future__ import annotations

import numpy as np
import torch

from adaspring.cli.demo.data import Disturbance, digits, hard_digits
from adaspring.cli.demo.day import DAY


def test_training_images_stay_as_they_were_and_held_out_ones_are_disturbed_once():
    (train, _), (held, labels) = digits()
    (same, _), (hard, hard_labels) = hard_digits()
    np.testing.assert_array_equal(same, train)
    np.testing.assert_array_equal(hard_labels, labels)
    assert hard.shape == held.shape == (899, 1, 32, 32)
    assert np.abs(hard - held).mean() > 0.1
    np.testing.assert_array_equal(hard, hard_digits()[1][0])


def test_without_disturbance_an_image_is_itself():
    images = torch.rand(3, 1, 32, 32)
    same = Disturbance(degrees=0, pixels=0, noise=0)(images, torch.Generator().manual_seed(0))
    torch.testing.assert_close(same, images, atol=1e-5, rtol=0)


def test_an_image_is_moved_by_as_many_pixels_as_is_said():
    image = torch.zeros(200, 1, 32, 32)
    image[:, :, 16, 16] = 1
    moved = Disturbance(degrees=0, pixels=4, noise=0)(image, torch.Generator().manual_seed(0))
    rows, columns = np.nonzero(moved.sum(0)[0].numpy())
    assert (rows.min(), rows.max()) == (12, 20)
    assert (columns.min(), columns.max()) == (12, 20)


def test_noise_has_the_deviation_that_is_said():
    found = Disturbance(degrees=0, pixels=0, noise=0.2)(
        torch.zeros(50, 1, 32, 32), torch.Generator().manual_seed(0)
    )
    assert abs(float(found.std()) - 0.2) < 0.01


def test_what_the_demo_prints_of_its_images_names_every_disturbance():
    assert str(Disturbance(degrees=5, pixels=2, noise=0.1)) == (
        "turned by up to 5 degrees, moved by up to 2 pixels, in noise of deviation 0.1"
    )


def test_the_day_has_moments_that_may_lose_nothing_something_and_anything():
    assert {moment.accuracy_drop for moment in DAY} >= {None, 0.0}
    assert any(moment.accuracy_drop for moment in DAY)
    assert [moment.battery_ratio for moment in DAY] == sorted(
        (moment.battery_ratio for moment in DAY), reverse=True
    )
