"""Character error rate of what recognizers read, trained by CTC or not.

Source  A. Graves et al., Connectionist Temporal Classification, ICML 2006 (the best path: repeats
        are one, blanks are none); V. Levenshtein, Soviet Physics Doklady 10(8), 1966
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from ..errors import DataError
from ..frontend.targets import Targets, describe_targets
from ..ir.model import Model
from .metric import Metric

BLANK = 0


def check_texts(model: Model, targets: Targets) -> None:
    """Refuse a network that gives no scores along time, and what is no class numbers."""
    spec, wide = model.outputs[0], _wide_axes(model)
    wanted_axes = 2 if spec.dtype.startswith("float") else 1
    if len(wide) != wanted_axes:
        raise DataError(
            f"output {spec.name} is {spec.dtype} {spec.shape}; cer takes scores (batch, steps, "
            "classes) or class numbers (batch, steps)"
        )
    if not isinstance(targets, np.ndarray) or not all(_is_text(row) for row in targets):
        raise DataError(
            f"targets are {describe_targets(targets)}; cer takes the class numbers of each "
            "sample's characters, (n, length) filled up with -1, or n lists of them"
        )
    if not any(len(_characters(row)) for row in targets):
        raise DataError("no target has a character; cer needs the class numbers of some, from 1")


def character_error_rate(outputs: Any, targets: np.ndarray) -> float:
    """Edits that turn what was read into the targets, of all samples, over the targets' lengths."""
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    wanted = [_characters(row) for row in targets]
    edits = sum(map(Levenshtein.distance, map(read_best_path, first), wanted))
    return edits / sum(map(len, wanted)) if any(wanted) else float("nan")


def read_best_path(output: np.ndarray) -> list[int]:
    """The characters of scores (steps, classes), or of class numbers (steps,)."""
    steps = np.squeeze(output)
    chosen = steps.argmax(axis=-1) if output.dtype.kind == "f" else np.atleast_1d(steps)
    changes = np.flatnonzero(np.diff(chosen, prepend=-1))
    return [int(number) for number in chosen[changes] if number != BLANK]


def _characters(row: Iterable[Any]) -> list[int]:
    return [int(number) for number in row if number > BLANK]


def _is_text(row: Any) -> bool:
    if not isinstance(row, np.ndarray | list | tuple):
        return False
    array = np.asarray(row)
    return array.ndim == 1 and (array.dtype.kind in "iu" or array.size == 0)


def _wide_axes(model: Model) -> list[int]:
    spec = model.outputs[0]
    own = spec.shape[1:] if model.holds_batch(spec) else spec.shape
    return [extent for extent in own if extent != 1]


CER = Metric(
    name="cer",
    direction="lower",
    function=character_error_rate,
    usual_drop=0.02,
    check=check_texts,
)
