"""`compile --segments --retrain`: cells are trained together, and kept where combinations gain."""

from itertools import product

import numpy as np
import pytest

from adaspring import targets
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import TrainingError
from adaspring.explore.cells.compose import compose
from adaspring.explore.notes import notes
from adaspring.explore.plan import plan
from adaspring.explore.progress import Silent
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.explore.request import Bounds, Request
from adaspring.explore.retrain.compare_cells import Sampled, Verdict
from adaspring.explore.variants import make_probe
from adaspring.frontend.data import Dataset, split
from adaspring.ir.pieces.segments import join
from adaspring.passes import Prune, Quantize
from adaspring.reference.executor import evaluate

from ...support.passes import fingerprint
from ...support.told import Notes
from ...support.training import deep, part

pytestmark = pytest.mark.slow

HALF, THIN = (Prune(keep_ratio=ratio, multiple_of=1) for ratio in (0.5, 0.12))
RECIPES = (
    DENSE,
    Recipe(name="half", passes=(HALF,)),
    Recipe(name="half-again", passes=(Prune(keep_ratio=0.5, multiple_of=2),)),
    Recipe(name="thin-int8", passes=(THIN, Quantize())),
    Recipe(name="int8", passes=(Quantize(),)),
)


def planned(training, **more):
    asked = {"recipes": RECIPES, "bounds": Bounds(max_drop=0.03), **more}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adaspring.explore.board.site.is_this_machine", lambda board: False)
        return plan(
            Request(
                model=deep(),
                boards=(targets.null(),),
                tuning=Tuning(trials=0),
                data=split(part(1200, 1797), seed=0),
                training=training,
                segments=2,
                **asked,
            )
        )


def composed(training, progress=None, **more):
    made = planned(training, **more)
    probe = make_probe(made.model, made.splits, made.metric)
    return compose(made, probe, progress or Silent())


@pytest.fixture(scope="module")
def both():
    """The network in pieces without training data, and with them; any cell may be as bad."""
    before, notes_told = fingerprint(deep()), Notes()
    bounds = Bounds(max_drop=1.0)
    found = composed(None, bounds=bounds), composed(part(0, 1000), notes_told, bounds=bounds)
    assert fingerprint(deep()) == before
    return *found, notes_told.notes


def test_combinations_are_better_on_samples_that_nothing_was_decided_by(both):
    refitted, trained, _ = both
    assert refitted.pieces.kinds == trained.pieces.kinds
    test = split(part(1200, 1797), seed=0).test

    def right(pieces):
        found = []
        for cells in product(*pieces.cells):
            (scores,) = evaluate(join("joined", [cell.model for cell in cells]), test)
            found.append(float((scores.argmax(1) == test.labels).mean()))
        return np.array(found)

    before, after = right(refitted.pieces), right(trained.pieces)
    assert after.mean() > before.mean() + 0.02
    assert (after[0] - after <= 0.03).sum() > (before[0] - before <= 0.03).sum()


def test_a_recipe_that_came_to_what_another_had_gets_no_cell_by_training_either(both):
    for each in both[:2]:
        assert all("half-again" not in names for names in each.pieces.kinds)


def test_dense_cells_and_those_rounded_alone_are_what_they_were(both):
    refitted, trained, _ = both
    for before, after in zip(refitted.pieces.cells, trained.pieces.cells, strict=True):
        for one, other in zip(before, after, strict=True):
            is_same = fingerprint(one.model) == fingerprint(other.model)
            assert is_same == (one.recipe.name in ("dense", "int8")), one.name


def test_what_was_rounded_is_rounded_anew_on_what_was_trained(both):
    _, trained, _ = both
    for cells in trained.pieces.cells:
        (cell,) = (each for each in cells if each.recipe.name == "thin-int8")
        assert "int8" in {str(weight.dtype) for weight in cell.model.weights.values()}
        names = [decision.pass_name for decision in cell.decisions()]
        assert list(dict.fromkeys(names)) == ["prune", "quantize", "retrain"]


def test_the_figures_of_both_stand_in_the_decisions_and_are_said(both):
    refitted, trained, told = both
    assert not any(cell.training for cell in refitted.pieces.every)
    records = [cell.training for cell in trained.pieces.every]
    assert [record is None for record in records] == [
        cell.recipe.name in ("dense", "int8") for cell in trained.pieces.every
    ]
    (record,) = {each for each in records if each is not None}
    assert (record.pass_name, record.action) == ("retrain", "changed")
    assert record.detail.startswith("trained together with 3 other cells of 2 pieces")
    for text in ("better and kept: top1 of", "mean ", "worst ", "within the allowed drop "):
        assert text in record.detail
    assert "4 cells of 2 pieces train on 800 samples" in told
    assert any(note.startswith("trained cells are better and kept: top1 of 15") for note in told)


def test_more_cells_and_combinations_hold_what_may_be_lost():
    held = [composed(training) for training in (None, part(0, 500))]
    counts = [0 if each is None else each.choices.combinations_count for each in held]
    assert counts[1] > counts[0]


def test_what_training_does_not_make_better_is_left_out_and_says_so():
    rng, bounds = np.random.default_rng(0), Bounds(max_drop=1.0)
    noise = rng.standard_normal((64, 1, 8, 8)).astype(np.float32)
    told, settings = Notes(), {"bounds": bounds, "retrain_time_s": 0.01}
    found = composed(Dataset(inputs=(noise,)), told, **settings)
    refitted = composed(None, bounds=bounds)
    for one, other in zip(refitted.pieces.every, found.pieces.every, strict=True):
        assert fingerprint(one.model) == fingerprint(other.model)
    records = {cell.training for cell in found.pieces.every} - {None}
    (record,) = records
    assert record.action == "kept"
    assert "not better, so left out: top1 of 15" in record.detail
    assert any("not better, so left out" in note for note in told.notes)


@pytest.mark.parametrize(
    ("after", "is_better"),
    [((0.91, 0.5, 5), True), ((0.91, 0.5, 4), False), ((0.9, 0.9, 9), False)],
)
def test_the_mean_must_be_better_and_no_fewer_hold(after, is_better):
    def sampled(mean, worst, held):
        return Sampled(mean=mean, worst=worst, held_count=held)

    made = Verdict(before=sampled(0.9, 0.6, 5), after=sampled(*after), text="figures")
    assert made.is_better == is_better
    assert made.describe().startswith("better" if is_better else "not better")


def test_cells_that_cannot_be_trained_stay_and_say_why(monkeypatch):
    def fail(*_, **__):
        raise TrainingError("the loss is nan in step 3 of epoch 1; give a lower learning rate")

    monkeypatch.setattr("adaspring.explore.retrain.cells.train_cells", fail)
    told = Notes()
    found = composed(part(0, 64), told, bounds=Bounds(max_drop=1.0))
    assert any(
        note.startswith("the cells stay as they were refitted: the loss") for note in told.notes
    )
    records = [cell.training for cell in found.pieces.every if cell.training]
    assert {record.action for record in records} == {"kept"}
    assert "the loss is nan" in records[0].detail


def test_cells_that_are_rounded_alone_leave_nothing_to_train():
    told = Notes()
    found = composed(part(0, 64), told, recipes=(DENSE, RECIPES[-1]), bounds=Bounds(max_drop=1.0))
    assert "no cell has weights that could be trained before they are rounded" in told.notes
    assert not any(cell.training for cell in found.pieces.every)


def test_the_plan_says_that_cells_are_trained_and_how_long():
    settings = {"recipes": RECIPES[:1], "retrain_time_s": 600.0}
    (text,) = (note for note in notes(planned(part(0, 64), **settings)) if "cells" in note)
    assert "the cells of at most 2 pieces are trained together on 64 samples" in text
    assert "within 10 min" in text
    assert not any("cells" in note for note in notes(planned(None, recipes=RECIPES[:1])))
