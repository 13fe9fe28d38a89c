"""An app puts networks together of a library's pieces; each computes what its cells do."""

import gc
import threading
import weakref

import numpy as np
import pytest

import adaspring
from adaspring.errors import UsageError
from adaspring.library.writer import write_library

from ...support.networks import SmallResNet
from ...support.passes import data, known
from ...support.pieces import NAMES, every, parts_in_pieces, right


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces") / "net.lib"
    write_library(path, parts_in_pieces())
    return path


@pytest.fixture(scope="module")
def x():
    return data(known(SmallResNet), 1, seed=3).inputs[0]


def named(cells):
    return "/".join(NAMES[cell] for cell in cells)


def assert_near(found, wanted):
    assert np.abs(found - wanted).max() <= 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize("cells", every(), ids=named)
def test_every_combination_computes_what_the_reference_does(folder, x, cells):
    with adaspring.load(folder).open(named(cells), preload=False) as net:
        assert net.variant == named(cells)
        found = net(x)
    tolerance = 1e-4 if 2 not in cells else 5e-2
    wanted = right(cells, x)
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def test_a_net_switches_between_whole_variants_and_combinations(folder, x):
    with adaspring.load(folder).open() as net:
        whole = net(x)
        for cells in every():
            net.use(named(cells))
            assert_near(net(x), right(cells, x))
        net.use("dense")
        np.testing.assert_array_equal(net(x), whole)


def test_dense_pieces_compute_exactly_what_the_whole_network_does(folder, x):
    library = adaspring.load(folder)
    np.testing.assert_allclose(
        library.open("dense/dense")(x), library.open("dense")(x), rtol=1e-5, atol=1e-6
    )


def test_weights_of_cells_are_in_memory_once(folder):
    library = adaspring.load(folder)
    library.open("dense")
    before = library.weights_bytes
    library.open("dense/dense")
    assert library.weights_bytes == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dense/dense/dense", "names 3 cells, this library has 2 segments; .*'dense/dense'"),
        ("dense/int4", "segment 1 has no cell 'int4'; it has dense, half, int8"),
        ("/", "segment 0 has no cell ''"),
        ("../dense", "segment 0 has no cell '..'"),
        ("int8", "no variant 'int8'"),
    ],
)
def test_a_combination_that_there_is_not_is_refused_by_name(folder, name, message):
    library = adaspring.load(folder)
    with pytest.raises(UsageError, match=message):
        library.open(name)
    with library.open() as net, pytest.raises(UsageError, match=message):
        net.use(name)


def test_calls_from_threads_are_right_while_another_switches(folder, x):
    net = adaspring.load(folder).open("dense/dense")
    wanted = [right(cells, x) for cells in every()]
    wrong, done = [], threading.Event()

    def call():
        while not done.is_set():
            found = net(x)
            if not any(np.abs(found - each).max() <= 0.05 * np.abs(each).max() for each in wanted):
                wrong.append(found)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(300):
        net.use(named(every()[turn % len(wanted)]))
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_context_chooses_among_whole_variants_and_combinations(folder):
    with adaspring.load(folder).open() as net:
        switch = net.adapt(adaspring.Context(latency_budget_ms=2.0))
        assert switch.to_variant == "int8/int8"
        assert not switch.relaxed
        assert net.adapt(adaspring.Context()).to_variant == "dense"


def test_the_last_few_combinations_are_kept_as_they_are(folder):
    pieces = adaspring.load(folder).pieces()
    first = pieces.executable("dense/dense")
    pieces.executable("half/half")
    assert pieces.executable("dense/dense") is first
    gone = weakref.ref(pieces.executable("half/int8"))
    for cells in every():
        if named(cells) != "half/int8":
            pieces.executable(named(cells))
    gc.collect()
    assert gone() is None


def test_of_what_is_dropped_no_combination_is_kept(folder, x):
    library = adaspring.load(folder)
    pieces = library.pieces()
    kept, gone = pieces.executable("half/half"), weakref.ref(pieces.executable("dense/dense"))
    pieces.drop_all_but("half/half")
    gc.collect()
    assert gone() is None
    assert pieces.executable("half/half") is kept
    both = library.weights_bytes
    library.forget_weights()
    assert library.weights_bytes < both
    assert_near(pieces.executable("dense/dense").run_arrays([x])[0], right((0, 0), x))
