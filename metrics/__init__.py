"""How good a network's outputs are: one number with a name, a direction and an interval.

A `Metric` is a function of (outputs, targets); `resolve` finds the one that is asked for, or that
fits the data, and is the only place that knows their names.
"""

from ..library.score import Score
from .metric import Metric, worse_by
from .resolve import METRICS, AskedMetric, resolve

__all__ = ["METRICS", "AskedMetric", "Metric", "Score", "resolve", "worse_by"]
