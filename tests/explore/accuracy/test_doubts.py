"""Data that are not what the network was trained on are noticed, and the likely cause is named."""

import numpy as np
import pytest
import torch
from torch import nn

from adaspring.explore.accuracy.doubts import doubts
from adaspring.explore.recipes import find_recipe
from adaspring.explore.variants import make_probe, make_variant
from adaspring.frontend.data import Dataset, Splits
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.metrics.classes import TOP1
from adaspring.passes import run

CLASSES = 6


class Sorter(nn.Module):
    """Knows six noisy images of values from 0 to 1 by their likeness to each."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        means = torch.rand(CLASSES, 3, 8, 8)
        means[:, 1] = 0.5  # what is told apart is told by the outer colours
        self.register_buffer("means", means)
        self.line = nn.Linear(3 * 8 * 8, CLASSES)
        centred = (self.means - 0.5).flatten(1)
        with torch.no_grad():
            self.line.weight.copy_(4 * centred)
            self.line.bias.copy_(-2 * (self.means**2 - 0.25).flatten(1).sum(1))

    def forward(self, x):
        return self.line(torch.where(x > 1, 0.5, x).flatten(1))


NETWORK = Sorter().eval()
MODEL = from_torch(NETWORK, (torch.zeros(1, 3, 8, 8),), name="sorter")


def samples(count=400):
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=count)
    noise = rng.normal(size=(count, 3, 8, 8), scale=0.1)
    return np.clip(NETWORK.means.numpy()[labels] + noise, 0.01, 1).astype("float32"), labels


def told(inputs, labels):
    half = len(inputs) // 2
    cuts = (slice(half), slice(half, None))
    parts = [Dataset(inputs=(inputs[cut],), targets=labels[cut]) for cut in cuts]
    splits = Splits(calibration=parts[0], validation=parts[0], test=parts[1])
    probe = make_probe(MODEL, splits, TOP1)
    dense = make_variant(find_recipe("dense"), run(MODEL, (), None), probe)
    return doubts(MODEL, dense, probe)


def test_right_data_raise_no_doubt():
    assert told(*samples()) == ()


def test_labels_shifted_by_one_are_named():
    inputs, labels = samples()
    keep = labels < CLASSES - 1
    (doubt,) = told(inputs[keep], labels[keep] + 1)
    assert "labels look one too large; shifted by -1 they give 100.0%" in doubt


CHANGES = {
    "divided by 255": lambda x: x * 255,
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(x.shape),
    "colours look swapped": lambda x: np.ascontiguousarray(x[:, ::-1]),
}


@pytest.mark.parametrize("cause", CHANGES)
def test_a_forgotten_preparation_is_named(cause):
    inputs, labels = samples()
    (doubt,) = told(CHANGES[cause](inputs).astype("float32"), labels)
    assert cause in doubt
    assert "with that it is 100.0%" in doubt


def test_other_data_are_doubted_without_a_cause():
    inputs, labels = samples()
    (doubt,) = told(np.random.default_rng(1).uniform(size=inputs.shape).astype("float32"), labels)
    assert "chance gives 16.7%" in doubt
    assert "be other data" in doubt


def test_few_samples_are_said_to_be_few():
    (doubt,) = told(*samples(10))
    assert doubt.startswith("5 samples decide what is kept: top1 is 100.0 % on them, and may be")
