"""What the tests of training share: handwritten digits, and small networks that learn them."""

from functools import cache

import numpy as np
import torch
from torch import nn

from adaspring.explore.cells.divide import divide
from adaspring.frontend.data import Dataset
from adaspring.ir.model import Model
from adaspring.passes import Prune, run
from adaspring.training import Ranks, Settings, Trained, TrainedCells, train, train_cells

from .passes import Small, imported


@cache
def digits() -> Dataset:
    """Give scikit-learn's 1,797 digits, (1, 8, 8) from -1 to 1, shuffled once."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    images = (bunch.images[order, None] / 8 - 1).astype(np.float32)
    return Dataset(inputs=(images,), targets=bunch.target[order].astype(np.int64))


def part(first: int, last: int, *, labels: bool = True) -> Dataset:
    """Give some of the digits, with or without labels."""
    chosen = digits().take(np.arange(first, last))
    return chosen if labels else Dataset(inputs=chosen.inputs)


@cache
def untrained(seed: int = 0, channels: int = 12) -> Model:
    """Give a network for the digits as it is before training: two convolutions, a dense head."""

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        return self.fc(x.flatten(1))

    net = Small(
        forward,
        seed=seed,
        conv1=nn.Conv2d(1, channels, 3, padding=1),
        conv2=nn.Conv2d(channels, channels, 3, stride=2, padding=1),
        fc=nn.Linear(channels * 16, 10),
    )
    return imported(net, (1, 1, 8, 8))


@cache
def deep_untrained() -> Model:
    """Give a network of four convolutions, two to a piece where it is cut in two."""

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        x = torch.relu(self.conv4(torch.relu(self.conv3(x))))
        return self.fc(x.flatten(1))

    net = Small(
        forward,
        conv1=nn.Conv2d(1, 16, 3, padding=1),
        conv2=nn.Conv2d(16, 16, 3, padding=1),
        conv3=nn.Conv2d(16, 32, 3, stride=2, padding=1),
        conv4=nn.Conv2d(32, 32, 3, padding=1),
        fc=nn.Linear(512, 10),
    )
    return imported(net, (1, 1, 8, 8))


@cache
def deep() -> Model:
    """Give it trained."""
    settings = Settings(epochs=10, batch=50, learning_rate=5e-3, patience=10)
    return train(deep_untrained(), part(0, 1000), part(1000, 1200), settings).model


def cells_trained_shortly(ranks: Ranks) -> TrainedCells:
    """Train a pruned cell of each of two pieces, one short epoch, as one of some processes."""
    pieces = divide(deep_untrained(), 2)
    half = (Prune(keep_ratio=0.5, multiple_of=1),)
    cells = [{"half": run(piece, half, None).steps} for piece in pieces]
    settings = Settings(epochs=1, batch=40, learning_rate=2e-3)
    data = part(0, 120), part(1000, 1060)
    return train_cells(deep_untrained(), pieces, cells, *data, settings, ranks=ranks)


QUICK = Settings(epochs=8, batch=32, learning_rate=5e-3, patience=8)


SHORT = Settings(epochs=4, batch=50, learning_rate=3e-3, patience=4)
SHARED = Settings(epochs=3, batch=40, learning_rate=3e-3, patience=3)


@cache
def learned() -> Trained:
    """Give the network trained on 1,000 digits, validated on 200."""
    return train(untrained(), part(0, 1000), part(1000, 1200), QUICK)


@cache
def wide() -> Model:
    """Give a network that is wide enough for the recipes to prune, trained."""
    settings = Settings(epochs=12, batch=50, learning_rate=5e-3, patience=12)
    return train(untrained(channels=32), part(0, 1000), part(1000, 1200), settings).model


def losses(trained: Trained) -> list[float]:
    """Give the training losses, epoch by epoch."""
    return [epoch.loss for epoch in trained.history if epoch.loss is not None]
