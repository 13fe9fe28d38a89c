"""Any metric decides, in its own direction and unit; without labels the dense network is right."""

import numpy as np
import pytest
import torch
from torch import nn

import adaspring
from adaspring import targets
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import DataError, UsageError
from adaspring.explore.accuracy.doubts import doubts
from adaspring.explore.compile import compile_libraries
from adaspring.explore.plan import plan
from adaspring.explore.progress import Silent
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.explore.request import Bounds, Request
from adaspring.explore.shortlist import find_variants
from adaspring.explore.variants import make_probe
from adaspring.frontend.data import Dataset
from adaspring.library.reader import read_manifest
from adaspring.passes import MixedPrecision, Prune, Quantize
from adaspring.reference.executor import evaluate

from ..support.networks import SmallCnn
from ..support.passes import Small, fingerprint, imported, known

PRUNED = Recipe(name="pruned", passes=(Prune(keep_ratio=0.5, multiple_of=4),))
INT8 = Recipe(name="int8", passes=(Quantize(),))
COUNT = 120


def restorer():
    """An image in, an image out."""
    net = Small(
        lambda self, x: self.last(torch.relu(self.first(x))),
        first=nn.Conv2d(1, 16, 3, padding=1),
        last=nn.Conv2d(16, 1, 3, padding=1),
    )
    return imported(net, (1, 1, 8, 8))


MODEL = restorer()
X = np.random.default_rng(0).normal(size=(COUNT, 1, 8, 8)).astype(np.float32)
NOISE = np.random.default_rng(1).normal(scale=0.01, size=X.shape).astype(np.float32)
IMAGES = Dataset(inputs=(X,), targets=evaluate(MODEL, Dataset(inputs=(X,)))[0] + NOISE)


def request(folder, model=MODEL, **changes):
    settings = {
        "boards": (targets.null(),),
        "output": folder / "lib",
        "data": IMAGES,
        "recipes": (DENSE, PRUNED, INT8),
        "bounds": Bounds(max_drop=10.0),
        "tuning": Tuning(trials=0),
        "logs": folder / "logs",
    }
    return Request(model=model, **(settings | changes))


def found(asked):
    planned = plan(asked)
    probe = make_probe(planned.model, planned.splits, planned.metric)
    variants, dropped = find_variants(planned, probe, Silent())
    return planned, {each.name: each for each in variants}, {d.name: d.reason for d in dropped}


def mse(outputs, wanted):
    return float(np.square(outputs.astype(np.float64) - wanted).mean())


def test_a_metric_of_images_is_that_of_the_validation_split(tmp_path):
    planned, variants, _ = found(request(tmp_path, metric="mse"))
    part = planned.splits.validation
    assert set(variants) == {"dense", "pruned", "int8"}
    for variant in variants.values():
        wanted = mse(evaluate(variant.model, part)[0], part.targets)
        assert variant.validation_metric == pytest.approx(wanted, rel=1e-5)
    assert variants["dense"].validation_metric == pytest.approx(1e-4, rel=0.1)


def test_what_an_error_rises_by_is_bounded_in_its_unit(tmp_path):
    _, open_, _ = found(request(tmp_path, metric="mse"))
    values = {name: each.validation_metric for name, each in open_.items()}
    rise = values["int8"] - values["dense"]
    assert 0 < rise < values["pruned"] - values["dense"]
    _, variants, reasons = found(request(tmp_path, metric="mse", bounds=Bounds(max_drop=2 * rise)))
    assert set(variants) == {"dense", "int8"}
    assert reasons["pruned"].startswith("mse rises by ")
    floor = Bounds(min_metric=values["dense"] + 2 * rise)
    _, variants, reasons = found(request(tmp_path, metric="mse", bounds=floor))
    assert set(variants) == {"dense", "int8"}
    assert "worse than the asked" in reasons["pruned"]


def test_a_metric_without_a_usual_bound_asks_for_one(tmp_path):
    for metric, data in (("mse", IMAGES), ("psnr", Dataset(inputs=(X,)))):
        with pytest.raises(UsageError, match=f"{metric} has no usual bound; give --max-drop"):
            plan(request(tmp_path, metric=metric, data=data, bounds=Bounds()))
    assert plan(request(tmp_path, metric="psnr", bounds=Bounds())).bounds.max_drop == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bounds": Bounds(max_drop=2.0)}, "--max-drop is 2; agreement is a share"),
        ({"bounds": Bounds(min_metric=95.0)}, "--min-metric is 95; agreement is a share"),
        ({"data": None, "bounds": Bounds(min_metric=0.9)}, "--min-metric needs --data"),
    ],
)
def test_bounds_in_another_unit_are_refused(tmp_path, changes, message):
    cnn = known(SmallCnn)
    inputs = np.zeros((20, *cnn.inputs[0].shape[1:]), np.float32)
    asked = {"data": Dataset(inputs=(inputs,)), **changes}
    with pytest.raises(UsageError, match=message):
        plan(request(tmp_path, cnn, **asked))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None, "metric": "mse"}, "--metric needs --data too"),
        ({"data": None, "calibration": IMAGES}, "--calibration needs --data too"),
        ({"loss": "mine:loss"}, "--loss needs --retrain too"),
    ],
)
def test_what_needs_other_data_says_so(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        request(tmp_path, **changes)


def test_without_labels_passes_calibrate_and_the_dense_network_is_right(tmp_path):
    bare = Dataset(inputs=(X,))
    planned, variants, reasons = found(request(tmp_path, data=bare, bounds=Bounds(max_drop=1.0)))
    assert (planned.metric.name, planned.metric.against) == ("relative-error", "dense")
    assert reasons == {}
    assert variants["dense"].validation_metric == 0
    part = planned.splits.validation
    ours, dense = (evaluate(m, part)[0].reshape(48, -1) for m in (variants["int8"].model, MODEL))
    wanted = np.linalg.norm(ours - dense, axis=1) / np.linalg.norm(dense, axis=1)
    assert variants["int8"].validation_metric == pytest.approx(wanted.mean(), rel=1e-4)
    refits = [d.detail for d in variants["pruned"].decisions() if "refit" in d.detail]
    assert refits


def test_calibration_apart_leaves_all_data_to_judge(tmp_path):
    others = Dataset(inputs=(4 * X[:30],))
    planned, variants, _ = found(request(tmp_path, metric="mse", calibration=others))
    assert len(planned.splits.validation) == len(planned.splits.test) == COUNT // 2
    np.testing.assert_array_equal(planned.calibration.inputs[0], others.inputs[0])
    _, usual, _ = found(request(tmp_path, metric="mse"))
    assert fingerprint(variants["int8"].model) != fingerprint(usual["int8"].model)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_pass_is_judged_by_the_metric_of_the_whole(tmp_path, labelled):
    mixed = Recipe(name="mixed", passes=(MixedPrecision(max_drop=0.02),))
    asked = {"metric": "mse"} if labelled else {"data": Dataset(inputs=(X,))}
    _, variants, _ = found(request(tmp_path, recipes=(DENSE, mixed), **asked))
    (last,) = [d.detail for d in variants["mixed"].decisions() if d.layer == "network"]
    assert f"{'mse' if labelled else 'relative-error'} worse by" in last


def nan_unless_dense(outputs, targets):
    return float("nan") if mse(outputs, targets) > 2e-4 else 1.0


def always_nan(outputs, targets):
    return float("nan")


nan_unless_dense.higher_is_better = always_nan.higher_is_better = True


def test_a_metric_that_is_not_finite_drops_a_variant_and_stops_at_the_dense_network(tmp_path):
    _, variants, reasons = found(
        request(tmp_path, metric=nan_unless_dense, recipes=(DENSE, PRUNED))
    )
    assert set(variants) == {"dense"}
    assert "is nan on 48 samples" in reasons["pruned"]
    with pytest.raises(DataError, match="always_nan is nan"):
        found(request(tmp_path, metric=always_nan))


def test_few_samples_are_said_to_be_few_by_any_metric(tmp_path):
    planned = plan(request(tmp_path, metric="psnr"))
    probe = make_probe(MODEL, planned.splits, planned.metric)
    variants, _ = find_variants(planned, probe, Silent())
    (doubt,) = doubts(MODEL, variants[0], probe)
    assert doubt.startswith("48 samples decide what is kept: psnr is ")
    assert " dB (95 %)" in doubt


@pytest.mark.slow
def test_a_library_records_an_error_and_its_direction(tmp_path):
    bounds = Bounds(max_drop=10.0, front_only=False)
    compile_libraries(plan(request(tmp_path, metric="mse", bounds=bounds, recipes=(DENSE, PRUNED))))
    library = adaspring.load(tmp_path / "lib")
    test = plan(request(tmp_path, metric="mse")).splits.test
    for variant in library.manifest.variants:
        found = variant.cost.metric
        assert (found.name, found.direction, found.unit) == ("mse", "lower", "")
        assert (found.against, found.origin) == ("labels", "measured")
        net = library.open(variant.name)
        outputs = np.concatenate([net(image[None]) for image in test.inputs[0]])
        assert found.value == pytest.approx(mse(outputs, test.targets), rel=1e-3)
        assert found.interval[0] < found.value < found.interval[1]
    net = library.open()
    dense = library.manifest.variant("dense").cost.metric.value
    assert net.adapt(adaspring.Context(battery_ratio=0, metric_floor=1.1 * dense)).to_variant == (
        "dense"
    )


@pytest.mark.slow
def test_a_library_made_without_labels_says_what_was_right(tmp_path):
    cnn = known(SmallCnn)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, *cnn.inputs[0].shape[1:])).astype(np.float32)
    asked = request(
        tmp_path,
        cnn,
        data=Dataset(inputs=(inputs,)),
        recipes=(DENSE, INT8),
        bounds=Bounds(max_drop=1.0, front_only=False),
    )
    compile_libraries(plan(asked))
    dense = read_manifest(tmp_path / "lib").variant("dense").cost
    found = dense.metric
    assert (found.name, found.against, found.unit, found.value) == (
        "agreement",
        "dense",
        "ratio",
        1,
    )
    assert found.interval[0] < 1
    assert dense.validation_metric.how.startswith("validation split, 24 samples")
