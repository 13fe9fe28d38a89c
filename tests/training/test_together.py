"""Members of an ensemble share the dense network's weights, and are trained in one go."""

import numpy as np
import pytest
import torch

from adaspring.errors import DataError, TrainingError
from adaspring.frontend.data import Dataset
from adaspring.ir.layers import layers, macs_count
from adaspring.passes import DropBlocks, Factorize, Prune, Quantize, run
from adaspring.reference.executor import accuracy, evaluate
from adaspring.training import Distillation, Settings, train_together
from adaspring.training.ensemble import Ensemble
from adaspring.training.members import member_of

from ..support.networks import ALL, SmallCnn, SmallResNet
from ..support.passes import data, fingerprint, known
from ..support.training import part, wide

pytestmark = pytest.mark.slow

QUICK = Settings(epochs=8, batch=50, learning_rate=5e-3, patience=8)
HALF = Prune(keep_ratio=0.5, multiple_of=1)


def steps_of(model, *passes, calibration=None):
    return run(model, passes, calibration).steps


def right(model) -> float:
    held = part(1200, 1797)
    return accuracy(evaluate(model, held)[0], held.labels)


def three():
    return {
        "half": steps_of(wide(), HALF),
        "thin": steps_of(wide(), Prune(keep_ratio=0.2, multiple_of=1)),
        "split": steps_of(wide(), HALF, Factorize(max_error_ratio=0.5, multiple_of=1)),
    }


@pytest.fixture(scope="module")
def trained():
    before = fingerprint(wide())
    found = train_together(wide(), three(), part(0, 1000), part(1000, 1200), QUICK)
    assert fingerprint(wide()) == before
    return found


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_what_is_pruned_without_data_is_slices_of_the_dense_weights(network):
    model = known(network)
    steps = steps_of(model, HALF)
    member, pruned = member_of(model, steps), run(model, (HALF,), None).model
    assert fingerprint(member.model) == fingerprint(pruned)
    matrices = {n for n, w in pruned.weights.items() if w.ndim > 1 and w.dtype.kind == "f"}
    assert set(member.slices) == matrices
    for name, of in member.slices.items():
        found = model.weights[name]
        for axis, index in of.items():
            found = np.take(found, index, axis)
        np.testing.assert_array_equal(found, pruned.weights[name])


def test_before_training_every_member_gives_what_its_passes_made():
    cut = {name: member_of(wide(), steps) for name, steps in three().items()}
    ensemble = Ensemble(wide(), cut, sampled=1, seed=0)
    x = part(0, 6).inputs[0]
    dense, *given = ensemble(torch.from_numpy(x[:, None]))
    expected = [wide(), *(each.model for each in sorted(cut.values(), key=lambda m: m.macs_count))]
    for scores, model in zip([dense, *given], expected, strict=True):
        reference = evaluate(model, Dataset(inputs=(x,)))[0]
        np.testing.assert_allclose(scores.detach()[:, 0], reference, rtol=1e-4, atol=1e-4)


def test_members_read_the_same_parameters_and_have_biases_of_their_own():
    cut = {"half": member_of(wide(), three()["half"])}
    ensemble = Ensemble(wide(), cut, sampled=1, seed=0)
    names = dict(ensemble.named_parameters())
    shared = set(wide().weights)
    own = {name.removeprefix("member 0.") for name in names if name.startswith("member 0.")}
    assert set(names) == shared | {f"member 0.{name}" for name in own}
    assert own == shared  # a scale for each weight of two axes or more, and each bias
    with torch.no_grad():
        names["conv1.weight"].mul_(2.0)
        names["member 0.conv1.bias"].zero_()
    after = ensemble.members()["half"].weights
    np.testing.assert_allclose(after["conv1.weight"], 2 * cut["half"].model.weights["conv1.weight"])
    assert not after["conv1.bias"].any()
    assert ensemble.evolved().weights["conv1.bias"].any()


def test_a_layer_that_was_split_has_factors_of_its_own():
    member = member_of(wide(), three()["split"])
    assert {name for name in member.model.weights if name.count(".") == 2}
    assert all(name in wide().weights for name in member.slices)


def test_a_step_runs_the_smallest_and_some_others_the_same_again():
    cut = {name: member_of(wide(), steps) for name, steps in three().items()}
    ensemble = Ensemble(wide(), cut, sampled=1, seed=3)
    x = torch.from_numpy(part(0, 2).inputs[0][:, None])
    smallest = ensemble(x)[1]
    chosen = []
    for step in [*range(8), 0]:
        ensemble.at_step(step)
        _, first, other = ensemble(x)
        torch.testing.assert_close(first, smallest)
        chosen.append(float(other.detach().sum()))
    assert len(set(chosen)) == 2
    assert chosen[0] == chosen[-1]
    ensemble.at_step(None)
    assert len(ensemble(x)) == 4


def test_all_members_gain_at_once(trained):
    assert set(trained.members) == set(three())
    for name, steps in three().items():
        before = run(wide(), [step.settings for step in steps], None).model
        after = trained.members[name]
        assert macs_count(after) == macs_count(before)
        assert right(after) > right(before)
    assert right(trained.members["half"]) > right(wide()) - 0.03
    assert right(trained.dense) > right(wide()) - 0.03
    best = max(epoch.validation_metric for epoch in trained.history)
    assert trained.best.validation_metric == best


def test_a_member_goes_on_to_be_quantized(trained):
    calibration = part(0, 128)
    quantized = run(trained.members["half"], (Quantize(),), calibration).model
    assert right(quantized) > right(trained.members["half"]) - 0.03


def test_blocks_that_were_dropped_leave_the_others_shared():
    model = known(SmallResNet)
    steps = steps_of(model, DropBlocks(count=1), calibration=data(model, 32))
    member = member_of(model, steps)
    assert len(layers(member.model)) < len(layers(model))
    assert set(member.slices) == {layer.weight for layer in layers(member.model)}


def test_what_refitting_changed_stays_added_to_the_slices():
    model = known(SmallCnn)
    steps = steps_of(model, HALF, calibration=data(model, 64))
    member = member_of(model, steps)
    pruned = run(model, (HALF,), data(model, 64)).model
    assert fingerprint(member.model) == fingerprint(pruned)
    assert set(member.slices) == {n for n, w in pruned.weights.items() if w.ndim > 1}
    assert set(member.offsets) < set(member.slices)
    ensemble = Ensemble(model, {"half": member}, sampled=1, seed=0)
    for name, value in ensemble.members()["half"].weights.items():
        np.testing.assert_allclose(value, pruned.weights[name], atol=1e-6)
    with torch.no_grad():
        for name, parameter in ensemble.named_parameters():
            if name in model.weights:
                parameter.zero_()
    for name, value in ensemble.members()["half"].weights.items():
        if name in member.slices:
            np.testing.assert_array_equal(value, member.offsets.get(name, 0 * value))


def test_without_labels_the_dense_network_learns_from_a_teacher():
    settings = Settings(epochs=2, batch=50, distillation=Distillation())
    bare = part(0, 500, labels=False), part(1000, 1100, labels=False)
    found = train_together(wide(), {"half": three()["half"]}, *bare, settings, teacher=wide())
    assert found.history[-1].validation_loss < found.history[0].validation_loss
    with pytest.raises(TrainingError, match="no labels"):
        train_together(wide(), {"half": three()["half"]}, *bare, QUICK)


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path):
    class Stop(Exception):
        pass

    class Stopper:
        def step(self, stage, done, total, detail):
            if done == 13:
                raise Stop

        def note(self, text):
            pass

    members, parts = three(), (part(0, 400), part(1000, 1100))
    settings = Settings(epochs=3, batch=50, learning_rate=2e-3)
    with pytest.raises(Stop):
        train_together(wide(), members, *parts, settings, checkpoints=tmp_path, progress=Stopper())
    whole = train_together(wide(), members, *parts, settings)
    again = train_together(wide(), members, *parts, settings, checkpoints=tmp_path)
    assert [epoch.epoch for epoch in again.history] == [0, 1, 2, 3]
    for name, model in whole.members.items():
        for weight, value in model.weights.items():
            np.testing.assert_allclose(again.members[name].weights[weight], value, atol=1e-5)
    with pytest.raises(TrainingError, match="other settings"):
        train_together(wide(), {"half": members["half"]}, *parts, settings, checkpoints=tmp_path)


def test_nobody_and_members_that_are_rounded_are_refused():
    parts = part(0, 100), part(1000, 1100)
    with pytest.raises(TrainingError, match="no members"):
        train_together(wide(), {}, *parts, QUICK)
    rounded = steps_of(wide(), Quantize(), calibration=part(0, 64))
    with pytest.raises(TrainingError, match="round after training"):
        train_together(wide(), {"int8": rounded}, *parts, QUICK)
    with pytest.raises(DataError, match="no validation samples"):
        train_together(wide(), three(), parts[0], part(0, 0), QUICK)


def test_a_loss_that_is_not_finite_is_refused_with_what_to_do():
    hot = Settings(epochs=30, batch=50, learning_rate=9e5, patience=30)
    with pytest.raises(TrainingError, match="lower learning rate"):
        train_together(wide(), three(), part(0, 500), part(1000, 1100), hot)
