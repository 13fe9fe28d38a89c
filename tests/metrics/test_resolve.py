"""The metric is the one that is asked for, or what fits the data; what does not fit is refused."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from adaspring.errors import DataError, UsageError
from adaspring.frontend.data import Dataset
from adaspring.metrics import METRICS, Metric, resolve, worse_by
from adaspring.metrics.classes import TOP1

from ..support.networks import TwoInputs
from ..support.passes import Small, data, imported, known

COUNT = 12


@cache
def classifier(classes=10):
    return imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(6, classes)), (1, 6))


@cache
def filter_of_images():
    return imported(Small(lambda self, x: self.c(x), c=nn.Conv2d(1, 2, 1)), (1, 1, 4, 4))


@cache
def reader():
    """Scores of 5 characters in 7 steps."""
    return imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(6, 5)), (1, 7, 6))


def samples(model, targets=None):
    return Dataset(inputs=data(model, COUNT).inputs, targets=targets)


def found(asked, model, targets=None):
    return resolve(asked, model, samples(model, targets))


def test_class_numbers_are_judged_by_top1():
    assert found(None, classifier(), np.arange(COUNT) % 10) is TOP1


def test_without_labels_scores_are_judged_by_agreement_and_others_by_their_error():
    unit = Small(lambda self, x: nn.functional.normalize(self.fc(x), dim=1), fc=nn.Linear(6, 10))
    vectors = Small(lambda self, x: self.fc(x)[:, None, None], fc=nn.Linear(6, 10))
    for model, name in (
        (classifier(), "agreement"),
        (imported(vectors, (1, 6)), "relative-error"),
        (classifier(1), "relative-error"),
        (filter_of_images(), "relative-error"),
        (imported(unit, (1, 6)), "relative-error"),
        (known(TwoInputs), "relative-error"),
    ):
        metric = found(None, model)
        assert (metric.name, metric.against) == (name, "dense")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_found_by_its_name(metric):
    model, targets = classifier(), np.arange(COUNT) % 10
    if metric.compares_outputs:
        targets = np.zeros((COUNT, 10))
    if metric.name == "cer":
        model, targets = reader(), np.ones((COUNT, 3), int)
    assert found(metric.name, model, targets) is metric


@pytest.mark.parametrize("name", ["mse", "psnr", "cosine", "relative-error"])
def test_what_compares_outputs_takes_the_dense_networks_where_there_are_no_labels(name):
    assert found(name, filter_of_images()).against == "dense"
    wanted = np.random.default_rng(0).random((COUNT, 2, 4, 4))
    assert found(name, filter_of_images(), wanted).against == "labels"


def test_a_metric_that_was_found_is_found_again():
    for model in (classifier(), filter_of_images()):
        metric = found(None, model)
        assert found(metric, model) == metric
        assert found(metric, model, np.zeros(COUNT)) == metric


@pytest.mark.parametrize(
    ("asked", "model", "targets", "error", "message"),
    [
        ("accuracy", classifier, None, UsageError, "no metric named 'accuracy'; choose from top1,"),
        ("no.such:thing", classifier, None, UsageError, "no.such:thing failed .*No module"),
        ("math:nothing", classifier, None, UsageError, "math:nothing failed .*AttributeError"),
        ("math:pi", classifier, None, UsageError, "math:pi is no function"),
        ("math:sqrt", classifier, None, UsageError, r"sqrt\.higher_is_better = True"),
        ("top1", classifier, None, DataError, "top1 needs labels.* add y"),
        ("auc", classifier, None, DataError, "auc needs labels"),
        (None, classifier, np.zeros((COUNT, 4)), DataError, r"float64 \(12, 4\), not class numb"),
        (None, classifier, {"a": np.arange(COUNT)}, DataError, "a int64.*by --metric"),
        ("top1", classifier, np.arange(COUNT) + 0.5, DataError, "one class number"),
        ("top1", classifier, np.arange(COUNT), DataError, "label 10 of sample 10.*0 to 9"),
        ("top1", classifier, np.arange(COUNT) - 1, DataError, "label -1 of sample 0"),
        ("top1", filter_of_images, np.zeros(COUNT, int), DataError, "not scores"),
        ("agreement", filter_of_images, None, DataError, "not scores"),
        ("top5", lambda: classifier(4), np.zeros(COUNT, int), DataError, "4 classes is always"),
        ("top1", lambda: classifier(1), np.arange(COUNT) % 2, DataError, "auc or f1"),
        ("auc", classifier, np.zeros((COUNT, 4)), DataError, "each of the 10 classes"),
        ("f1", classifier, np.full((COUNT, 10), 2), DataError, "0 and 1 for each"),
        ("map", classifier, {"boxes": np.zeros((COUNT, 4))}, DataError, "boxes float64"),
        ("mse", classifier, np.zeros((COUNT, 4)), DataError, r"numbers of the shape \(n, 10\)"),
        ("mse", classifier, np.full((COUNT, 10), np.nan), DataError, "NaN or infinity"),
        ("mse", classifier, np.full((COUNT, 10), "a"), DataError, "compared with numbers"),
        ("psnr", classifier, {"b": np.zeros((COUNT, 10))}, DataError, "named b, the outputs"),
        ("cer", classifier, np.ones((COUNT, 3), int), DataError, "batch, steps, classes"),
        ("cer", reader, np.array(["ab"] * COUNT), DataError, "class numbers of each"),
        ("cer", reader, np.zeros((COUNT, 3), int), DataError, "no target has a character"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_to_do(asked, model, targets, error, message):
    with pytest.raises(error, match=message):
        found(asked, model(), targets)


MODULE = """
from adaspring import Metric

def distance(outputs, targets):
    return abs(outputs - targets).mean(axis=1)
distance.higher_is_better = False

def undecided(outputs, targets):
    return 1.0

def broken(outputs, targets):
    return outputs["boxes"]
broken.higher_is_better = True

def nan(outputs, targets):
    return float("nan")
nan.higher_is_better = True

def wide(outputs, targets):
    return outputs
wide.higher_is_better = True

gain = Metric(name="gain", direction="higher", function=distance, unit="dB", against="dense")
top1 = Metric(name="top1", direction="higher", function=distance)
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """A module of the user's in the working folder, under a name of its own."""
    name = f"mine_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_function_of_the_users_says_which_way_is_better(module):
    model = classifier()
    metric = found(f"{module}:distance", model, np.zeros((COUNT, 10)))
    assert (metric.name, metric.direction) == (f"{module}:distance", "lower")
    outputs = np.full((COUNT, 10), 3.0)
    score = metric.score([outputs], np.ones((COUNT, 10)))
    assert (score.value, score.interval) == (2, (2, 2))
    with pytest.raises(UsageError, match=r"undecided\.higher_is_better = True, or False"):
        found(f"{module}:undecided", model, np.zeros(COUNT))


def test_a_metric_of_the_users_may_compare_with_the_dense_network(module):
    metric = found(f"{module}:gain", classifier())
    assert (metric.name, metric.unit, metric.against) == ("gain", "dB", "dense")
    with pytest.raises(UsageError, match="named top1, as one of adaspring's; name it otherwise"):
        found(f"{module}:top1", classifier(), np.zeros(COUNT, int))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", r"broken failed \(IndexError"),
        ("nan", "nan is nan on 12 samples"),
        ("wide", r"gives an array \(12, 10\) for 12 samples"),
    ],
)
def test_a_function_that_gives_no_number_is_an_error_of_ours(module, name, message):
    metric = found(f"{module}:{name}", classifier(), np.zeros(COUNT))
    with pytest.raises(DataError, match=message):
        metric.value([np.zeros((COUNT, 10))], np.zeros(COUNT))


def test_a_function_itself_will_do():
    def mine(outputs, targets):
        return outputs[:, 0] - targets

    with pytest.raises(UsageError, match="does not say which way is better"):
        found(mine, classifier(), np.zeros(COUNT))
    mine.higher_is_better = True
    assert found(mine, classifier(), np.zeros(COUNT)).name.endswith(":mine")


def test_an_output_for_each_run_is_not_one_for_each_sample():
    metric = Metric(name="m", direction="higher", function=lambda o, t: o.shape[0] * [1.0])
    with pytest.raises(DataError, match="gives 3 outputs for 12 samples"):
        metric.value([np.zeros((3, 10))], np.zeros(12))


def test_a_direction_is_higher_or_lower():
    with pytest.raises(UsageError, match="direction 'up'; give 'higher' or 'lower'"):
        Metric(name="m", direction="up", function=len)
    assert worse_by("higher", 0.9, 0.8) == pytest.approx(0.1)
    assert worse_by("lower", 0.9, 0.8) == pytest.approx(-0.1)


def test_values_are_told_in_their_units():
    by_name = {metric.name: metric for metric in METRICS}
    assert by_name["top1"].describe(0.918) == "91.8 %"
    assert by_name["top1"].describe_change(0.02) == "2.0 points"
    assert by_name["psnr"].describe(32.123) == "32.12 dB"
    assert by_name["mse"].describe(0.01234567) == "0.01235"
    assert by_name["mse"].explain() == "mse, lower is better, against the labels"


def test_names_are_all_different():
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_scores_of_a_network_that_ends_in_a_softmax_are_scores():
    soft = Small(lambda self, x: torch.softmax(self.fc(x), -1), fc=nn.Linear(6, 10))
    assert found(None, imported(soft, (1, 6))).name == "agreement"
