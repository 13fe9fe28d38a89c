"""A small convolutional network that tells on which side of an image the light is."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn

from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.model import Model


class Blocks(nn.Sequential):
    """Three convolutions and a head."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 64, 2),
        )  # fmt: skip


def lights(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose left or right half is lighter, and which."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    x = rng.standard_normal((count, 1, 16, 16)).astype(np.float32)
    x[np.arange(count) % count, :, :, :8] += (0.4 - 0.8 * y)[:, None, None, None].astype(np.float32)
    return x, y


@cache
def trained() -> nn.Module:
    """The network, trained for a second."""
    torch.manual_seed(0)
    made = Blocks()
    optimizer = torch.optim.Adam(made.parameters(), 2e-3)
    x, y = lights(400, 0)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(made(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimizer.step()
    return made.eval()


def imported() -> Model:
    """The trained network as it is compressed and built."""
    return from_torch(trained(), (torch.zeros(1, 1, 16, 16),), name="lights")
