"""Whether data are what the network was trained on, judged by what it answers.

An accuracy far below what the network's own scores promise has a cause more often in the data than
in the network. The usual ones are tried on some samples: labels counted from another number, values
in another range, channels in another order. What makes the accuracy much better is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...frontend.data import Dataset
from ...ir.model import Model
from ...metrics.classes import probabilities
from ...reference.executor import accuracy, evaluate
from ..variants import Probe, Variant

FEW_SAMPLES = 100
_TRIED_SAMPLES = 200
_FAR_BELOW = 0.25
_MUCH_BETTER = 0.2

Change = Callable[[np.ndarray], np.ndarray]


def doubts(model: Model, dense: Variant, probe: Probe) -> tuple[str, ...]:
    """Say what looks wrong with the data, a sentence each, with the evidence."""
    classes = () if probe.class_labels is None else _doubts(model, dense, probe)
    return (*_few_samples(dense, probe), *classes)


def _few_samples(dense: Variant, probe: Probe) -> Iterator[str]:
    metric, count = probe.metric, probe.validation_count
    if metric is None or count >= FEW_SAMPLES or metric.against == "dense":
        return
    scores = probe.scores(dense.outputs, None)
    assert scores is not None, "there is a metric"
    low, high = map(metric.describe, scores.validation.interval)
    yield (
        f"{count} samples decide what is kept: {metric.name} is "
        f"{metric.describe(scores.validation.value)} on them, and may be anything from {low} to "
        f"{high} (95 %); give more samples"
    )


def _doubts(model: Model, dense: Variant, probe: Probe) -> Iterator[str]:
    labels, scores = probe.class_labels, dense.outputs[0]
    assert labels is not None, "asked for with labels alone"
    classes = scores.shape[-1]
    found = accuracy(scores, labels)
    promised = float(_confidence(scores).mean())
    if not _is_suspicious(found, promised, classes, len(labels)):
        return
    told = f"accuracy is {found:.1%} on {len(labels)} samples, where chance gives {1 / classes:.1%}"
    causes = list(_causes(model, probe, scores, found))
    if causes:
        yield from (f"{told}: {cause}" for cause in causes)
    else:
        yield (
            f"{told} and the network's own scores promise {promised:.0%}: the data may be prepared "
            "otherwise than it was trained on (scale, mean, order of classes), or be other data"
        )


def _is_suspicious(found: float, promised: float, classes: int, count: int) -> bool:
    """Near chance, or far below what the scores promise of themselves."""
    chance = 1 / classes
    noise = 3 * np.sqrt(chance * (1 - chance) / count)
    return found < chance + noise or found < promised - _FAR_BELOW


def _confidence(scores: np.ndarray) -> np.ndarray:
    """Give the largest probability of each sample."""
    flat = scores.reshape(len(scores), -1).astype(np.float64)
    return np.asarray(probabilities(flat).max(axis=1))


def _causes(model: Model, probe: Probe, scores: np.ndarray, found: float) -> Iterator[str]:
    labels = probe.class_labels
    assert labels is not None, "asked for with labels alone"
    for shift, text in ((1, "one too small"), (-1, "one too large")):
        shifted = accuracy(scores, labels + shift)
        if shifted > found + _MUCH_BETTER:
            yield f"labels look {text}; shifted by {shift:+d} they give {shifted:.1%}"
            return
    if len(probe.inputs) != 1 or probe.inputs[0].dtype.kind != "f":
        return
    samples = probe.inputs[0][:_TRIED_SAMPLES]
    asked = labels[: len(samples)]
    for text, change in _changes(samples):
        tried = Dataset(inputs=(change(samples).astype(samples.dtype),))
        gained = accuracy(evaluate(model, tried)[0], asked)
        if gained > found + _MUCH_BETTER:
            yield f"{text}; with that it is {gained:.1%} on {len(samples)} samples"
            return


def _changes(samples: np.ndarray) -> Iterator[tuple[str, Change]]:
    """Give what is often forgotten and fits the samples, the likeliest first."""
    low, high = float(samples.min()), float(samples.max())
    seen = f"values go from {low:.3g} to {high:.3g}"
    if high > 2 and low >= 0:
        yield f"{seen}, and look as if they had to be divided by 255", lambda x: x / 255
        yield f"{seen}, and look as if 0 to 255 had to become -1 to 1", lambda x: x / 127.5 - 1
    elif low >= 0 and high <= 1:
        yield f"{seen}, and look as if 0 to 255 were wanted", lambda x: x * 255
        yield f"{seen}, and look as if -1 to 1 were wanted", lambda x: x * 2 - 1
    if samples.ndim == 4:
        n, c, h, w = samples.shape
        yield (
            "images look reshaped from channels last; transpose them: x.transpose(0, 3, 1, 2)",
            lambda x: x.reshape(n, h, w, c).transpose(0, 3, 1, 2),
        )
        if c == 3:
            yield "colours look swapped (BGR for RGB)", lambda x: x[:, ::-1]
    spread = max(float(samples.std()), 1e-6)
    mean = float(samples.mean())
    if abs(mean) > 0.1 * spread or abs(spread - 1) > 0.2:
        yield (
            f"{seen}, and look as if mean 0 and deviation 1 were wanted",
            lambda x: (x - mean) / spread,
        )
