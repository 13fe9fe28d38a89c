"""Test networks on an OpenCL device: right by PoCL, and clean under Oclgrind, kernel by kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaspring.ir.model import Model
from adaspring.passes import run
from adaspring.passes.quantize.sixteen_bit import SixteenBit
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import evaluate
from adaspring.targets import host_opencl

from ..support.backends import library_of
from ..support.networks import ALL
from ..support.opencl import oclgrind, require_opencl, run_python
from ..support.passes import data, known

pytestmark = pytest.mark.slow
NAMES = (
    *(f"{network.__name__}-float32" for network in ALL),
    *("SmallCnn-int8", "TinyEncoder-int8", "SmallCnn-float16", "TinyEncoder-float16"),
)
FORMS = {"float32": (), "int8": (Quantize(),), "float16": (SixteenBit(dtype="float16"),)}
RATIOS = {"float32": 1e-5, "int8": 0.02, "float16": 1e-3}
"""How far outputs may be, of the largest. In int8 a sum on the edge of two levels may fall either
way, and passes on; so in float16, where levels are finer."""
APP = """
import os, sys
import numpy as np
import adaspring
for name in os.environ["NAMES"].split():
    with np.load(f"{os.environ['FOLDER']}/{name}.npz") as stored:
        inputs = [stored[key] for key in stored.files]
    with adaspring.load(f"{os.environ['FOLDER']}/{name}.lib") as library:
        outputs = library.open()(*inputs)
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    np.savez(f"{os.environ['OUT']}/{name}.npz", *outputs)
"""


def network(name: str) -> Model:
    kind, _, form = name.partition("-")
    model = known(next(each for each in ALL if each.__name__ == kind))
    return run(model, FORMS[form], data(model)).model if FORMS[form] else model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A library, and a sample, for each network."""
    require_opencl()
    folder, board = tmp_path_factory.mktemp("networks"), host_opencl()
    for name in NAMES:
        model = network(name)
        library_of(model, board, folder / f"{name}.lib")
        np.savez(folder / f"{name}.npz", *(value[:1] for value in data(model).inputs))
    return folder


def outputs(folder: Path, out: Path, **variables: str) -> dict[str, list[np.ndarray]]:
    """What an app in a process of its own gets from each."""
    out.mkdir()
    ran = run_python(APP, FOLDER=str(folder), OUT=str(out), NAMES=" ".join(NAMES), **variables)
    assert ran.returncode == 0, ran.stderr
    found = {}
    for name in NAMES:
        with np.load(out / f"{name}.npz") as stored:
            found[name] = [stored[key] for key in stored.files]
    return found


def apart(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest difference, of the largest value."""
    pairs = list(zip(found, wanted, strict=True))
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)


def test_they_agree_with_the_reference(folder, tmp_path):
    found = outputs(folder, tmp_path / "out")
    for name in NAMES:
        model = network(name)
        wanted = list(evaluate(model, data(model).take(range(1))))
        assert apart(found[name], wanted) < RATIOS[name.partition("-")[2]], name


def test_oclgrind_finds_nothing_in_the_first_and_last_group_of_their_kernels(folder, tmp_path):
    simulated = oclgrind(tmp_path)
    outputs(folder, tmp_path / "simulated", OCLGRIND_QUICK="1", **simulated.variables)
    assert simulated.log.read_text() == ""
