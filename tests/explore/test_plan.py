"""A plan is made once: the dry run shows it, and compiling carries it out."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import adaspring
from adaspring import targets
from adaspring.errors import UsageError
from adaspring.explore import plan as plan_module
from adaspring.explore.board import tuned_code
from adaspring.explore.compile import BoardFailure, BoardResult, compile_libraries
from adaspring.explore.plan import plan
from adaspring.explore.progress import Silent
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.explore.request import Bounds, Request, default_logs, find_boards
from adaspring.frontend.data import Dataset
from adaspring.library.reader import read_manifest
from adaspring.metrics.classes import TOP1
from adaspring.passes import Factorize, Prune, Quantize
from adaspring.reference.executor import evaluate
from adaspring.training import Settings

from ..support.networks import Mlp
from ..support.passes import data, known

RECIPES = (
    DENSE,
    Recipe(name="pruned", passes=(Prune(keep_ratio=0.5, multiple_of=8),)),
    Recipe(name="pruned-int8", passes=(Prune(keep_ratio=0.5, multiple_of=8), Quantize())),
)


def labelled() -> Dataset:
    model = known(Mlp)
    inputs = data(model, 60).inputs
    labels = evaluate(model, Dataset(inputs=inputs))[0].argmax(1)
    return Dataset(inputs=inputs, targets=labels)


def request(folder: Path, **changes) -> Request:
    settings = {
        "boards": ("null",),
        "output": folder / "lib",
        "data": labelled(),
        "recipes": RECIPES,
        "bounds": Bounds(max_drop=1.0, front_only=False),
        "tuning": adaspring.Tuning(trials=0),
        "logs": folder / "logs",
    }
    return Request(model=known(Mlp), **(settings | changes))


@pytest.mark.slow
def test_the_library_holds_what_was_planned(tmp_path):
    planned = plan(request(tmp_path))
    assert list(tmp_path.iterdir()) == []
    compile_libraries(planned)
    manifest = read_manifest(tmp_path / "lib")
    made = {entry.name: entry for entry in (*manifest.variants, *manifest.dropped)}
    assert sorted(made) == sorted(each.recipe.name for each in planned.recipes)
    for each in planned.recipes:
        if each.recipe.name in {variant.name for variant in manifest.variants}:
            assert made[each.recipe.name].decisions == each.decisions


@pytest.mark.slow
def test_passes_run_once_although_two_recipes_begin_alike(tmp_path, monkeypatch):
    ran = []
    original = Prune.plan
    monkeypatch.setattr(Prune, "plan", lambda *given: ran.append(given) or original(*given))
    compile_libraries(plan(request(tmp_path)))
    assert len(ran) == 1


def test_each_board_is_looked_for_once(tmp_path, monkeypatch):
    looked = []
    original = plan_module.find_site

    def find_site(board, *rest):
        looked.append(board.name)
        return original(board, *rest)

    monkeypatch.setattr(plan_module, "find_site", find_site)
    compile_libraries(plan(request(tmp_path, recipes=(DENSE,))))
    assert looked == ["null"]


def test_a_recipe_that_changes_nothing_is_planned_with_its_reasons_and_not_tried(tmp_path):
    # no layer has so large a rank: measured times, which decide among lower ones, have no say
    still = Recipe(name="still", passes=(Factorize(max_error_ratio=1e-6, multiple_of=256),))
    _, planned = plan(request(tmp_path, recipes=(DENSE, still))).recipes
    assert planned.skipped == "every layer is left alone, so it is the dense network"
    assert {decision.action for decision in planned.decisions} == {"kept"}


def test_a_board_whose_code_cannot_be_built_fails_before_the_work_and_alone(tmp_path, monkeypatch):
    def find_obstacle(board):
        return "no linker" if board.name == "raspberry-pi-5" else None

    monkeypatch.setattr(plan_module, "find_obstacle", find_obstacle)
    boards = ("null", "raspberry-pi-5")
    result = compile_libraries(plan(request(tmp_path, boards=boards, recipes=(DENSE,))))
    here, there = result.boards
    assert isinstance(here, BoardResult)
    assert isinstance(there, BoardFailure)
    assert (there.error, there.board.name) == ("no linker", "raspberry-pi-5")
    assert result.failures == (there,)
    assert [path.name for path in (tmp_path / "lib").iterdir()] == ["null"]


def test_a_board_that_is_named_twice_is_refused():
    assert find_boards(("null", targets.find("raspberry-pi-5")))[0].name == "null"
    with pytest.raises(UsageError, match="null more than once"):
        find_boards(("null", "null"))


def test_bounds_that_nothing_can_keep_are_refused():
    with pytest.raises(UsageError, match="latency-ms is 0"):
        Bounds(latency_ms=0.0)
    with pytest.raises(UsageError, match="max-drop is -1"):
        Bounds(max_drop=-1.0)
    with pytest.raises(UsageError, match="max-drop is 2; top1 is a share"):
        Bounds(max_drop=2.0).of(TOP1)
    with pytest.raises(UsageError, match="min-metric is nan"):
        Bounds(min_metric=float("nan"))


@pytest.mark.slow
def test_python_compiles_tunes_and_opens_as_the_commands_do(tmp_path):
    samples = labelled()
    np.savez(tmp_path / "data.npz", x=samples.inputs[0], y=samples.labels)
    made = adaspring.compile(
        known(Mlp),
        tmp_path / "lib",
        boards=("null",),
        data=tmp_path / "data.npz",
        recipes=("pruned-half",),
        bounds=adaspring.Bounds(max_drop=1.0, front_only=False),
        tuning=adaspring.Tuning(trials=0),
        logs=str(tmp_path / "logs"),
    )
    assert made.failures == ()
    net = adaspring.load(tmp_path / "lib").open("dense")
    expected = evaluate(known(Mlp), samples)[0]
    np.testing.assert_allclose(net(samples.inputs[0][:1]), expected[:1], rtol=1e-4, atol=1e-5)

    tuning = adaspring.Tuning(trials=2, tuner="template")
    tuned = adaspring.tune(known(Mlp), boards=("null",), recipes=("dense",), tuning=tuning)
    (board,) = tuned.boards
    assert board.report.measured_count + len(board.report.failed) == 2
    assert (default_logs() / "null" / "records.jsonl").exists()


class Steps(Silent):
    """Keeps the steps that it is told."""

    def __init__(self):
        self.kept = []

    def step(self, stage, done, total, detail):
        self.kept.append((stage, done, total, detail))


def test_tuning_that_time_ends_is_told_in_seconds_of_that_time(monkeypatch):
    def tune(tasks, board, log, tuning, tell, **others):
        tell(0, tuning.trials)
        time.sleep(0.1)
        tell(7, tuning.trials)
        tell(tuning.trials, tuning.trials)

    monkeypatch.setattr(tuned_code, "tune", tune)
    steps = Steps()
    adaspring.tune(
        known(Mlp), boards=("null",), recipes=("dense",), progress=steps,
        tuning=adaspring.Tuning(trials=10**6, time_limit_s=1.5),
    )  # fmt: skip
    told = [step[1:] for step in steps.kept if step[0] == "tune on null"]
    assert told[1][1:] == (2, "seconds, 7 trials")
    assert told[2] == (10**6, 10**6, "trials")


def test_python_retrains_as_the_command_does():
    samples, short = labelled(), Settings(epochs=1, batch=20)
    done = adaspring.retrain(known(Mlp), samples, samples, recipe="pruned-half", settings=short)
    assert done.trained.model.weights["fc1.weight"].shape != known(Mlp).weights["fc1.weight"].shape
    assert done.dense_metric == 1.0
