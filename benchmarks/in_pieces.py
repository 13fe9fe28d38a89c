"""Trained networks as libraries in pieces: handwriting, keywords, clothes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import FOLDER, Part
from real import fashion, fashion_networks
from real.packages import default_folder
from torch import nn
from trained import TASKS, Task
from trained import trained as trained_task

import adaspring
from adaspring.backends.tuning.settings import Tuning
from adaspring.cli.shared.bars import Bars
from adaspring.explore.compile import BoardResult
from adaspring.explore.request import Bounds
from adaspring.frontend.data import Dataset, Splits
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.library.loader import Library

MAX_DROP = 0.02
CLOTHES_COUNTS = (512, 1000, 2000)
"""Of calibration, validation and test images: as many as decide, not all that there are."""


@dataclass(frozen=True)
class Subject:
    """A trained network and its samples."""

    name: str
    load: Callable[[], tuple[nn.Module, Splits]]


def _of_task(task: Task) -> Subject:
    def load() -> tuple[nn.Module, Splits]:
        parts = task.data.load(FOLDER)
        network = trained_task(task, parts, 0, FOLDER)
        return network, Splits(
            calibration=_dataset(parts.calibration),
            validation=_dataset(parts.validation),
            test=_dataset(parts.test),
        )

    return Subject(task.name, load)


def _clothes() -> tuple[nn.Module, Splits]:
    """FashionMobileNet; different images for each part, drawn from those nothing was trained on."""
    folder = default_folder()
    data = fashion.load(folder)
    network = fashion_networks.trained(fashion_networks.MOBILENET, data, folder)
    random = np.random.default_rng(0)
    held, test = (
        Dataset(inputs=(part.scaled(),), targets=part.y) for part in (data.validation, data.test)
    )
    order = random.permutation(len(data.validation.y))
    calibration, validation, tested = CLOTHES_COUNTS
    return network, Splits(
        calibration=held.take(order[:calibration]),
        validation=held.take(order[calibration : calibration + validation]),
        test=test.take(random.permutation(len(data.test.y))[:tested]),
    )


def _dataset(part: Part) -> Dataset:
    return Dataset(inputs=(part.x,), targets=part.y)


DIGITS, KEYWORD, _ = TASKS
SUBJECTS = {
    subject.name: subject
    for subject in (_of_task(DIGITS), _of_task(KEYWORD), Subject("clothes", _clothes))
}


def library_of(
    subject: Subject, folder: Path, segments: int, tuning_s: float
) -> tuple[Library, Dataset]:
    """The subject's library in pieces, made in `folder` where it is not there, and its test part.

    Nothing in the library was decided by the test part.
    """
    network, splits = subject.load()
    path = folder / f"{subject.name}-{segments}-{tuning_s:.0f}s.lib"
    if not path.is_dir():
        sample = torch.from_numpy(splits.test.inputs[0][:1])
        with Bars() as bars:
            made = adaspring.compile(
                from_torch(network, (sample,), name=subject.name),
                path,
                progress=bars,
                data=splits,
                segments=segments,
                bounds=Bounds(max_drop=MAX_DROP, front_only=False),
                tuning=Tuning(trials=10**6 if tuning_s else 0, time_limit_s=tuning_s or None),
            )
        (board,) = made.boards
        assert isinstance(board, BoardResult), "the one board's error would have been raised"
    return adaspring.load(path), splits.test
