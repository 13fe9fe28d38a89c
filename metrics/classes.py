"""Metrics of scores for classes: shares of samples, and figures of a whole set.

Scores are the first output, (n, classes), further axes being one: logits or probabilities. For two
classes one score will do, that of the second: a probability, or where any is outside [0, 1] a
logit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError
from ..frontend.targets import Targets, class_numbers, describe_targets
from ..ir.model import Model
from .metric import Metric


def class_count(model: Model) -> int | None:
    """How many scores the first output has for a sample; None where it is no (n, classes)."""
    spec = model.outputs[0]
    wide = [extent for extent in spec.shape[1:] if extent != 1]
    if not spec.dtype.startswith("float") or not model.holds_batch(spec) or len(wide) > 1:
        return None
    return wide[0] if wide else 1


def check_class_numbers(model: Model, targets: Targets) -> None:
    """Refuse what is not one class number of the network's for each sample."""
    count, labels = _scores_count(model), class_numbers(targets)
    if labels is None:
        raise DataError(
            f"labels are {describe_targets(targets)}; give one class number for each sample, "
            "integers from 0, or say by --metric how the outputs are judged"
        )
    if count == 1 and labels.size and set(np.unique(labels)) == {0, 1}:
        raise DataError(
            "the network has one score for each sample, so it has no top-1 class; give --metric "
            "auc or f1"
        )
    _check_range(labels, count)


def check_top5(model: Model, targets: Targets) -> None:
    """Refuse class numbers, and what has so few classes that all are right."""
    if (count := _scores_count(model)) <= 5:
        raise DataError(f"top5 of {count} classes is always right; use --metric top1")
    check_class_numbers(model, targets)


def check_classes(model: Model, targets: Targets) -> None:
    """Refuse what is neither class numbers nor zeros and ones for each class."""
    count, labels = _scores_count(model), class_numbers(targets)
    if labels is not None:
        _check_range(labels, max(count, 2))
    elif not _is_multilabel(targets, count):
        raise DataError(
            f"labels are {describe_targets(targets)}; give one class number for each sample, or 0 "
            f"and 1 for each of the {count} classes"
        )


def check_scores(model: Model, targets: Targets) -> None:
    """Refuse a network that has no scores to take the largest of."""
    _scores_count(model)


def top1(outputs: Any, targets: np.ndarray) -> np.ndarray:
    """Whether the largest score is the label's."""
    return np.asarray(_scores(outputs).argmax(axis=1) == targets)


def top5(outputs: Any, targets: np.ndarray) -> np.ndarray:
    """Whether the label's is among the five largest scores."""
    best = np.argsort(-_scores(outputs), axis=1, kind="stable")[:, :5]
    return np.asarray((best == targets[:, None]).any(axis=1))


def agreement(outputs: Any, targets: Any) -> np.ndarray:
    """Whether the largest score is that of the other network's."""
    return np.asarray(_scores(outputs).argmax(axis=1) == _scores(targets).argmax(axis=1))


def auc(outputs: Any, targets: np.ndarray) -> float:
    """Area under the ROC curve; of several classes the mean of each against the rest.

    Of all classes at once: scikit-learn's, one by one, are too slow to draw samples anew.
    """
    from scipy.stats import rankdata

    scores, wanted = _each_class(_scores(outputs), targets)
    right, count = wanted.sum(axis=0), len(wanted)
    above = (rankdata(scores, axis=0) * wanted).sum(axis=0) - right * (right + 1) / 2
    return float(np.mean(above / (right * (count - right))))


def mean_average_precision(outputs: Any, targets: np.ndarray) -> float:
    """Average precision; of several classes the mean of each against the rest.

    A positive counts by the precision among all scores that are no lower than its own.
    """
    scores, wanted = _each_class(_scores(outputs), targets)
    order, places = np.argsort(-scores, axis=0, kind="stable"), np.arange(len(scores))[:, None]
    scores, wanted = (np.take_along_axis(values, order, axis=0) for values in (scores, wanted))
    is_last = np.diff(scores, axis=0, append=-np.inf) != 0
    lasts = np.minimum.accumulate(np.where(is_last, places, len(scores) - 1)[::-1], axis=0)[::-1]
    precision = np.cumsum(wanted, axis=0) / (places + 1)
    found = (np.take_along_axis(precision, lasts, axis=0) * wanted).sum(axis=0)
    return float(np.mean(found / wanted.sum(axis=0)))


def f1(outputs: Any, targets: np.ndarray) -> float:
    """F1 of the second of two classes; of more, or of several for a sample, their mean."""
    from sklearn.metrics import f1_score

    scores = _scores(outputs)
    if targets.ndim == 1 and scores.shape[1] > 2:
        found = f1_score(targets, scores.argmax(axis=1), average="macro", zero_division=0)
    elif targets.ndim == 1:
        chosen = _is_positive(scores[:, 0]) if scores.shape[1] == 1 else _second(scores) > 0
        found = f1_score(targets, chosen, zero_division=0)
    else:
        wanted = targets.reshape(len(targets), -1)
        found = f1_score(wanted, _is_positive(scores), average="macro", zero_division=0)
    return float(found)


def probabilities(scores: np.ndarray) -> np.ndarray:
    """The scores (n, classes) where they are probabilities already, else their softmax."""
    if scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _each_class(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and who is of a class, for each class that some samples are of and some are not."""
    if targets.ndim == 1 and scores.shape[1] <= 2:
        scores, wanted = _second(scores)[:, None], targets[:, None] == 1
    elif targets.ndim == 1:
        scores, wanted = probabilities(scores), targets[:, None] == np.arange(scores.shape[1])
    else:
        wanted = targets.reshape(len(targets), -1).astype(bool)
    known = wanted.any(axis=0) & ~wanted.all(axis=0)
    return scores[:, known], wanted[:, known]


def _second(scores: np.ndarray) -> np.ndarray:
    """The score of the second of two classes; its lead over the first orders as it does."""
    return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]


def _is_positive(scores: np.ndarray) -> np.ndarray:
    is_probability = scores.min() >= 0 and scores.max() <= 1
    return np.asarray(scores > (0.5 if is_probability else 0.0))


def _scores(outputs: Any) -> np.ndarray:
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    return np.asarray(first.reshape(len(first), -1), np.float64)


def _scores_count(model: Model) -> int:
    count = class_count(model)
    if count is None:
        spec = model.outputs[0]
        raise DataError(
            f"output {spec.name} is {spec.dtype} {spec.shape}, not scores (batch, classes); say by "
            "--metric how it is judged"
        )
    return count


def _check_range(labels: np.ndarray, count: int) -> None:
    wrong = (labels < 0) | (labels >= count)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"label {labels[first]} of sample {first} is out of range: the network has "
            f"{count} classes, 0 to {count - 1}"
        )


def _is_multilabel(targets: Targets, count: int) -> bool:
    return (
        isinstance(targets, np.ndarray)
        and targets.dtype.kind in "biuf"
        and targets.ndim > 1
        and targets[0].size == count
        and bool(np.isin(targets, (0, 1)).all())
    )


def _share(name: str, function: Callable[[Any, Any], Any], check: Any, **more: Any) -> Metric:
    return Metric(
        name=name,
        direction="higher",
        function=function,
        unit="ratio",
        usual_drop=0.02,
        check=check,
        **more,
    )


TOP1 = _share("top1", top1, check_class_numbers)
TOP5 = _share("top5", top5, check_top5)
AGREEMENT = _share("agreement", agreement, check_scores, against="dense")
AUC = _share("auc", auc, check_classes)
F1 = _share("f1", f1, check_classes)
MAP = _share("map", mean_average_precision, check_classes)

SHARES = (TOP1, TOP5, AGREEMENT)
"""Those that are the share of samples with a property."""
