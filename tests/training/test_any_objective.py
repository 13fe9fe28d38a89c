"""A loss of the user's, outputs of any form, and any metric to choose the best epoch by."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from adaspring.errors import TrainingError, UsageError
from adaspring.frontend.data import Dataset
from adaspring.metrics import Metric
from adaspring.metrics.values import MSE
from adaspring.passes import Prune, Quantize, run
from adaspring.reference.executor import evaluate
from adaspring.training import Distillation, Settings, find_loss, train, train_together

from ..support.networks import TwoInputs
from ..support.passes import Small, data, imported, known
from ..support.training import part, untrained

SHORT = Settings(epochs=4, batch=20, learning_rate=5e-3, patience=4)
DISTIL = Settings(epochs=4, batch=20, learning_rate=5e-3, patience=4, distillation=Distillation())
RANDOM = np.random.default_rng(0)


def restorer(seed=0):
    """An image in, an image out."""
    net = Small(
        lambda self, x: self.last(torch.relu(self.first(x))),
        seed=seed,
        first=nn.Conv2d(1, 8, 3, padding=1),
        last=nn.Conv2d(8, 1, 3, padding=1),
    )
    return imported(net, (1, 1, 6, 6))


def pairs(count=100, first=0):
    x = np.random.default_rng(first).normal(size=(count, 1, 6, 6)).astype(np.float32)
    return Dataset(inputs=(x,), targets=0.5 * x + 0.1)


def squares(outputs, targets):
    return F.mse_loss(outputs, targets)


def test_a_loss_of_the_users_is_minimised_and_an_error_chooses_the_epoch():
    model, held = restorer(), pairs(40, first=1)
    trained = train(model, pairs(), held, SHORT, metric=MSE, loss=squares)
    wanted = float(np.square(evaluate(model, held)[0] - held.targets).mean())
    before = trained.history[0]
    assert before.validation_metric == pytest.approx(wanted, rel=1e-5)
    assert before.validation_loss == pytest.approx(wanted, rel=1e-5)
    reached = float(np.square(evaluate(trained.model, held)[0] - held.targets).mean())
    assert reached < wanted / 2
    assert trained.best.validation_metric == pytest.approx(reached, rel=1e-5)
    assert trained.best.validation_metric == min(e.validation_metric for e in trained.history)


def test_targets_by_name_and_objects_come_to_the_loss_as_they_are():
    def loss(outputs, targets):
        assert set(targets) == {"image", "names"}
        assert len(targets["names"]) == len(outputs)
        assert all(isinstance(name, str) for name in targets["names"])
        return F.l1_loss(outputs, targets["image"])

    def judge(outputs, targets):
        return -np.abs(outputs - targets["image"]).mean(axis=(1, 2, 3))

    def named(made):
        names = np.array([f"n{k}" for k in range(len(made))])
        return Dataset(inputs=made.inputs, targets={"image": made.targets, "names": names})

    metric = Metric(name="near", direction="higher", function=judge)
    trained = train(
        restorer(), named(pairs()), named(pairs(40, 1)), SHORT, metric=metric, loss=loss
    )
    assert trained.best.epoch > 0
    before = trained.history[0]
    assert before.validation_metric == pytest.approx(-before.validation_loss, rel=1e-5)


def test_an_image_network_is_distilled_without_labels_under_int8_too():
    dense = restorer()
    bare, held = Dataset(inputs=pairs().inputs), Dataset(inputs=pairs(40, 1).inputs)
    thin = run(dense, (Prune(keep_ratio=0.5, multiple_of=1),), None).model
    quantized = Quantize().plan(thin, bare)
    trained = train(thin, bare, held, DISTIL, teacher=dense, quantized=quantized)
    assert trained.best.validation_metric < 0.8 * trained.history[0].validation_metric
    ours, theirs = (evaluate(m, held)[0].reshape(40, -1) for m in (trained.network, dense))
    error = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    assert trained.best.validation_metric == pytest.approx(error.mean(), rel=1e-3)


def test_all_outputs_are_distilled():
    dense = known(TwoInputs)
    samples = data(dense, 60)
    noise = {
        name: value + 0.1 * RANDOM.normal(size=value.shape).astype(value.dtype)
        for name, value in dense.weights.items()
    }
    student = dense.evolved(dense.module, noise)
    trained = train(student, samples, samples, DISTIL, teacher=dense)
    for index, wanted in enumerate(evaluate(dense, samples)):
        before, after = (
            np.square(evaluate(each, samples)[index] - wanted).mean()
            for each in (student, trained.model)
        )
        assert after < before / 2


def test_training_data_may_lack_labels_where_a_teacher_has_them():
    teacher = train(untrained(), part(0, 600), part(1000, 1100), SHORT).model
    thin = run(teacher, (Prune(keep_ratio=0.5, multiple_of=1),), None).model
    trained = train(thin, part(0, 600, labels=False), part(1000, 1100), DISTIL, teacher=teacher)
    right = evaluate(trained.model, part(1000, 1100))[0].argmax(axis=1)
    assert trained.best.validation_metric == np.mean(right == part(1000, 1100).labels)
    assert trained.best.validation_metric > trained.history[0].validation_metric


def test_members_of_an_image_network_are_trained_together():
    dense, held = restorer(), pairs(40, first=1)
    steps = run(dense, (Prune(keep_ratio=0.5, multiple_of=1),), None).steps
    found = train_together(
        dense, {"half": steps}, pairs(), held, DISTIL, metric=MSE, loss=squares, teacher=dense
    )
    outputs = [evaluate(m, held)[0] for m in (found.dense, found.members["half"])]
    mean = np.mean([np.square(each - held.targets).mean() for each in outputs])
    assert found.best.validation_metric == pytest.approx(mean, rel=1e-4)
    assert found.best.validation_metric < found.history[0].validation_metric


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, t: o - t, r"gives \(20, 1, 6, 6\); it must give the batch's mean"),
        (lambda o, t: 0.5, "gives float; it must give"),
        (lambda o, t: o["boxes"], r"failed \(IndexError"),
    ],
)
def test_a_loss_that_gives_no_number_is_refused(loss, message):
    held = pairs(20, 1)
    with pytest.raises(TrainingError, match=message):
        train(restorer(), pairs(20), held, SHORT, metric=MSE, loss=loss)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "no labels to train on by cross-entropy.*--loss"),
        ({"loss": squares, "bare": True}, "the loss needs targets"),
    ],
)
def test_what_cannot_be_minimised_is_refused(changes, message):
    samples = pairs(20)
    held = samples
    if changes.pop("bare", False):
        samples = Dataset(inputs=samples.inputs)
    with pytest.raises(TrainingError, match=message):
        train(restorer(), samples, held, SHORT, metric=MSE, **changes)


def test_a_metric_against_the_dense_network_needs_a_teacher():
    from adaspring.metrics.classes import AGREEMENT

    with pytest.raises(TrainingError, match="compares with the dense network, which has to teach"):
        train(untrained(), part(0, 64), part(64, 96), SHORT, metric=AGREEMENT)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("squares", "is no function; write it as package"),
        ("no.such:thing", "no.such:thing failed"),
        ("math:pi", "math:pi is no function"),
    ],
)
def test_a_loss_that_is_not_there_is_refused(asked, message):
    with pytest.raises(UsageError, match=message):
        find_loss(asked)


def test_a_loss_is_found_by_its_name():
    assert find_loss("torch.nn.functional:mse_loss") is F.mse_loss
    assert find_loss(None) is None
