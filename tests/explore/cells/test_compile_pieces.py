"""compile --segments: a library in pieces, each combination right, its costs told."""

from contextlib import contextmanager
from math import inf

import numpy as np
import pytest
import torch

import adaspring
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import UsageError
from adaspring.explore.cells import affordable, on_board
from adaspring.explore.recipes import Recipe
from adaspring.explore.request import Bounds, Request
from adaspring.frontend.data import Dataset
from adaspring.passes.prune.prune import Prune

from ...support.lights import imported, lights, trained
from ...support.told import Notes


@pytest.fixture(scope="module")
def network():
    return trained()


def compiled(folder, progress, **settings):
    x, y = lights(400, 1)
    result = adaspring.compile(
        imported(),
        folder / "net.lib",
        progress=progress,
        data=Dataset(inputs=(x,), targets=y),
        **{
            "recipes": ("pruned-half", "int8"),
            "bounds": Bounds(max_drop=0.05, front_only=False),
            "tuning": Tuning(trials=0),
            "logs": folder / "logs",
            **settings,
        },
    )
    return result.boards[0].manifest


@contextmanager
def any_cut_allowed():
    """On a busy machine a cut of so small a network may seem to cost more than it does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(affordable, "MOST_UNCUT_RATIO", inf)
        patch.setattr(on_board, "MOST_UNCUT_RATIO", inf)
        yield


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pieces")
    with any_cut_allowed():
        compiled(folder, None, segments=2)
    with adaspring.load(folder / "net.lib") as opened:
        yield opened


def test_every_combination_was_measured_and_is_right(network, library):
    made = library.manifest.composition
    assert len(made.segments) == 2
    names = {"/".join(each.cells) for each in made.combinations}
    first, second = ([cell.name for cell in segment.cells] for segment in made.segments)
    assert names == {f"{a}/{b}" for a in first for b in second}
    x, _ = lights(4, 2)
    with torch.inference_mode():
        right = network(torch.from_numpy(x)).numpy()
    for name in names:
        net = library.open(name)
        found = np.concatenate([net(sample[None]) for sample in x])
        tolerance = 1e-4 if name == "dense/dense" else 0.3
        assert np.abs(found - right).max() <= tolerance * np.abs(right).max(), name


def test_each_cell_was_timed_and_each_combination_has_a_metric(library):
    made = library.manifest.composition
    for segment in made.segments:
        for cell in segment.cells:
            assert cell.cost.latency_p50_ms.value > 0
            assert cell.cost.latency_p50_ms.origin == "measured"
    for each in made.combinations:
        assert 0.5 < each.validation_metric.value <= 1
        assert "validation split" in each.validation_metric.how


def test_levels_cross_between_cells_in_8_bits_as_was_measured(library):
    made = library.manifest.composition
    (gives,), (takes,) = (segment.cell("int8").forms for segment in made.segments)
    assert gives.gives == takes.takes
    assert gives.takes is takes.gives is None
    assert gives.gives.dtype in ("uint8", "int8")
    for form in (gives, takes):
        assert form.cost.latency_p90_ms.origin == "measured"
    names = [[cell.name for cell in segment.cells] for segment in made.segments]
    table = np.array(made.latency.crossings[0])
    at = tuple(each.index("int8") for each in names)
    floats = sum(s.cell("int8").cost.latency_p90_ms.value for s in made.segments)
    levels = gives.cost.latency_p90_ms.value + takes.cost.latency_p90_ms.value
    assert table[at] == pytest.approx(levels - floats)
    assert np.count_nonzero(table) <= 1


@pytest.mark.slow
def test_cells_that_were_trained_together_ship_and_answer_as_their_combinations(network, tmp_path):
    x, y = lights(300, 5)
    eighth = Recipe(name="eighth", passes=(Prune(keep_ratio=0.125, multiple_of=1),))
    settings = {"recipes": (eighth, "int8"), "training": Dataset(inputs=(x,), targets=y)}
    with any_cut_allowed():
        made = compiled(tmp_path, None, segments=2, **settings).composition
    said = {
        cell.name: [each for each in cell.decisions if each.pass_name == "retrain"]
        for segment in made.segments
        for cell in segment.cells
    }
    assert not said["dense"]
    assert not said["int8"]
    (record,) = said["eighth"]
    assert "combinations on the validation split, refitted → trained: mean" in record.detail
    assert all(each.validation_metric.value > 0.9 for each in made.combinations)
    x, y = lights(50, 6)
    with adaspring.load(tmp_path / "net.lib") as opened:
        for each in made.combinations:
            net = opened.open("/".join(each.cells))
            found = np.concatenate([net(sample[None]) for sample in x])
            assert (found.argmax(1) == y).mean() > 0.9


def test_an_app_adapts_to_combinations(library):
    net = library.open()
    slowest = max(v.cost.latency_p90_ms.value for v in library.manifest.variants)
    for budget in (0.0, slowest, 1000.0):
        switch = net.adapt(adaspring.Context(latency_budget_ms=budget, battery_ratio=0.1))
        assert switch.to_variant == net.variant
        x, _ = lights(1, 3)
        assert net(x).shape == (1, 2)


def test_a_cut_that_costs_too_much_is_not_made_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(affordable, "uncut_ratio", lambda *_: 1.2)
    progress = Notes()
    manifest = compiled(tmp_path, progress, segments=3)
    assert manifest.composition is None
    assert any("1.200 of the time of the whole" in note for note in progress.notes)
    assert any("stays whole" in note for note in progress.notes)


def test_where_so_many_pieces_cost_too_much_once_tuned_there_are_fewer(tmp_path, monkeypatch):
    def dear(count, uncut_ratio):
        if count > 2:
            raise on_board.CutTooDear(f"{count} pieces, tuned, take 1.200")

    monkeypatch.setattr(on_board, "check_cut", dear)
    progress = Notes()
    with any_cut_allowed():
        manifest = compiled(tmp_path, progress, segments=4)
    (note,) = (note for note in progress.notes if note.endswith(": fewer"))
    assert "3 pieces, tuned, take 1.200" in note
    assert len(manifest.composition.segments) == 2
    x, y = lights(50, 4)
    with adaspring.load(tmp_path / "net.lib") as opened:
        net = opened.open("int8/pruned-half")
        assert (np.concatenate([net(sample[None]) for sample in x]).argmax(1) == y).mean() > 0.9


def test_where_even_two_pieces_cost_too_much_once_tuned_the_network_stays_whole(
    tmp_path, monkeypatch
):
    progress = Notes()
    with any_cut_allowed():
        monkeypatch.setattr(on_board, "MOST_UNCUT_RATIO", 0.01)
        manifest = compiled(tmp_path, progress, segments=2)
    assert manifest.composition is None
    assert any("2 pieces, tuned, take" in note for note in progress.notes)
    assert any("stays whole" in note for note in progress.notes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segments": 0}, "--segments is 0; give 1 or more"),
        ({"segments": -3}, "--segments is -3"),
        ({"segments": 4}, "--segments needs --data too"),
        (
            {"segments": 4, "data": "x.npz", "shapes": [{"x": (1,)}, {"x": (2,)}]},
            "--segments and several --shape cannot be had together, since a cell has code",
        ),
    ],
)
def test_segments_that_cannot_be_had_are_refused_at_once(settings, message):
    with pytest.raises(UsageError, match=message):
        Request(model="net.onnx", **settings)
