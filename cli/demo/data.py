"""scikit-learn's handwritten digits: 1,797 real images of 8×8, enlarged to 32×32."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def digits(seed: int = 0) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
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
