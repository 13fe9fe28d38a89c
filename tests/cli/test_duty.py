"""`adaspring bench --duty`: calls with pauses between them, and beside other work."""

from __future__ import annotations

import psutil
import pytest

from adaspring.cli.bench.duty import busy_neighbours

from ..support.cli import adaspring, answer, refused
from ..support.parallel_library import write_parallel_library


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return write_parallel_library(tmp_path_factory.mktemp("duty") / "parallel.lib")


@pytest.mark.slow
def test_every_period_is_timed_alone_and_beside_a_busy_process(library):
    shown = answer("bench", library, "--duty", "--seconds", 0.5)
    cells = shown["duty_cycles"]
    assert [(c["period_ms"], c["neighbours_count"]) for c in cells] == [
        (period_ms, count) for count in (0, 1) for period_ms in (0, 50, 1000)
    ]
    for cell in cells:
        assert cell["variant"] == "dense"
        assert cell["calls_count"] >= 1
        assert 0 < cell["p50_ms"] <= cell["p90_ms"]
        assert cell["processor_ms"] > 0


@pytest.mark.slow
def test_people_see_a_row_for_each(library):
    shown = adaspring("bench", library, "--duty", "--seconds", 0.1).stdout
    for text in ("without a pause", "every 50 ms", "every 1000 ms", "a busy process"):
        assert text in shown


def test_two_things_to_measure_at_once_are_refused(library):
    for other in ("--switch", "--profile"):
        refused(
            adaspring("bench", library, "--duty", other),
            f"{other} and --duty measure different things; give one of them",
            status=2,
        )


def test_neighbours_end_with_the_measurement():
    me = psutil.Process()
    before = set(me.children())
    with busy_neighbours(2):
        assert len(set(me.children()) - before) == 2
    assert set(me.children()) == before
