"""compile --segments for boards that are not this machine: over RPC, emulated, and not at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
from adaspring.errors import BoardLost, BuildError
from adaspring.explore.cells import affordable, compose, local, on_board, remote
from adaspring.explore.cells.measure_child import quantized
from adaspring.explore.progress import Silent
from adaspring.explore.request import Bounds
from adaspring.frontend.data import Dataset
from adaspring.library.manifest import Manifest
from adaspring.library.pieces.composition import Composition, Levels

from ...support import rpc
from ...support.lights import imported, lights, trained

pytestmark = pytest.mark.board

# The processor of this machine, under a name that makes it a board elsewhere.
BOX = msgspec.structs.replace(targets.host(), name="lab-box", rpc_key="lab-box")


class Told(Silent):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, stage: str, done: int, total: int, detail: str) -> None:
        assert 0 <= done <= total
        if stage not in self.stages:
            self.stages.append(stage)


def compiled(folder: Path, told: Told | None = None, **settings) -> Manifest:
    x, y = lights(400, 1)
    asked = {"boards": (BOX,), "recipes": ("pruned-half", "int8"), "segments": 2}
    result = adaspring.compile(
        imported(),
        folder / "net.lib",
        progress=told,
        data=Dataset(inputs=(x,), targets=y),
        bounds=Bounds(max_drop=0.05, front_only=False),
        tuning=Tuning(trials=0),
        logs=folder / "logs",
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
    assert {cell.agreement.ran for cell in cells} == {
        "combinations that have it, on their board"
    }
    assert all(c.agreement.max_error_ratio <= c.agreement.tolerance_ratio for c in cells)
    assert made.uncut_ratio > 0
    assert made.latency.scale > 0
    dense = manifest.variants[0].cost
    assert clock in dense.cold_latency_p90_ms.how
    assert "measure pieces on lab-box" in told.stages
    check_answers(tmp_path, made)
