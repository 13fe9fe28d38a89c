"""Our passes, alone and combined, on a trained network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adaspring.frontend.model import Model
from adaspring.passes import Factorize, Pass, Prune, Quantize, run
from adaspring.passes.graph import macs_count, weight_bytes
from adaspring.passes.reference import accuracy, evaluate
from compression_rows import MULTIPLE_OF, OURS, Bench, Row, dataset
from datasets import Part

# Factorization takes the largest error that costs at most this much of validation accuracy.
MAX_DROP = 0.01
ERRORS = (0.3, 0.2, 0.1, 0.05)
# What is quantized, and from what.
INT8 = {
    "int8": "dense",
    "pruned50-int8": "pruned50",
    "pruned50-factorized-int8": "pruned50-factorized",
}


def own_models(bench: Bench) -> Mapping[str, Model]:
    """The network by each variant's name."""
    floats = {"dense": bench.dense}
    for percent in bench.pruned_percent:
        settings = Prune(keep_ratio=1 - percent / 100, multiple_of=MULTIPLE_OF)
        floats[f"pruned{percent}"] = _smaller(bench, bench.dense, settings)
    floats["factorized"] = _factorized(bench, bench.dense)
    floats["pruned50-factorized"] = _factorized(bench, floats["pruned50"])
    return floats | {name: _smaller(bench, floats[base], Quantize()) for name, base in INT8.items()}


def own_rows(bench: Bench, models: Mapping[str, Model], retraining: str) -> Iterator[Row]:
    """A row for each, not timed."""
    for variant, model in models.items():
        yield bench.row(
            by=OURS,
            variant=variant,
            retraining=retraining,
            accuracy_ratio=model_accuracy(model, bench.parts.test),
            macs_count=macs_count(model),
            weights_bytes=weight_bytes(model),
        )


def model_accuracy(model: Model, part: Part) -> float:
    """The share of a part that the reference executor reads right."""
    return accuracy(evaluate(model, dataset(part))[0], part.y)


def _smaller(bench: Bench, model: Model, settings: Pass) -> Model:
    return run(model, (settings,), dataset(bench.parts.calibration)).model


def _factorized(bench: Bench, model: Model) -> Model:
    floor = model_accuracy(model, bench.parts.validation) - MAX_DROP
    for error in ERRORS:
        settings = Factorize(max_error_ratio=error, multiple_of=MULTIPLE_OF)
        found = _smaller(bench, model, settings)
        if model_accuracy(found, bench.parts.validation) >= floor:
            return found
    return model
