"""Cells of all pieces of a network are trained at once, so that any combination holds up."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adaspring.errors import DataError, ModelError, TrainingError
from adaspring.explore.cells.divide import divide
from adaspring.explore.recipes import OF_PIECES
from adaspring.frontend.data import Dataset
from adaspring.ir.layers import macs_count
from adaspring.ir.pieces.segments import join
from adaspring.passes import Factorize, Prune, Quantize, run
from adaspring.reference.executor import accuracy, evaluate
from adaspring.training import Distillation, Settings, train_cells
from adaspring.training.combinations import VALIDATED, Combinations, draw
from adaspring.training.members import member_of

from ..support.networks import SmallResNet
from ..support.passes import data, fingerprint, known
from ..support.training import deep, part, wide

pytestmark = pytest.mark.slow

HALF = (Prune(keep_ratio=0.5, multiple_of=1),)
THIN = (Prune(keep_ratio=0.12, multiple_of=1),)
SPLIT = (Factorize(max_error_ratio=0.5, multiple_of=1),)
QUICK = Settings(epochs=6, batch=50, learning_rate=3e-3, patience=6)
SHORT = Settings(epochs=2, batch=50, learning_rate=2e-3)


@cache
def pieces():
    return divide(deep(), 2)


@cache
def steps_of_cells():
    """Of each piece, by name, the steps of its cells, refitted to what crosses densely."""
    given, found = part(0, 128), []
    for piece in pieces():
        recipes = {"half": HALF, "thin": THIN, "split": SPLIT}
        found.append({name: run(piece, passes, given).steps for name, passes in recipes.items()})
        given = Dataset(inputs=evaluate(piece, given), targets=given.targets)
    return found


@cache
def members():
    return [
        {name: member_of(piece, steps) for name, steps in of.items()}
        for piece, of in zip(pieces(), steps_of_cells(), strict=True)
    ]


def module(sampled=2, seed=0):
    return Combinations(deep(), pieces(), members(), sampled, seed)


def networks(cells):
    """Every combination but the dense one as a network, by its cells' numbers; 0 is dense."""
    choices = [[piece, *of.values()] for piece, of in zip(pieces(), cells, strict=True)]
    numbers = product(*(range(len(of)) for of in choices))
    chosen = {at: [of[i] for of, i in zip(choices, at, strict=True)] for at in numbers}
    return {at: join("joined", models) for at, models in chosen.items() if any(at)}


def right(model) -> float:
    held = part(1200, 1797)
    return accuracy(evaluate(model, held)[0], held.labels)


@pytest.fixture(scope="module")
def trained():
    before = [fingerprint(model) for model in (deep(), *pieces())]
    found = train_cells(deep(), pieces(), steps_of_cells(), part(0, 1000), part(1000, 1200), QUICK)
    assert [fingerprint(model) for model in (deep(), *pieces())] == before
    return found


def test_before_training_combinations_answer_as_their_cells_one_after_the_other():
    made, x = module(), part(0, 6).inputs[0]
    found, cells = made(torch.from_numpy(x[:, None])), [m for m in made.cells()]
    assert len(made.taking_part) == 15  # all but the dense one, which teaches
    expected = networks(cells)
    for index, combination in enumerate(made.taking_part):
        scores = found[2 * index].detach()[:, 0]
        reference = evaluate(expected[combination], Dataset(inputs=(x,)))[0]
        np.testing.assert_allclose(scores, reference, rtol=1e-4, atol=1e-4)


def test_cells_without_a_block_and_of_adasprings_forms_answer_as_in_the_reference():
    model = known(SmallResNet)
    dense, given = divide(model, 3), data(model, 32)
    pieces_given, made = given, []
    for piece in dense:
        steps = {
            recipe.name: run(piece, recipe.passes, pieces_given).steps
            for recipe in OF_PIECES
            if not any(each.rounds_weights for each in recipe.passes)
        }
        made.append({name: member_of(piece, each) for name, each in steps.items()})
        pieces_given = Dataset(inputs=evaluate(piece, pieces_given))
    module = Combinations(model, dense, made, 2, 0)
    found = module(torch.from_numpy(given.inputs[0][:4, None]))
    for index, combination in enumerate(module.taking_part):
        of = [
            piece if not cell else list(cells.values())[cell - 1]
            for piece, cells, cell in zip(dense, module.cells(), combination, strict=True)
        ]
        expected = evaluate(join("joined", of), given.take(np.arange(4)))[0]
        scores = found[(len(found) // len(module.taking_part)) * index].detach()[:, 0]
        np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)


def test_cells_as_they_are_now_compute_in_the_reference_what_they_do_in_training():
    made, x = module(seed=1), part(0, 6).inputs[0]
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name in made.weights_read():
                parameter.add_(0.05 * torch.randn_like(parameter))
    found, expected = made(torch.from_numpy(x[:, None])), networks(made.cells())
    for index, combination in enumerate(made.taking_part):
        given = found[2 * index].detach()[:, 0]
        reference = evaluate(expected[combination], Dataset(inputs=(x,)))[0]
        np.testing.assert_allclose(given, reference, rtol=1e-3, atol=1e-3)


def test_a_pruned_combination_is_what_torch_computes_with_its_weights(trained):
    cells = [of["half"] for of in trained.cells]
    weights = {n: torch.tensor(w) for cell in cells for n, w in cell.weights.items()}
    x = part(1200, 1210).inputs[0]
    y = torch.from_numpy(x)
    for name, stride in (("conv1", 1), ("conv2", 1), ("conv3", 2), ("conv4", 1)):
        pair = weights[f"{name}.weight"], weights[f"{name}.bias"]
        y = torch.relu(F.conv2d(y, *pair, stride, 1))
    y = F.linear(y.flatten(1), weights["fc.weight"], weights["fc.bias"])
    (found,) = evaluate(join("joined", cells), Dataset(inputs=(x,)))
    np.testing.assert_allclose(found, y, rtol=1e-3, atol=1e-3)


def test_what_crosses_is_given_beside_the_answers():
    made, x = module(), part(0, 3).inputs[0]
    found, parts = made(torch.from_numpy(x[:, None])), made.cells()
    first = [pieces()[0], *parts[0].values()]
    for index, (cell, _) in enumerate(made.taking_part):
        crossing = found[2 * index + 1].detach()[:, 0]
        (expected,) = evaluate(first[cell], Dataset(inputs=(x,)))
        np.testing.assert_allclose(crossing, expected, rtol=1e-4, atol=1e-4)


def test_each_step_runs_the_smallest_and_others_at_random_the_same_again():
    made = module(seed=3)
    smallest = tuple(
        1 + int(np.argmin([macs_count(member.model) for member in of.values()])) for of in members()
    )
    seen = []
    for step in [*range(12), 0]:
        made.at_step(step)
        first, *others = made.taking_part
        assert first == smallest
        assert len(set(others)) == 2
        assert not {smallest, (0, 0)} & set(others)
        seen.append(made.taking_part)
    assert seen[0] == seen[-1]
    assert len({each for chosen in seen for each in chosen}) > 8
    made.at_step(None)
    assert made.taking_part[0] == smallest
    assert len(made.taking_part) == min(VALIDATED, 15)


def test_drawing_gives_different_combinations_and_all_where_there_are_no_more():
    rng = np.random.default_rng(0)
    found = draw((3, 2, 4), 10, rng, {(0, 0, 0)})
    assert len(set(found)) == 10
    assert (0, 0, 0) not in found
    assert len(set(draw((3, 2), 100, rng, {(0, 0)}))) == 5
    assert draw((1, 1), 3, rng, {(0, 0)}) == ()


def test_cells_read_the_same_parameters_and_the_dense_pieces_are_not_trained():
    made = module()
    shared, read = set(deep().weights), made.weights_read()
    assert {name for name in shared if name.endswith(".weight")} <= read
    frozen = {name for name, p in made.named_parameters() if not p.requires_grad}
    assert len(frozen) == len(shared)
    assert not frozen & read
    with torch.no_grad():
        dict(made.named_parameters())["conv2.weight"].mul_(2.0)
    for name, cell in made.cells()[0].items():
        member = members()[0][name]
        if "conv2.weight" in member.slices:
            offset = member.offsets.get("conv2.weight", 0)
            np.testing.assert_allclose(
                cell.weights["conv2.weight"] - offset,
                2 * (member.model.weights["conv2.weight"] - offset),
                atol=1e-6,
            )


def test_all_combinations_gain_at_once(trained):
    before, after = (
        networks([{n: m.model for n, m in of.items()} for of in members()]),
        networks(trained.cells),
    )
    assert before.keys() == after.keys()
    values = np.array([[right(made[at]) for at in before] for made in (before, after)])
    dense = right(deep())
    assert values[1].mean() > values[0].mean() + 0.01
    held = (dense - values <= 0.02).sum(axis=1)
    assert held[1] > held[0]
    best = max(epoch.validation_metric for epoch in trained.history)
    assert trained.best.validation_metric == best


def test_the_same_seed_gives_the_same_cells_and_another_seed_others():
    def weights(seed):
        settings = Settings(epochs=1, batch=50, learning_rate=2e-3, seed=seed)
        found = train_cells(
            deep(), pieces(), steps_of_cells(), part(0, 200), part(1000, 1100), settings
        )
        return [w for of in found.cells for cell in of.values() for w in cell.weights.values()]

    first, again, other = weights(0), weights(0), weights(1)
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path):
    class Stop(Exception):
        pass

    class Stopper:
        def step(self, stage, done, total, detail):
            if done == 6:
                raise Stop

        def note(self, text):
            pass

    given = deep(), pieces(), steps_of_cells(), part(0, 200), part(1000, 1100)
    with pytest.raises(Stop):
        train_cells(*given, SHORT, checkpoints=tmp_path, progress=Stopper())
    whole = train_cells(*given, SHORT)
    again = train_cells(*given, SHORT, checkpoints=tmp_path)
    assert [epoch.epoch for epoch in again.history] == [0, 1, 2]
    for one, other in zip(whole.cells, again.cells, strict=True):
        for name, model in one.items():
            for weight, value in model.weights.items():
                np.testing.assert_allclose(other[name].weights[weight], value, atol=1e-5)
    fewer = [{"half": of["half"]} for of in steps_of_cells()]
    with pytest.raises(TrainingError, match="other settings"):
        train_cells(*given[:2], fewer, *given[3:], SHORT, checkpoints=tmp_path)


def test_labels_are_not_needed_and_a_piece_may_have_no_cells():
    settings = Settings(epochs=2, batch=50, distillation=Distillation())
    cells = [steps_of_cells()[0], {}]
    bare = part(0, 500, labels=False), part(1000, 1100, labels=False)
    found = train_cells(deep(), pieces(), cells, *bare, settings)
    assert found.cells[1] == {}
    assert found.history[-1].validation_loss < found.history[0].validation_loss


def test_training_stops_at_its_time_limit():
    times = iter(range(10**6))
    settings = Settings(epochs=50, batch=50, time_limit_s=60.0)
    found = train_cells(
        deep(), pieces(), steps_of_cells(), part(0, 200), part(1000, 1100), settings,
        clock=lambda: float(next(times)),
    )  # fmt: skip
    assert "the time limit of 60 s is over" in found.stopped


def test_nobody_pieces_of_another_network_and_rounded_cells_are_refused():
    parts = part(0, 100), part(1000, 1100)
    with pytest.raises(TrainingError, match="no cells to train"):
        train_cells(deep(), pieces(), [{}, {}], *parts, QUICK)
    with pytest.raises(ModelError, match="the pieces are of another network"):
        train_cells(wide(), (*pieces(), *pieces()), [*steps_of_cells(), {}, {}], *parts, QUICK)
    rounded = run(pieces()[0], (Quantize(),), part(0, 64)).steps
    with pytest.raises(TrainingError, match="round after training"):
        train_cells(deep(), pieces(), [{"int8": rounded}, {}], *parts, QUICK)
    with pytest.raises(DataError, match="no validation samples"):
        train_cells(deep(), pieces(), steps_of_cells(), parts[0], part(0, 0), QUICK)


def test_a_loss_that_is_not_finite_is_refused_with_what_to_do():
    hot = Settings(epochs=30, batch=50, learning_rate=9e5, patience=30)
    with pytest.raises(TrainingError, match="lower learning rate"):
        train_cells(deep(), pieces(), steps_of_cells(), part(0, 500), part(1000, 1100), hot)
