"""Which metric is meant: a name, a function of the user's, or what fits the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..frontend.data import Dataset
from ..frontend.factory import find_named, is_factory
from ..frontend.targets import describe_targets
from ..ir.model import Model
from ..reference.executor import evaluate
from .classes import AGREEMENT, AUC, F1, MAP, TOP1, TOP5, class_count
from .metric import Metric
from .text import CER
from .values import COSINE, MSE, PSNR, RELATIVE_ERROR

METRICS = (TOP1, TOP5, AGREEMENT, AUC, F1, MAP, MSE, PSNR, COSINE, RELATIVE_ERROR, CER)

AskedMetric = str | Metric | Callable[[Any, Any], Any] | None
"""A name of `METRICS`, `package.module:function`, a metric, a function, or what fits the data.

A function says by its attribute `higher_is_better` which way is better.
"""

_FEW_SAMPLES = 16


def resolve(asked: AskedMetric, model: Model, data: Dataset) -> Metric:
    """Find the metric, and refuse targets that it cannot take.

    Where nothing is asked for: top1 for class numbers; without targets agreement with the dense
    network where its output looks like scores of classes, else the relative error to its outputs.

    Raises:
        UsageError: there is no such metric, or it does not say which way is better.
        DataError: it needs targets and there are none, or they have another form.

    """
    metric = _usual(model, data) if asked is None else _find(asked)
    if metric.against == "dense":
        if metric.check is not None and not metric.compares_outputs:
            metric.check(model, {})
        return metric
    if data.targets is None:
        if not metric.compares_outputs:
            raise DataError(
                f"{metric.name} needs labels, and the data have no labels: add y, or leave "
                "--metric out, to compare with what the dense network answers"
            )
        # The dense network's own value is the best there is: how far below is usual nobody knows.
        usual = None if metric.unit == "dB" else metric.usual_drop
        return replace(metric, against="dense", usual_drop=usual)
    if metric.check is not None:
        metric.check(model, data.targets)
    return metric


def _usual(model: Model, data: Dataset) -> Metric:
    if data.labels is not None:
        return TOP1
    if data.targets is not None:
        raise DataError(
            f"labels are {describe_targets(data.targets)}, not class numbers (integers from 0, one "
            "for each sample); say by --metric how the outputs are judged"
        )
    return AGREEMENT if _looks_like_scores(model, data) else RELATIVE_ERROR


def _looks_like_scores(model: Model, data: Dataset) -> bool:
    """One output (batch, classes) whose rows are no unit vectors, which embeddings are."""
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2 or (class_count(model) or 1) < 2:
        return False
    (output,) = evaluate(model, data.take(np.arange(min(len(data), _FEW_SAMPLES))))
    lengths = np.linalg.norm(output.reshape(len(output), -1), axis=1)
    return not np.allclose(lengths, 1, atol=1e-3)


def _find(asked: AskedMetric) -> Metric:
    known = {metric.name: metric for metric in METRICS}
    if not isinstance(asked, str):
        return _named(asked, f"{getattr(asked, '__module__', '')}:{_name_of(asked)}", known)
    if asked in known:
        return known[asked]
    if is_factory(asked):
        return _named(find_named(asked, UsageError), asked, known)
    raise UsageError(
        f"no metric named {asked!r}; choose from {', '.join(known)}, or give "
        "package.module:function"
    )


def _named(found: Any, source: str, known: dict[str, Metric]) -> Metric:
    if isinstance(found, Metric):
        if known.get(found.name, found).function is not found.function:
            raise UsageError(
                f"{source} is a metric named {found.name}, as one of adaspring's; name it otherwise"
            )
        return found
    if not callable(found):
        raise UsageError(f"{source} is no function of (outputs, targets), and no Metric")
    higher = getattr(found, "higher_is_better", None)
    if not isinstance(higher, bool):
        name = _name_of(found)
        raise UsageError(
            f"{source} does not say which way is better; below the function write "
            f"{name}.higher_is_better = True, or False for an error"
        )
    return Metric(name=source, direction="higher" if higher else "lower", function=found)


def _name_of(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
