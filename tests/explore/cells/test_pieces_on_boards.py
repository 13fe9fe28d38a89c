"""compile --segments for boards that are not this machine: over RPC, emulated, and not at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

import adaspring
from adaspring import targets
from adaspring.backends.rpc.protocol import Address
from adaspring.backends.tuning.settings import Tuning
from adaspring.cli.shared.pieces_tables import summary
from adaspring.errors import BoardLost
from adaspring.explore.board.site import Site, find_site
from adaspring.explore.cells import affordable, compose, local, on_board, remote
from adaspring.explore.cells.measure_child import quantized
from adaspring.explore.measure import variants
from adaspring.explore.measure.remote import Asked
from adaspring.explore.plan import Plan
from adaspring.explore.plan import plan as make_plan
from adaspring.explore.progress import Silent
from adaspring.explore.request import Bounds, Request
from adaspring.explore.variants import make_probe
from adaspring.frontend.data import Dataset
from adaspring.library.manifest import Manifest
from adaspring.library.pieces.composition import Composition, Levels

from ...support import rpc
from ...support.boards import AVX2, ZEN4
from ...support.lights import imported, lights, trained

pytestmark = pytest.mark.board

# The processor of this machine, under a name that makes it a board elsewhere.
BOX = msgspec.structs.replace(targets.host(), name="lab-box", rpc_key="lab-box")


class Told(Silent):
    """Keeps what a person is told, and does something at each step."""

    def __init__(self, act: Callable[[str, str], None] = lambda stage, detail: None) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []
        self._act = act

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, stage: str, done: int, total: int, detail: str) -> None:
        assert 0 <= done <= total
        if stage not in self.stages:
            self.stages.append(stage)
        self._act(stage, detail)


def compiled(folder: Path, told: Told | None = None, **settings) -> Manifest:
    x, y = lights(400, 1)
    asked = {"boards": (BOX,), "recipes": ("int8",), "segments": 2}
    result = adaspring.compile(
        imported(),
        folder / "net.lib",
        progress=told,
        data=Dataset(inputs=(x,), targets=y),
        bounds=Bounds(max_drop=0.05, front_only=False),
        tuning=Tuning(trials=0),
        logs=folder / "logs",
        check_import=False,
        **(asked | settings),
    )
    return result.boards[0].manifest


@pytest.fixture(scope="module")
def where() -> Iterator[str]:
    with rpc.tracker() as address:
        yield address


@pytest.fixture(autouse=True)
def briefly_and_whatever_cutting_costs(monkeypatch) -> None:
    """A cut of so small a network may seem to cost more than it does."""
    monkeypatch.setattr(affordable, "MOST_UNCUT_RATIO", inf)
    monkeypatch.setattr(on_board, "MOST_UNCUT_RATIO", inf)
    monkeypatch.setattr(remote, "SECONDS", 0.2)
    monkeypatch.setattr(local, "SECONDS", 0.2)
    monkeypatch.setattr(variants, "Asked", partial(Asked, seconds=0.1))


def names_of(made: Composition) -> list[list[str]]:
    return [[cell.name for cell in segment.cells] for segment in made.segments]


def check_answers(folder: Path, made: Composition) -> None:
    """An app on a machine like the board opens the library: every combination is right."""
    x, _ = lights(4, 2)
    with torch.inference_mode():
        right = trained()(torch.from_numpy(x)).numpy()
    with adaspring.load(folder / "net.lib") as library:
        for each in made.combinations:
            net = library.open(each.name)
            found = np.concatenate([net(sample[None]) for sample in x])
            tolerance = 1e-4 if set(each.cells) == {"dense"} else 0.3
            assert np.abs(found - right).max() <= tolerance * np.abs(right).max(), each.name


def test_cells_and_combinations_are_run_and_timed_on_the_board(where, tmp_path):
    told = Told()
    with rpc.board(where, "lab-box") as served:
        manifest = compiled(tmp_path, told, tracker=Address.parse(where))
    made = manifest.composition
    assert made is not None
    first, second = names_of(made)
    assert [each.name for each in made.combinations] == [f"{a}/{b}" for a in first for b in second]
    clock = f"over RPC by the clock of the board at {served.address}"
    for each in made.combinations:
        metric, latency = each.validation_metric, each.latency_p90_ms
        assert metric.origin == latency.origin == "measured"
        assert metric.how.endswith(f"samples, run on lab-box, over RPC at {where}")
        assert latency.how.endswith(f"{clock}, combinations in turn")
        assert 0.5 < metric.value <= 1
    cells = [cell for segment in made.segments for cell in segment.cells]
    for each in (*cells, *(form for cell in cells for form in cell.forms)):
        assert each.cost.latency_p50_ms.how.endswith(f"{clock}, this piece alone")
    assert {cell.agreement.ran for cell in cells} == {"combinations that have it, on their board"}
    assert all(c.agreement.max_error_ratio <= c.agreement.tolerance_ratio for c in cells)
    assert made.uncut_ratio > 0
    assert made.latency.scale > 0
    dense = manifest.variants[0].cost
    assert clock in dense.cold_latency_p90_ms.how
    assert "measure pieces on lab-box" in told.stages
    check_answers(tmp_path, made)


def test_an_emulated_board_killed_in_between_runs_combinations_again_and_times_none(
    where, tmp_path, caplog
):
    options = (where, "lab-box-emulated", 0, "--emulated", "some-cpu")
    board, again = rpc.ready(rpc.start_board(*options)), []

    def kill_and_start_again(stage: str, detail: str) -> None:
        if stage == "measure pieces on lab-box" and detail.startswith("all comb") and not again:
            board.process.kill()
            board.process.wait()
            again.append(rpc.start_board(*options))

    told = Told(kill_and_start_again)
    try:
        manifest = compiled(tmp_path, told, tracker=Address.parse(where))
    finally:
        for process in (board.process, *again):
            rpc.stop(process)
    assert f"the board at {board.address} is gone; its pieces are run again" in caplog.text
    made = manifest.composition
    assert made is not None
    assert "cut the network" not in told.stages
    assert len(made.combinations) == len(names_of(made)[0]) * len(names_of(made)[1])
    for each in made.combinations:
        assert each.validation_metric.origin == "measured"
        assert "run on emulated lab-box" in each.validation_metric.how
        assert each.latency_p50_ms is each.latency_p90_ms is None
    check_nothing_timed(made)
    assert summary(made) == "4 combinations, 4 measured; no times are known, nor what cutting costs"


def test_for_a_board_not_at_hand_combinations_are_judged_in_the_reference(tmp_path):
    told = Told()
    manifest = compiled(tmp_path, told)
    made = manifest.composition
    assert made is not None
    assert "check the pieces' lowering for lab-box here" in told.stages
    assert len(made.combinations) == len(names_of(made)[0]) * len(names_of(made)[1])
    for each in made.combinations:
        assert each.validation_metric.origin == "modelled"
        assert each.validation_metric.how.endswith("reference executor; not run on lab-box")
        assert 0.5 < each.validation_metric.value <= 1
        assert each.latency_p50_ms is each.latency_p90_ms is None
    check_nothing_timed(made)
    assert summary(made).startswith("4 combinations, 4 judged in the reference; no times are known")
    cells = [cell for segment in made.segments for cell in segment.cells]
    assert all("unscheduled" in cell.agreement.ran for cell in cells)
    assert all(0 < cell.agreement.max_error_ratio <= 5e-2 for cell in cells)
    check_answers(tmp_path, made)
    check_adapts(tmp_path)


def check_nothing_timed(made: Composition) -> None:
    assert made.latency is made.uncut_ratio is None
    for segment in made.segments:
        for cell in segment.cells:
            for each in (cell, *cell.forms):
                assert each.cost.latency_p50_ms is None
                assert each.cost.size_bytes.value > 0
                assert each.cost.peak_memory_bytes.origin == "modelled"


def check_adapts(folder: Path) -> None:
    """An app chooses by what is known: without latencies by metric, energy and memory."""
    x, _ = lights(1, 3)
    with adaspring.load(folder / "net.lib") as library:
        net = library.open()
        for context in ({"battery_ratio": 0.1}, {"latency_budget_ms": 1.0}, {}):
            switch = net.adapt(adaspring.Context(**context))
            assert switch.to_variant == net.variant
            assert net(x).shape == (1, 2)
        assert net.costs()


def test_a_cell_whose_lowering_is_wrong_leaves_the_network_whole(tmp_path, monkeypatch):
    right = on_board.build_unscheduled

    def spoiled(prepared, board, code):
        if code.stem == "1.int8":
            weights = {name: np.flip(value).copy() for name, value in prepared.weights.items()}
            prepared = replace(prepared, weights=weights)
        return right(prepared, board, code)

    monkeypatch.setattr(on_board, "build_unscheduled", spoiled)
    told = Told()
    manifest = compiled(tmp_path, told)
    assert manifest.composition is None
    assert [v.name for v in manifest.variants] == ["dense", "int8"]
    assert any("whole on lab-box: dense/int8 differs from the reference" in n for n in told.notes)


def site(where: str, tmp_path: Path) -> Site:
    return find_site(BOX, tmp_path, Address.parse(where))


def test_a_cut_that_costs_too_much_on_the_board_is_not_made(where, tmp_path, monkeypatch):
    monkeypatch.setattr(affordable, "MOST_UNCUT_RATIO", 0.01)
    told, sample = Told(), [lights(1, 0)[0]]
    with rpc.board(where, "lab-box"):
        there = site(where, tmp_path)
        pieces = affordable.divide_affordably(imported(), 2, there, sample, told)
    assert len(pieces) == 1
    (note,) = told.notes
    assert note.startswith("2 pieces take ")
    assert note.endswith(" of the time of the whole: fewer")


def plan_for(*boards: targets.Board, **changes) -> Plan:
    x, y = lights(60, 1)
    request = Request(
        model=imported(), data=Dataset(inputs=(x,), targets=y), boards=boards, segments=2, **changes
    )
    return make_plan(request)


def test_a_board_lost_while_the_cut_is_measured_does_not_stop_the_others(
    where, tmp_path, monkeypatch
):
    def lose(*_):
        raise BoardLost("the board is gone")

    monkeypatch.setattr(compose, "divide_affordably", lose)
    told = Told()
    with rpc.board(where, "lab-box"):
        plan = plan_for(BOX, recipes=("int8",), output=tmp_path, tracker=Address.parse(where))
    found = compose.compose(plan, make_probe(plan.model, plan.splits, plan.metric), told)
    assert found is not None
    assert len(found.pieces.dense) == 2
    assert "what cutting costs was not measured on lab-box: the board is gone" in told.notes


def test_cells_are_of_recipes_that_suit_every_board(tmp_path):
    plan = plan_for(ZEN4, AVX2, recipes=("bf16", "int8"), output=tmp_path)
    assert "bf16" in [each.recipe.name for each in plan.recipes if each.skipped is None]
    found = compose.compose(plan, make_probe(plan.model, plan.splits, plan.metric), Silent())
    assert found is not None
    assert {kind for kinds in found.pieces.kinds for kind in kinds} == {"dense", "int8"}


def test_levels_are_those_that_a_quantized_cell_would_read():
    levels = Levels(scale=0.5, zero_point=3, dtype="uint8")
    found = quantized(np.array([-9.0, -1.5, 0.0, 0.26, 1.0, 999.0], np.float32), levels)
    np.testing.assert_array_equal(found, np.array([0, 0, 3, 4, 5, 255], np.uint8))
