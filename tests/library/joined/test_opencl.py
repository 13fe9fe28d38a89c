"""A library for the processor and one for an OpenCL device, in one net."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import adaspring
from adaspring import targets
from adaspring.errors import UsageError

from ...support.backends import library_of
from ...support.libraries import forge
from ...support.networks import SmallCnn
from ...support.opencl import require_opencl
from ...support.passes import data, known

pytestmark = pytest.mark.slow
MODEL = known(SmallCnn)
BOARDS = ("host", "host-opencl")
CPU, GPU = (f"{board}:one" for board in BOARDS)
RECORDED_MS = {"host": 10.0, "host-opencl": 2.0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, ...]:
    require_opencl()
    folder = tmp_path_factory.mktemp("boards")
    boards = (targets.host(), targets.host_opencl())
    found = tuple(library_of(MODEL, board, folder / f"{board.name}.lib") for board in boards)
    for board, path in zip(boards, found, strict=True):
        figures = {"value": RECORDED_MS[board.name]}

        def change(raw: dict, figures: dict = figures) -> None:
            raw["variants"][0]["cost"]["latency_p90_ms"].update(figures)

        forge(path, change)
    return found


@pytest.fixture
def net(folders) -> Iterator[adaspring.Net]:
    with adaspring.load(folders) as libraries, libraries.open() as net:
        yield net


@pytest.fixture(scope="module")
def samples() -> tuple[np.ndarray, ...]:
    return tuple(value[:1] for value in data(MODEL).inputs)


@pytest.fixture(scope="module")
def answers(folders, samples) -> dict[str, np.ndarray]:
    """What each library's variant answers, the library opened alone."""
    found = {}
    for folder, name in zip(folders, (CPU, GPU), strict=True):
        with adaspring.load(folder) as library, library.open() as net:
            found[name] = net(*samples)
    return found


def test_each_board_answers_as_alone_and_a_deadline_moves_to_the_gpu(net, samples, answers):
    assert net.variants == (CPU, GPU)
    np.testing.assert_array_equal(net(*samples), answers[CPU])
    switch = net.adapt(adaspring.Context(latency_budget_ms=5))
    assert (switch.from_variant, switch.to_variant) == (CPU, GPU)
    np.testing.assert_array_equal(net(*samples), answers[GPU])
    net.use(CPU)
    np.testing.assert_array_equal(net(*samples), answers[CPU])
    np.testing.assert_allclose(answers[CPU], answers[GPU], rtol=1e-3, atol=1e-4)


def test_threads_call_while_another_moves_between_the_devices(net, samples, answers):
    wrong = list[str]()

    def work() -> None:
        for _ in range(50):
            found = net(*samples)
            if not any(np.array_equal(found, known) for known in answers.values()):
                wrong.append(str(found))

    for name in (CPU, GPU):  # on a busy machine the threads may all meet the same one
        net.use(name)
        net(*samples)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for name in (GPU, CPU):
            net.use(name)
            threads[0].join(1e-3)
        net.drop_unused()
    assert wrong == []
    counts = {cost.variant: cost.calls_count for cost in net.costs().variants}
    assert sum(counts.values()) == 152
    assert min(counts.values()) > 0


def test_tensors_without_a_copy_are_refused_where_devices_differ(net, samples):
    with pytest.raises(UsageError, match="computes on cpu and opencl, and run_dlpack copies noth"):
        net.run_dlpack(*samples)
