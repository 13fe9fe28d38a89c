"""Combinations are offered at what they are predicted or were measured to cost."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.search import Search
from adaspring.library.evolve.spaces import spaces_of
from adaspring.library.writer import write_library

from ...support.pieces import LATENCY_MS, METRIC, every, parts_in_pieces


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_library(tmp_path_factory.mktemp("spaces") / "net.lib", parts_in_pieces())


def test_whole_variants_all_combinations_and_measured_ones_are_offered(manifest):
    whole, combined, measured = spaces_of(manifest).each
    assert whole.segments[0].names == ("dense",)
    assert combined.combinations_count == 9
    assert measured.segments[0].names == ("dense/dense", "int8/int8")


def test_a_combination_costs_what_its_cells_do_corrected(manifest):
    _, combined, _ = spaces_of(manifest).each
    search = Search(combined)
    for cells in every():
        found = search.found(cells, Goal())
        total = sum(LATENCY_MS[index][cell] for index, cell in enumerate(cells))
        lost = sum(METRIC[index][cell] for index, cell in enumerate(cells))
        assert found.latency_ms == pytest.approx(1.1 * total - 0.3)
        assert found.energy_mj == pytest.approx(10 * total)
        assert found.memory_bytes == pytest.approx(2 * 1000 + 500)
        # the dense combination is worth what the plainest variant is on the reported samples
        assert found.metric == pytest.approx(0.9 + lost)
        cold = search.found(cells, Goal(cold=True)).latency_ms
        assert cold == pytest.approx(found.latency_ms + 0.5)


def test_what_neighbours_save_in_levels_is_in_a_combinations_latency(manifest):
    made = manifest.composition
    saved = tuple(tuple(-0.25 if a == b == 2 else 0.0 for b in range(3)) for a in range(3))
    latency = msgspec.structs.replace(made.latency, crossings=(saved,))
    levels = msgspec.structs.replace(
        manifest, composition=msgspec.structs.replace(made, latency=latency)
    )
    one, two = (Search(spaces_of(each).each[1]) for each in (manifest, levels))
    for cells in every():
        less = 1.1 * 0.25 if cells == (2, 2) else 0.0
        found = [search.found(cells, Goal()).latency_ms for search in (one, two)]
        assert found[1] == pytest.approx(found[0] - less)


def test_what_may_lose_more_than_allowed_does_not_run(manifest):
    _, combined, _ = spaces_of(manifest).each
    found = Search(combined).least("latency", Goal())
    # 0.88 - 0.03 - 0.004 is below 0.85, and so is int8/half; int8/int8 is not
    assert combined.name(found.cells) == "int8/int8"


def test_without_a_prediction_only_measured_combinations_are_offered(tmp_path):
    made = parts_in_pieces()
    composition = replace(made.composition, metric=None)
    manifest = write_library(tmp_path / "net.lib", replace(made, composition=composition))
    _, measured = spaces_of(manifest).each
    assert set(measured.segments[0].names) == {"dense/dense", "int8/int8", "half/half"}
    assert np.isfinite(measured.segments[0].latency_ms).all()
