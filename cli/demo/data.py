"""scikit-learn's handwritten digits, 1,797 real images of 8×8, enlarged to 32×32 and disturbed.

As they are they are easy: every variant of a network reads as many as the network itself. Turned,
moved and in noise they show what compression costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

Half = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Disturbance:
    """How far an image is turned and moved at most, and the deviation of the noise on its pixels.

    Pixels of digits are in [0, 1].
    """

    degrees: float = 20.0
    pixels: float = 4.0
    noise: float = 0.2

    def __call__(self, images: Tensor, random: torch.Generator) -> Tensor:
        """Return images (n, c, h, w), each disturbed in its own way."""
        count, width = len(images), images.shape[3]
        turn = math.radians(self.degrees) * (2 * torch.rand(count, generator=random) - 1)
        move = 2 * self.pixels / width * (2 * torch.rand(count, 2, generator=random) - 1)
        rows = ((turn.cos(), -turn.sin(), move[:, 0]), (turn.sin(), turn.cos(), move[:, 1]))
        where = torch.stack([torch.stack(row, 1) for row in rows], 1)
        grid = torch.nn.functional.affine_grid(where, list(images.shape), align_corners=False)
        turned = torch.nn.functional.grid_sample(images, grid, align_corners=False)
        return turned + self.noise * torch.randn(turned.shape, generator=random)

    def __str__(self) -> str:
        return (
            f"turned by up to {self.degrees:g} degrees, moved by up to {self.pixels:g} pixels, "
            f"in noise of deviation {self.noise:g}"
        )


DISTURBANCE = Disturbance()


def digits(seed: int = 0) -> tuple[Half, Half]:
    """Return training (half) and held-out images (n, 1, 32, 32) in [0, 1], with their labels."""
    source = load_digits()
    images = torch.from_numpy(source.images.astype(np.float32) / 16)[:, None]
    enlarged = torch.nn.functional.interpolate(
        images, size=(32, 32), mode="bilinear", align_corners=False
    ).numpy()
    labels = source.target.astype(np.int64)
    train_x, held_x, train_y, held_y = train_test_split(
        enlarged, labels, train_size=0.5, random_state=seed, stratify=labels
    )
    return (train_x, train_y), (held_x, held_y)


def hard_digits(seed: int = 0) -> tuple[Half, Half]:
    """Return the same with the held-out images under DISTURBANCE, each once.

    Training images are as they were: each epoch disturbs them anew.
    """
    train, (held_x, held_y) = digits(seed)
    random = torch.Generator().manual_seed(seed + 1)
    return train, (DISTURBANCE(torch.from_numpy(held_x), random).numpy(), held_y)
