"""Which processors a board's threads compute on: declared, carried along, read back from Linux."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import adaspring
from adaspring import targets
from adaspring.errors import BoardError, WrongBoard
from adaspring.library import writer
from adaspring.library.manifest import board_record
from adaspring.library.reader import read_manifest

from ..support.boards import BOARD_TOML
from ..support.libraries import parts

CPUS = sorted(os.sched_getaffinity(0))
needs_two = pytest.mark.skipif(len(CPUS) < 2, reason="one processor leaves no choice")

# In a fresh process: a pool takes its size when first used. A pool's threads are those that came.
THREADS = """
import json, os, sys
from adaspring.library import runtime
from adaspring.targets import Affinity

cpu = type("B", (), {"device": "cpu"})
runtime.load_runtime(None, type("M", (), {"runtime": None, "tvm_version": "0.27.0", "board": cpu}))
before, me, found = set(os.listdir("/proc/self/task")), str(os.getpid()), []
for count, cpus, pinned in json.loads(sys.argv[1]):
    runtime.use_threads(count, Affinity(cpus=tuple(cpus), pinned=pinned))
    allowed = {}
    for task in sorted(os.listdir("/proc/self/task"), key=int):
        if task == me or task not in before:
            lines = open(f"/proc/self/task/{task}/status").read().splitlines()
            text = next(l.split()[1] for l in lines if l.startswith("Cpus_allowed_list:"))
            spans = [list(map(int, span.split("-"))) for span in text.split(",")]
            allowed[task] = [cpu for span in spans for cpu in range(span[0], span[-1] + 1)]
    found.append([allowed.pop(me), *allowed.values()])
print(json.dumps(found))
"""


def threads_of(*settings: tuple[int, list[int], bool]) -> list[list[list[int]]]:
    """After each setting: the processors of the calling thread, then of each of the pool's own."""
    command = [sys.executable, "-c", THREADS, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def with_affinity(**affinity):
    board = msgspec.structs.replace(targets.null(), affinity=targets.Affinity(**affinity))
    return replace(parts(), board=board_record(board))


@needs_two
def test_by_default_threads_roam_over_all_processors_that_are_equally_fast():
    assert threads_of((2, [], False)) == [[CPUS] * len(CPUS)]


@needs_two
def test_threads_roam_over_the_named_processors_alone():
    first, second, *_ = CPUS
    assert threads_of((1, [second], False)) == [[[second]]]
    assert threads_of((2, [second, first], False)) == [[[first, second]] * 2]


@needs_two
def test_pinned_threads_stay_on_one_processor_each_in_the_order_given():
    first, second, *_ = CPUS
    assert threads_of((2, [second, first], True)) == [[[second], [first]]]


@needs_two
def test_a_pool_that_began_otherwise_is_pinned_and_released_again():
    first, second, *_ = CPUS
    roaming, pinned, one, again = threads_of(
        (2, [], False), (2, [first, second], True), (1, [second], True), (2, [], False)
    )
    assert roaming == again == [CPUS] * len(CPUS)
    assert pinned[:2] == [[first], [second]]
    assert one == [[second]] * len(CPUS)


def test_a_library_carries_its_boards_affinity_and_runs_by_it(tmp_path):
    folder = tmp_path / "tiny.lib"
    writer.write_library(folder, with_affinity(cpus=(CPUS[-1],), pinned=True))
    assert read_manifest(folder).board.affinity == targets.Affinity(cpus=(CPUS[-1],), pinned=True)
    code = f"""
import os
import numpy as np
import adaspring
net = adaspring.load({str(folder)!r}).open()
x = np.ones((2, 48), np.float32)
print(np.isfinite(net(x, x)[0]).all(), os.sched_getaffinity(0))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["True", f"{{{CPUS[-1]}}}\n"]


def test_a_processor_that_this_machine_lacks_is_refused_by_number(tmp_path):
    writer.write_library(tmp_path / "lib", with_affinity(cpus=(0, 1000)))
    with pytest.raises(WrongBoard, match=r"null run on processors 0, 1000, this process may use 0"):
        adaspring.load(tmp_path / "lib")


AFFINITY_TOML = BOARD_TOML.replace(
    "[sources]", '[affinity]\ncpus = [4, 5]\npinned = true\n\n[sources]\naffinity = "device tree"'
)


def board_file(folder: Path, text: str) -> Path:
    path = folder / "board.toml"
    path.write_text(text)
    return path


def test_a_toml_board_says_where_its_threads_run(tmp_path):
    board = targets.find(board_file(tmp_path, AFFINITY_TOML))
    assert board.affinity == targets.Affinity(cpus=(4, 5), pinned=True)
    assert targets.find(board_file(tmp_path, BOARD_TOML)).affinity == targets.Affinity()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[4, 5]", "[4, 4]", "names a processor twice"),
        ("[4, 5]", "[4]", "has 1 processors for 2 threads; name as many as core_count"),
        ("[4, 5]", "[4, -1]", r">= 0.*affinity\.cpus"),
        ("[4, 5]", "[4, 1024]", r"<= 1023.*affinity\.cpus"),
        ("[4, 5]", '["big"]', r"Expected `int`.*affinity\.cpus"),
        ("pinned = true", "pinned = 1", r"Expected `bool`.*affinity\.pinned"),
        ("pinned = true", "bound = true", "unknown field `bound`"),
        ('affinity = "device tree"', "", "no entry for 'affinity'"),
    ],
)
def test_a_wrong_affinity_is_refused_with_its_file_and_key(tmp_path, old, new, message):
    path = board_file(tmp_path, AFFINITY_TOML.replace(old, new, 1))
    with pytest.raises(BoardError, match=message) as caught:
        targets.load_board(path)
    assert str(path) in str(caught.value)
