"""This machine's CUDA device: as the driver describes it, and refused where code is for another."""

from __future__ import annotations

import json

import pytest

from adaspring import targets
from adaspring.errors import BoardError
from adaspring.targets.cuda import capability

from ..support.cli import adaspring, refused
from ..support.opencl import run_python

HERE = """
import os
from pathlib import Path
from adaspring.tests.support.cuda_on_cpu import device
device.load_driver(Path(os.environ["FOLDER"]), int(os.environ["CAPABILITY"]))
"""
DESCRIBE = """
import msgspec
from adaspring import targets
board = targets.find("host-cuda")
assert targets.is_this_machine(board)
print(msgspec.json.encode(board).decode())
"""
CHECK = """
import json
from adaspring.errors import WrongBoard
from adaspring.library.devices import cuda
try:
    cuda.check_device(json.loads(os.environ["TARGET"]), "theirs")
except WrongBoard as error:
    print(error)
"""


def with_device(script: str, folder, number: int, **variables: str) -> str:
    """What a process prints that has a driver."""
    places = {"FOLDER": str(folder), "CAPABILITY": str(number)}
    done = run_python(HERE + script, **places, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_a_board_with_the_drivers_figures(tmp_path):
    board = json.loads(with_device(DESCRIBE, tmp_path, 89))
    assert board["device"] == "cuda"
    assert board["target"]["arch"] == "sm_89"
    assert board["target"]["max_shared_memory_per_block"] == 48 * 2**10
    assert board["target"]["thread_warp_size"] == 32
    assert board["memory_bytes"] == 2**30
    assert board["architecture"] == targets.host().architecture
    assert "driver" in board["sources"]["target"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"arch": "sm_90a"}, "theirs has code for sm_90, the GPU here (a processor) is sm_87"),
        ({"arch": "fast"}, "has code for sm_0"),
        ({"max_threads_per_block": 2048}, "2048 for max_threads_per_block, the GPU here"),
    ],
)
def test_code_that_it_cannot_run_is_refused_in_one_line(change, words, tmp_path):
    target = {**targets.find("jetson-orin").target, **change}
    said = with_device(CHECK, tmp_path, 87, TARGET=json.dumps(target)).strip()
    assert words in said
    assert bool(said) == bool(words)
    assert "\n" not in said


def test_where_there_is_none_the_command_says_what_is_missing():
    try:
        targets.find("host-cuda")
    except BoardError:
        refused(adaspring("targets", "host-cuda"), "no CUDA device is here")
    else:
        pytest.skip("a CUDA device is here")


def test_a_capability_is_read_from_any_form():
    assert [capability(arch) for arch in ("sm_87", "sm_90a", "sm_100f", "sm_x", "None")] == [
        87, 90, 100, 0, 0,
    ]  # fmt: skip
