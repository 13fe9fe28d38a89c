"""What variants share, what a switch and `drop_unused` give back; no call suffers by it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import adaspring
from adaspring.errors import UsageError
from adaspring.library.executable import Executable, Part
from adaspring.library.native import arena
from adaspring.library.net import Net
from adaspring.library.tensors import to_tensor

from ..support.wide_library import (
    WIDTHS,
    answers,
    code_loaded,
    sample,
    weights_kib,
    write_wide_library,
)

WIDE_KIB = 2 * 96 * 96 * 9 * 4 // 1024  # the two convolutions that make up most of it


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_wide_library(tmp_path_factory.mktemp("memory") / "wide.lib")


@pytest.fixture
def library(folder):
    """Each test begins with nothing loaded, so that what it sees is its own."""
    with adaspring.load(folder) as opened:
        yield opened


def assert_right(net, x=None) -> None:
    x = sample() if x is None else x
    want = answers(x)[net.variant]
    np.testing.assert_allclose(net(x), want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_all_variants_have_their_activations_in_an_arena_as_large_as_the_largests(library):
    arena.clear()
    net = library.open("wide")
    assert_right(net)
    alone_bytes = arena.size_bytes()
    assert alone_bytes >= 2 * 96 * 24 * 24 * 4
    for name in (*WIDTHS, *reversed(WIDTHS)):
        net.use(name)
        assert_right(net)
        assert arena.size_bytes() == alone_bytes
    net.close()
    assert arena.size_bytes() == 0


def test_a_larger_variant_takes_the_place_of_a_smaller_ones_arena(library):
    arena.clear()
    sizes = []
    net = library.open("narrow")
    for name in ("narrow", "half", "wide"):
        net.use(name)
        assert_right(net)
        sizes.append(arena.size_bytes())
    fresh = library.open("wide")
    arena.clear()
    assert_right(fresh)
    assert sizes[0] < sizes[1] < sizes[2] == arena.size_bytes()


def test_outputs_that_an_app_keeps_are_not_overwritten_by_later_calls(library):
    net = library.open()
    inputs = [sample(seed) for seed in range(5)]
    kept = [(x, name, _called(net, name, x)) for x in inputs for name in WIDTHS]
    for x, name, output in kept:
        np.testing.assert_allclose(output, answers(x)[name], rtol=0, atol=1e-4)


def _called(net, name, x) -> np.ndarray:
    net.use(name)
    return net(x)


def test_calls_of_several_nets_at_a_time_have_an_arena_each(library):
    """10,000 calls from 4 threads, each with its own input, while two of them switch and drop."""
    nets = [library.open(name) for name in WIDTHS]
    nets.append(nets[0])
    wrong: list[str] = []

    references = [list(answers(sample(seed)).values()) for seed in range(4)]

    def call(seed: int) -> None:
        x, net, wanted = sample(seed), nets[seed], references[seed]
        for _ in range(2500):
            y = net(x)
            if not any(np.allclose(y, want, rtol=0, atol=1e-4) for want in wanted):
                wrong.append(f"call of {seed}")

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    turn = 0
    while any(thread.is_alive() for thread in threads):
        nets[turn % 2].use(list(WIDTHS)[turn % 3])
        if turn % 10 == 0:
            nets[turn % 2].drop_unused()
        turn += 1
        time.sleep(0.001)
    assert wrong == []
    assert turn > 20


def test_a_switch_gives_back_the_weights_that_the_new_variant_does_not_read(library, folder):
    net = library.open("wide")
    assert_right(net)
    assert weights_kib(folder)["Rss"] >= WIDE_KIB
    net.use("narrow")
    assert_right(net)
    assert weights_kib(folder)["Rss"] < WIDE_KIB / 2
    net.use("wide")
    assert_right(net)
    assert weights_kib(folder)["Rss"] >= WIDE_KIB
    net.close()
    assert weights_kib(folder)["Rss"] < WIDE_KIB / 2


def test_variants_that_are_dropped_leave_memory_and_come_back_right(library):
    net = library.open("wide")
    all_bytes = library.weights_bytes
    assert {"wide", "half", "narrow"} <= code_loaded()
    net.use("half")
    net.drop_unused()
    assert code_loaded() & set(WIDTHS) == {"half"}
    assert arena.size_bytes() == 0
    assert net.variant == "half"
    assert_right(net)
    for name in ("wide", "narrow", "half"):
        net.use(name)
        assert_right(net)
    assert {"wide", "half", "narrow"} <= code_loaded()
    assert library.weights_bytes == all_bytes


def test_dropping_counts_only_the_weights_of_what_is_left(library):
    net = library.open("narrow")
    before = library.weights_bytes
    net.drop_unused()
    assert 0 < library.weights_bytes < before / 10


def test_a_variant_that_another_net_has_loaded_stays_its_own(library):
    kept, dropping = library.open("wide"), library.open("narrow")
    dropping.drop_unused()
    assert_right(kept)
    assert code_loaded() >= set(WIDTHS)


class Loaded:
    """Variants that are there already, until they are dropped."""

    def __init__(self, *executables: Executable) -> None:
        self.by_name = {executable.name: executable for executable in executables}

    def __call__(self, name: str, shape: int) -> Executable:
        return self.by_name[name]

    def drop_all_but(self, kept: Executable) -> None:
        self.by_name = {kept.name: kept}


def test_a_call_that_is_under_way_ends_on_the_variant_that_is_dropped_meanwhile(library):
    """The call alone holds the variant's code while it waits, and runs it then."""
    started, go_on = threading.Event(), threading.Event()
    wide = [library.executable("wide")]

    def main(x, _weights):
        executable = wide.pop()
        started.set()
        go_on.wait(10)
        return executable.run([x])[0]

    slow = Executable("wide", [Part({"main": main}, [])], "cpu", 1)
    net = Net((library.manifest,), Loaded(slow, library.executable("narrow")), None, "wide")
    answered: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: answered.append(net(sample())))
    thread.start()
    assert started.wait(10)
    net.use("narrow")
    net.drop_unused()
    assert code_loaded() & set(WIDTHS) == {"wide", "narrow"}
    go_on.set()
    thread.join()
    np.testing.assert_allclose(answered[0], answers(sample())["wide"], rtol=0, atol=1e-4)
    assert code_loaded() & set(WIDTHS) == {"narrow"}
    assert_right(net)


def test_dropping_is_refused_where_what_is_dropped_could_not_be_loaded_again(folder):
    with adaspring.load(folder) as library:
        net = library.open("wide")
    with pytest.raises(UsageError, match=r"wide\.lib is closed, so .*; keep the library open"):
        net.drop_unused()
    net.use("narrow")
    assert_right(net)
    net.close()
    with pytest.raises(UsageError, match="this net is closed"):
        net.drop_unused()


FORKED = """
import os, sys
import numpy as np
import adaspring

net = adaspring.load(sys.argv[1]).open()
x = np.ones(net.inputs[0].shape, np.float32)
right = {}
for name in net.variants:
    net.use(name)
    right[name] = net(x)
child = os.fork()
for name in net.variants:
    net.use(name)
    np.testing.assert_array_equal(net(x), right[name])
    net.drop_unused()
    np.testing.assert_array_equal(net(x), right[name])
if child == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_that_is_forked_calls_and_drops_on_with_what_it_inherited(folder):
    assert run_app(FORKED, folder) == "7\n"


STEADY = """
import re, sys
from pathlib import Path
import numpy as np
import adaspring

def rss_kib():  # a share of pages grows when other processes end
    return int(re.search(r"Rss: +([0-9]+)", Path("/proc/self/smaps_rollup").read_text())[1])

net = adaspring.load(sys.argv[1]).open()
x = np.ones(net.inputs[0].shape, np.float32)

def switch(times):
    for turn in range(times):
        net.use(net.variants[turn % len(net.variants)])
        if turn % 10 == 0:
            net(x)
        if turn % 100 == 0:
            net.drop_unused()

switch(5000)  # live costs keep so many calls, and no more
before = rss_kib()
switch(5000)
print(rss_kib() - before)
"""


def run_app(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_memory_is_steady_over_5000_switches(folder):
    assert int(run_app(STEADY, folder)) < 300


SHARED = """
import sys
import numpy as np
import adaspring

net = adaspring.load(sys.argv[1]).open()
net(np.ones(net.inputs[0].shape, np.float32))
print("called", flush=True)
sys.stdin.read()
"""


def test_two_processes_have_the_pages_of_the_weights_between_them(library, folder):
    net = library.open("wide")
    assert_right(net)
    alone = weights_kib(folder)
    command = [sys.executable, "-c", SHARED, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"called\n"
        shared = weights_kib(folder)
        other.stdin.close()
    assert alone["Private_Dirty"] == shared["Private_Dirty"] == 0
    assert shared["Pss"] < 0.6 * alone["Pss"]
    assert shared["Rss"] == alone["Rss"]


LAST = """
import sys, threading
import numpy as np
import adaspring

net = adaspring.load(sys.argv[1]).open()
x = np.ones(net.inputs[0].shape, np.float32)

def call():
    while True:
        net(x)

for _ in range(2):
    threading.Thread(target=call, daemon=True).start()
for turn in range(50):
    net.use(net.variants[turn % 3])
    net.drop_unused()
"""


def test_an_app_that_drops_while_daemon_threads_call_ends_in_order(folder):
    for _ in range(3):
        assert run_app(LAST, folder) == ""


def test_the_arena_is_no_ones_who_gives_up_a_tensor_late(library):
    """A tensor of `run_dlpack` outlives its net; its memory stays until it is given up."""
    net = library.open("wide")
    tensor = net.run_dlpack(to_tensor(sample()))
    net.close()
    np.testing.assert_allclose(np.from_dlpack(tensor), answers(sample())["wide"], rtol=0, atol=1e-4)


def test_an_executable_without_mapped_weights_has_nothing_to_give_back():
    Executable("dense", [Part({"main": None}, [])], "cpu", 1).give_back_weights(None)
