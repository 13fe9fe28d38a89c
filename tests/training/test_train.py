"""Training lowers the loss, keeps the best epoch, learns from a teacher, and fails in words."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from adaspring.errors import DataError, TrainingError, UsageError
from adaspring.frontend.data import Dataset
from adaspring.ir.graph import shape_of
from adaspring.passes import Factorize, Prune, run
from adaspring.reference.executor import accuracy, evaluate
from adaspring.training import Distillation, Diverged, Settings, train
from adaspring.training.objective import Objective, match_layers, scores

from ..support.networks import TwoInputs
from ..support.passes import Small, data, fingerprint, imported, known
from ..support.training import QUICK, learned, losses, part, untrained


def reached(model, dataset: Dataset) -> float:
    return accuracy(evaluate(model, dataset)[0], dataset.labels)


def test_a_random_network_learns_the_digits():
    trained, held_out = learned(), part(1200, 1797)
    assert reached(untrained(), held_out) < 0.3
    assert reached(trained.model, held_out) > 0.9
    assert losses(trained)[-1] < 0.2 * losses(trained)[0]
    assert trained.stopped == "all 8 epochs are done"


def test_the_validation_figures_are_those_of_the_reference_executor():
    trained, held = learned(), part(1000, 1200)
    outputs = torch.from_numpy(evaluate(trained.model, held)[0])
    assert trained.best.validation_metric == reached(trained.model, held)
    wanted = float(F.cross_entropy(outputs, torch.from_numpy(held.labels)))
    assert trained.best.validation_loss == pytest.approx(wanted, rel=1e-5)


def test_the_model_is_untouched():
    model = untrained()
    before = fingerprint(model)
    train(model, part(0, 64), part(0, 64), Settings(epochs=1, batch=32))
    assert fingerprint(model) == before


def test_the_first_step_is_adamws_on_the_mean_loss():
    settings = Settings(epochs=1, batch=64, learning_rate=1e-2, weight_decay=0.1, seed=3)
    trained = train(untrained(), part(0, 64), part(1000, 1064), settings)
    net = Small(
        lambda self, x: self.fc(torch.relu(self.conv2(torch.relu(self.conv1(x)))).flatten(1)),
        conv1=nn.Conv2d(1, 12, 3, padding=1),
        conv2=nn.Conv2d(12, 12, 3, stride=2, padding=1),
        fc=nn.Linear(192, 10),
    )
    samples = part(0, 64)
    x, y = torch.from_numpy(samples.inputs[0]), torch.from_numpy(samples.labels)
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    assert losses(trained)[0] == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, parameter in net.named_parameters():
        decay = 1 - 1e-2 * 0.1 if parameter.ndim > 1 else 1.0
        step = parameter.grad / (parameter.grad.abs() + 1e-8)  # Adam's first step is the sign
        wanted = parameter.detach() * decay - 1e-2 * step
        given = torch.from_numpy(np.array(trained.model.weights[name]))
        large = parameter.grad.abs() > 1e-4  # where rounding does not decide the sign
        torch.testing.assert_close(given[large], wanted[large], rtol=1e-4, atol=1e-5)


def test_the_best_epoch_is_returned_even_if_it_is_the_untrained_one():
    good = learned().model
    settings = Settings(epochs=9, batch=500, learning_rate=3.0, patience=2)
    trained = train(good, part(0, 1000), part(1000, 1200), settings)
    assert trained.best.epoch == 0
    assert len(trained.history) == 3
    assert trained.stopped == "2 epochs without a better one"
    for name, array in good.weights.items():
        np.testing.assert_array_equal(trained.model.weights[name], array)


def test_equal_seeds_give_equal_weights_and_others_do_not():
    one, two, other = (
        train(untrained(), part(0, 128), part(1000, 1064), Settings(epochs=1, batch=32, seed=seed))
        for seed in (1, 1, 2)
    )
    assert losses(one) == losses(two)
    assert losses(one) != losses(other)


@pytest.mark.parametrize(
    "passes",
    [(Prune(keep_ratio=0.3, multiple_of=1),), (Factorize(max_error_ratio=0.7, multiple_of=1),)],
    ids=["pruned", "factorized"],
)
def test_distillation_without_labels_brings_a_compressed_network_back(passes):
    dense = learned().model
    thin = run(dense, passes, None).model
    settings = replace(QUICK, distillation=Distillation())
    trained = train(
        thin, part(0, 1000, labels=False), part(1000, 1200, labels=False), settings, teacher=dense
    )
    held_out = part(1200, 1797)
    before, after = reached(thin, held_out), reached(trained.model, held_out)
    assert before < 0.8
    assert after > before + 0.1
    agreed = np.mean(top_classes(thin, 1000, 1200) == top_classes(dense, 1000, 1200))
    assert trained.history[0].validation_metric == pytest.approx(agreed)
    assert trained.best.validation_metric > agreed


def top_classes(model, first, last):
    return evaluate(model, part(first, last))[0].argmax(axis=1)


def test_the_distillation_loss_is_the_papers():
    random = np.random.default_rng(0)
    given, wanted = (random.normal(size=(5, 1, 10)) for _ in range(2))
    labels = random.integers(0, 10, 5)
    model = untrained()
    chosen = Distillation(temperature=3.0, label_ratio=0.25, feature_ratio=0.0)
    objective = Objective(model, model, chosen, has_labels=True)
    assert len(objective.student) == len(objective.teacher) == 1

    def soft(scores, heat):
        powers = np.exp(scores / heat)
        return powers / powers.sum(axis=-1, keepdims=True)

    p, q = soft(wanted[:, 0], 3.0), soft(given[:, 0], 3.0)
    divergence = 9.0 * (p * np.log(p / q)).sum(axis=1).mean()
    hard = -np.log(soft(given[:, 0], 1.0)[np.arange(5), labels]).mean()
    loss = objective.loss(
        [torch.from_numpy(given)], [torch.from_numpy(wanted)], torch.from_numpy(labels)
    )
    assert float(loss) == pytest.approx(0.25 * hard + 0.75 * divergence, rel=1e-9)


def test_features_are_compared_where_layers_have_equal_shapes():
    dense = learned().model
    same = {ours.name for ours, _ in match_layers(dense, dense)}
    assert same == {"conv1", "conv2"}
    thin = run(dense, (Prune(keep_ratio=0.5, multiple_of=1),), None).model
    assert match_layers(thin, dense) == ()
    split = run(dense, (Factorize(max_error_ratio=0.7, multiple_of=1),), None).model
    pairs = match_layers(split, dense)
    assert {theirs.name for _, theirs in pairs} == {"conv1", "conv2"}
    assert any(ours.name != theirs.name for ours, theirs in pairs)
    for ours, theirs in pairs:
        assert shape_of(ours.output) == shape_of(theirs.output)


def test_equal_features_cost_nothing_and_others_their_relative_error():
    dense = learned().model
    objective = Objective(dense, dense, Distillation(feature_ratio=2.0), has_labels=False)
    values = [torch.randn(3, *shape_of(var)) for var in objective.student]
    assert float(objective.loss(values, values, None)) == pytest.approx(0.0, abs=1e-6)
    doubled = [values[0], *(2 * value for value in values[1:])]
    assert float(objective.loss(doubled, values, None)) == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("last", [torch.softmax, torch.log_softmax])
def test_scores_are_taken_before_a_final_softmax(last):
    net = Small(lambda self, x: last(self.fc(x), -1), fc=nn.Linear(6, 4))
    model = imported(net, (1, 6))
    samples = data(model, 8)
    labelled = Dataset(inputs=samples.inputs, targets=np.arange(8) % 4)
    trained = train(model, labelled, labelled, Settings(epochs=1, batch=8))
    logits = net.fc(torch.from_numpy(samples.inputs[0]))
    wanted = float(F.cross_entropy(logits, torch.from_numpy(labelled.labels)).detach())
    assert losses(trained)[0] == pytest.approx(wanted, rel=1e-5)
    assert not scores(model).same_as(model.function.body.body)


def test_two_inputs_and_two_outputs_train_and_unread_weights_stay():
    model = known(TwoInputs)
    samples = data(model, 32)
    labelled = Dataset(inputs=samples.inputs, targets=np.arange(32) % 5)
    trained = train(model, labelled, labelled, Settings(epochs=2, batch=16))
    assert losses(trained)[1] < losses(trained)[0]


def test_a_network_with_a_batch_of_four_trains_like_one_of_one():
    net = Small(lambda self, x: self.fc(x), fc=nn.Linear(64, 10))
    flat = part(0, 130)
    samples = Dataset(inputs=(flat.inputs[0].reshape(130, 64),), targets=flat.labels)
    settings = Settings(epochs=2, batch=16)
    one, four = (train(imported(net, (batch, 64)), samples, samples, settings) for batch in (1, 4))
    assert losses(four) == pytest.approx(losses(one), rel=1e-4)
    for ours, theirs in zip(four.history, one.history, strict=True):
        assert ours.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-4)
        assert ours.validation_metric == theirs.validation_metric


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_best_weights():
    settings = Settings(epochs=20, batch=100, learning_rate=9e5, patience=20)
    good = learned().model
    with pytest.raises(
        Diverged, match=r"the loss is (nan|inf) in step \d+ of epoch \d+; give a lower"
    ) as caught:
        train(good, part(0, 1000), part(1000, 1200), settings)
    kept = caught.value.trained
    assert kept.best.epoch == 0
    assert reached(kept.model, part(1000, 1200)) == kept.best.validation_metric


def outlier() -> Dataset:
    samples = part(0, 64)
    inputs = samples.inputs[0].copy()
    inputs[5] = 1e4
    return Dataset(inputs=(inputs,), targets=samples.labels)


def test_an_outlier_of_ten_thousand_leaves_the_weights_finite():
    trained = train(untrained(), outlier(), part(1000, 1064), Settings(epochs=2, batch=32))
    assert all(np.isfinite(array).all() for array in trained.model.weights.values())


def test_a_network_of_zeros_trains_its_biases():
    model = untrained()
    zeros = model.evolved(model.module, {n: np.zeros_like(a) for n, a in model.weights.items()})
    trained = train(zeros, part(0, 64), part(0, 64), Settings(epochs=1, batch=32))
    assert np.abs(trained.model.weights["fc.bias"]).max() > 0


NAN = Dataset(inputs=(np.full((64, 1, 8, 8), np.nan, np.float32),), targets=np.zeros(64, np.int64))
EMPTY = Dataset(inputs=(np.zeros((0, 1, 8, 8), np.float32),), targets=np.zeros(0, np.int64))


@pytest.mark.parametrize(
    ("samples", "held", "error", "text"),
    [
        (NAN, part(0, 9), DataError, "sample 0 .* not finite"),
        (part(0, 9), part(0, 9), DataError, "9 samples .* fewer than a batch of 32"),
        (part(0, 64), EMPTY, DataError, "no validation samples"),
        (part(0, 64, labels=False), part(0, 9, labels=False), TrainingError, "no labels; .*distil"),
        (part(0, 64), part(0, 9, labels=False), TrainingError, "both have labels"),
    ],
    ids=["nan", "few", "no validation", "no labels", "labels on one side"],
)
def test_data_that_cannot_be_trained_on_are_refused(samples, held, error, text):
    with pytest.raises(error, match=text):
        train(untrained(), samples, held, QUICK)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch": 0}, {"learning_rate": float("nan")}, {"weight_decay": 1.0}],
    ids=str,
)
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Settings(**wrong)


def test_a_teacher_without_settings_is_refused():
    with pytest.raises(TrainingError, match="both a teacher and its settings"):
        train(untrained(), part(0, 64), part(64, 96), QUICK, teacher=untrained())


def test_a_network_that_gives_no_scores_is_refused():
    model = imported(Small(lambda self, x: self.c(x), c=nn.Conv2d(1, 2, 1)), (1, 1, 8, 8))
    samples = Dataset(inputs=part(0, 64).inputs, targets=np.zeros(64, np.int64))
    with pytest.raises(TrainingError, match=r"\(1, 2, 8, 8\).*class scores"):
        train(model, samples, samples, QUICK)
