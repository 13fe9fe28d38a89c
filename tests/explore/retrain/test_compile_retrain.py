"""`compile --retrain`: what lost too much accuracy is retrained before it is built, and says so."""

import pytest

from adaspring import targets
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import UsageError
from adaspring.explore.compile import compile_libraries
from adaspring.explore.plan import plan
from adaspring.explore.progress import Silent
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.explore.request import Bounds, Request
from adaspring.explore.shortlist import find_variants
from adaspring.explore.variants import make_probe
from adaspring.frontend.data import split
from adaspring.library.reader import read_manifest
from adaspring.passes import Prune, Quantize, WeightOnly
from adaspring.reference.executor import accuracy, evaluate

from ...support.cli import adaspring, refused
from ...support.passes import fingerprint
from ...support.told import Notes
from ...support.training import part, wide

pytestmark = pytest.mark.slow

HEAVY = Prune(keep_ratio=0.1, multiple_of=1)
RECIPES = (
    DENSE,
    Recipe(name="thin", passes=(HEAVY,)),
    Recipe(name="thin-int8", passes=(HEAVY, Quantize())),
)


def request(folder, training, max_drop=0.06, recipes=RECIPES, **more) -> Request:
    return Request(
        model=wide(),
        boards=(targets.null(),),
        output=folder / "lib",
        recipes=recipes,
        bounds=Bounds(max_drop=max_drop, front_only=False),
        tuning=Tuning(trials=0),
        logs=folder / "logs",
        data=split(part(1200, 1797), seed=0),
        training=training,
        **more,
    )


def variants(asked: Request, progress=None):
    planned = plan(asked)
    probe = make_probe(planned.model, planned.splits, planned.metric)
    return find_variants(planned, probe, progress or Silent())


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What is found without training data, and with them."""
    folder = tmp_path_factory.mktemp("found")
    return variants(request(folder, None)), variants(request(folder, part(0, 1000)))


def test_without_training_data_the_recipes_are_left_out(both):
    (found, skipped), _ = both
    assert [variant.name for variant in found] == ["dense"]
    assert {entry.name for entry in skipped} == {"thin", "thin-int8"}
    assert all("top1 falls" in entry.reason for entry in skipped)


def test_with_training_data_they_come_back_and_say_how(both):
    _, (found, skipped) = both
    assert [variant.name for variant in found] == ["dense", "thin", "thin-int8"]
    assert skipped == ()
    dense, *retrained = found
    assert dense.training is None
    held = split(part(1200, 1797), seed=0).validation
    for variant in retrained:
        last = variant.decisions()[-1]
        assert (last.pass_name, last.action) == ("retrain", "changed")
        assert "retrained on 1000 samples" in last.detail
        reached = accuracy(evaluate(variant.model, held)[0], held.labels)
        assert variant.validation_metric == pytest.approx(reached)
        assert reached >= dense.validation_metric - 0.06
    integer = {str(a.dtype) for a in retrained[1].model.weights.values()}
    assert "int8" in integer
    assert "under int8 rounding" in retrained[1].training


def test_training_on_the_held_out_samples_is_refused_and_a_few_of_them_are_not(tmp_path):
    with pytest.raises(UsageError, match=r"477 of the 477 held-out samples .* training samples"):
        plan(request(tmp_path, part(1200, 1797), recipes=RECIPES[:1]))
    assert plan(request(tmp_path, part(1100, 1300), recipes=RECIPES[:1])).training is not None


def test_what_keeps_its_accuracy_is_not_retrained(tmp_path):
    found, _ = variants(request(tmp_path, part(0, 1000), max_drop=1.0, recipes=RECIPES[:2]))
    assert [variant.training for variant in found] == [None, None]


def test_what_training_does_not_save_says_that_it_was_tried(tmp_path):
    asked = request(tmp_path, part(0, 64), max_drop=0.0, recipes=RECIPES[:2])
    found, skipped = variants(asked)
    assert [variant.name for variant in found] == ["dense"]
    assert skipped[0].reason.endswith("after retraining")


def test_weights_that_are_rounded_alone_are_rounded_anew_after_training(tmp_path):
    recipe = Recipe(name="thin-weights", passes=(HEAVY, WeightOnly()))
    found, skipped = variants(request(tmp_path, part(0, 1000), recipes=(DENSE, recipe)))
    assert skipped == ()
    dense, thin = found
    assert "int8" in {str(array.dtype) for array in thin.model.weights.values()}
    names = [decision.pass_name for decision in thin.decisions()]
    assert list(dict.fromkeys(names)) == ["prune", "weightonly", "retrain"]
    assert thin.validation_metric >= dense.validation_metric - 0.06
    assert "int8" not in thin.training


def test_recipes_that_are_trained_together_come_back_without_a_training_of_their_own(tmp_path):
    half = Prune(keep_ratio=0.5, multiple_of=1)
    recipes = (
        *RECIPES,
        Recipe(name="half", passes=(half,)),
        Recipe(name="half-weights", passes=(half, WeightOnly())),
    )
    before = fingerprint(wide())
    asked = request(tmp_path, part(0, 1000), recipes=recipes, together=True, max_drop=0.2)
    found, skipped = variants(asked)
    assert skipped == ()
    dense, *others = found
    assert fingerprint(dense.model) == before == fingerprint(wide())
    assert dense.training is None
    for variant in others:
        assert variant.training.startswith("trained together with 1 others")
        assert variant.decisions()[-1].pass_name == "retrain"
    by_name = {variant.name: variant for variant in others}
    plain, _ = variants(request(tmp_path, None, recipes=recipes, max_drop=1.0))
    for name in ("thin", "half"):
        untrained = next(each for each in plain if each.name == name)
        assert by_name[name].validation_metric > untrained.validation_metric
    assert "int8" in {str(a.dtype) for a in by_name["thin-int8"].model.weights.values()}


def test_training_together_without_samples_is_refused(tmp_path):
    result = adaspring("compile", "net.pt2", "--together", "-o", tmp_path / "lib")
    refused(result, "--together needs --retrain", status=2)


def test_the_library_records_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr("adaspring.explore.board.site.is_this_machine", lambda board: False)
    before = fingerprint(wide())
    compile_libraries(plan(request(tmp_path, part(0, 1000), recipes=RECIPES[:2])))
    dense, thin = read_manifest(tmp_path / "lib").variants
    assert {decision.pass_name for decision in dense.decisions} == set()
    assert [decision.pass_name for decision in thin.decisions][-1] == "retrain"
    assert "top1 on the validation split was" in thin.decisions[-1].detail
    assert fingerprint(wide()) == before


def test_what_is_retrained_is_named_with_the_time_of_an_epoch_and_keeps_the_limit(tmp_path):
    notes = Notes()
    asked = request(tmp_path, part(0, 1000), recipes=RECIPES[:2], retrain_time_s=0.001)
    found, skipped = variants(asked, notes)
    assert notes.notes == ["thin lost accuracy; retraining on 1000 samples"]
    assert "after retraining" in skipped[0].reason or "the time limit of" in found[1].training
    variants(request(tmp_path, part(0, 1000), recipes=RECIPES[:2], retrain_time_s=3600.0), notes)
    assert notes.notes[-1].startswith("an epoch of 15 steps takes about")
    assert notes.notes[-1].endswith("60 min are enough for 20 epochs")


def test_a_retraining_time_without_samples_is_refused(tmp_path):
    result = adaspring("compile", "net.pt2", "--retrain-time", "10m", "-o", tmp_path / "lib")
    refused(result, "--retrain-time needs --retrain", status=2)


@pytest.mark.parametrize("text", ["ten minutes", "-5m", "0"])
def test_a_retraining_time_that_is_none_is_refused(tmp_path, text):
    result = adaspring("compile", "net.pt2", f"--retrain-time={text}", "-o", tmp_path / "lib")
    refused(result, "--retrain-time", "not a duration", status=2)


def test_retraining_without_held_out_data_is_refused(tmp_path):
    result = adaspring("compile", "net.pt2", "--retrain", "train.npz", "-o", tmp_path / "lib")
    refused(result, "--retrain needs --data", status=2)
