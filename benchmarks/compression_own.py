"""Our passes, alone and combined, on a trained network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compression_rows import FINE_TUNED, MULTIPLE_OF, OURS, TOGETHER, Bench, Row, dataset
from datasets import Part

from adaspring.ir.layers import macs_count, weight_bytes
from adaspring.ir.model import Model
from adaspring.passes import Factorize, Pass, Prune, Quantize, WeightOnly, run
from adaspring.reference.executor import accuracy, evaluate
from adaspring.training import Distillation, Settings, train, train_together

# Factorization takes the largest error that costs at most this much of validation accuracy.
MAX_DROP = 0.01
ERRORS = (0.3, 0.2, 0.1, 0.05)
# The share of channels that stays so that half of the multiply-adds go, in steps of this.
KEEP_STEP = 0.02
EPOCHS = 15
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
    floats["half-macs"] = _half_macs(bench)
    floats["factorized"] = _factorized(bench, bench.dense)
    floats["pruned50-factorized"] = _factorized(bench, floats["pruned50"])
    rounded = {name: _smaller(bench, floats[base], Quantize()) for name, base in INT8.items()}
    int4 = _smaller(bench, bench.dense, WeightOnly(bits=4, group_size=32, rounding="gptq"))
    return floats | rounded | {"int4-weights": int4}


def retrained_models(bench: Bench, models: Mapping[str, Model]) -> Mapping[str, Model]:
    """Each that lost channels or was factorized, distilled from the dense network with labels.

    What is int8 is trained under its rounding.
    """
    settings = Settings(epochs=EPOCHS, batch=64, distillation=Distillation(), patience=EPOCHS)
    train_part, held = dataset(bench.parts.train), dataset(bench.parts.validation)
    found = {}
    for name in sorted(models.keys() - {"dense", "int4-weights"}):
        start = models[INT8.get(name, name)]
        decisions = Quantize().plan(start, dataset(bench.parts.calibration))
        trained = train(
            start,
            train_part,
            held,
            settings,
            teacher=bench.dense,
            quantized=decisions if name in INT8 else (),
        )
        found[name] = trained.network
    return found


def together_models(bench: Bench) -> Mapping[str, Model]:
    """All shares of channels at once, on one set of weights."""
    members = {
        f"pruned{percent}": run(
            bench.dense,
            (Prune(keep_ratio=1 - percent / 100, multiple_of=MULTIPLE_OF),),
            dataset(bench.parts.calibration),
        ).steps
        for percent in bench.pruned_percent
    }
    settings = Settings(epochs=EPOCHS, batch=64, distillation=Distillation(), patience=EPOCHS)
    return train_together(
        bench.dense,
        members,
        dataset(bench.parts.train),
        dataset(bench.parts.validation),
        settings,
        teacher=bench.dense,
    ).members


def retrained_rows(bench: Bench, models: Mapping[str, Model]) -> Iterator[Row]:
    """Rows of both ways of training."""
    yield from own_rows(bench, retrained_models(bench, models), FINE_TUNED)
    yield from own_rows(bench, together_models(bench), TOGETHER)


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


def _half_macs(bench: Bench) -> Model:
    """The widest network of at most half the multiply-adds, channels of all layers ranked."""
    keep = 1 - KEEP_STEP
    while True:
        settings = Prune(keep_ratio=keep, multiple_of=MULTIPLE_OF, scope="global")
        found = _smaller(bench, bench.dense, settings)
        if macs_count(found) <= macs_count(bench.dense) / 2:
            return found
        keep -= KEEP_STEP


def _factorized(bench: Bench, model: Model) -> Model:
    floor = model_accuracy(model, bench.parts.validation) - MAX_DROP
    for error in ERRORS:
        settings = Factorize(max_error_ratio=error, multiple_of=MULTIPLE_OF)
        found = _smaller(bench, model, settings)
        if model_accuracy(found, bench.parts.validation) >= floor:
            return found
    return model
