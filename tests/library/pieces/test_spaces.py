"""Combinations are offered at what they are predicted or were measured to cost."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from adaspring.library.context import Context
from adaspring.library.evolve.decomposed import Decomposed
from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.runtime3c import Runtime3C
from adaspring.library.evolve.search import Search
from adaspring.library.evolve.spaces import spaces_of
from adaspring.library.evolve.table import Table
from adaspring.library.policies import Deadline
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


def unsure(manifest, **changes):
    """The library with another prediction of the metric."""
    made = manifest.composition
    metric = msgspec.structs.replace(made.metric, **changes)
    composition = msgspec.structs.replace(made, metric=metric)
    return msgspec.structs.replace(manifest, composition=composition)


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ({"confidence": 0.95}, True),
        ({"confidence": 1.0, "held_out_count": 30}, True),
        ({"confidence": 0.949}, False),
        ({"confidence": 0.0}, False),
        ({"confidence": None, "held_out_count": 59}, True),
        ({"confidence": None, "held_out_count": 58}, False),
    ],
)
def test_a_bound_that_is_not_sure_to_95_percent_holds_no_floor(manifest, said, held):
    # int8/dense, at 0.895 - 0.004, is predicted alone; int8/int8 was measured at 0.883
    spaces = spaces_of(unsure(manifest, least=None, **said))
    search = Search(spaces.each[1])
    assert (search.best(Goal(metric_floor=0.885)) is not None) == held
    assert search.best(Goal()) is not None
    decide = Deadline().prepare(spaces)
    in_time = Context(latency_budget_ms=4.0, metric_floor=0.885)
    assert (decide(in_time).relaxed == ()) == held
    measured = decide(Context(latency_budget_ms=4.0, metric_floor=0.88))
    assert measured.relaxed == ()
    assert held or measured.variant == "int8/int8"


def test_what_may_run_only_by_an_unsure_bound_does_not_run(manifest):
    _, combined, _ = spaces_of(unsure(manifest, confidence=0.9)).each
    assert Search(combined).best(Goal()) is None
    assert Search(combined).least("latency", Goal()) is None


def test_by_how_much_an_unsure_prediction_misses_a_floor_is_not_known(manifest):
    composition = unsure(manifest, confidence=0.5, least=None).composition
    alone = msgspec.structs.replace(composition, combinations=())
    spaces = spaces_of(msgspec.structs.replace(manifest, composition=alone))
    decision = Deadline().prepare(spaces)(Context(latency_budget_ms=4.0, metric_floor=0.86))
    (miss,) = decision.missed
    assert (miss.constraint, miss.amount) == ("metric", None)
    assert "unknown amount" in decision.reason


@pytest.mark.parametrize("method", [Table, Decomposed, Runtime3C])
def test_no_search_lets_an_infinite_bound_hold_a_floor(manifest, method):
    _, combined, _ = spaces_of(unsure(manifest, confidence=0.5, least=None)).each
    search = Search(combined, method)
    assert search.best(Goal(metric_floor=-1e9)) is None
    assert search.best(Goal()) is not None
