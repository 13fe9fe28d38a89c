"""Test networks as libraries for a board with a device, run by an app in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adaspring.ir.model import Model
from adaspring.passes import Pass, Quantize, SixteenBit, run
from adaspring.reference.executor import evaluate
from adaspring.targets import Board

from .backends import library_of
from .networks import ALL
from .opencl import run_python
from .passes import data, known

FORMS: dict[str, tuple[Pass, ...]] = {
    "float32": (), "int8": (Quantize(),), "float16": (SixteenBit(dtype="float16"),)
}  # fmt: skip
NAMES = (
    *(f"{network.__name__}-float32" for network in ALL),
    *("SmallCnn-int8", "TinyEncoder-int8", "SmallCnn-float16", "TinyEncoder-float16"),
)
SIMULATED = tuple(name for name in NAMES if not name.endswith("float16"))
"""What Oclgrind can run: it has no float16."""
RATIOS = {"float32": 1e-5, "int8": 0.02, "float16": 1e-3}
"""How far outputs may be, of the largest. In int8 a sum on the edge of two levels may fall either
way, and passes on; so in float16, whose levels are finer."""
APP = """
import os
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


def compile_networks(board: Board, folder: Path) -> None:
    """A library, and a sample, for each network."""
    for name in NAMES:
        model = network(name)
        compile_network(name, model, board, folder, *(value[:1] for value in data(model).inputs))


def compile_network(
    name: str, model: Model, board: Board, folder: Path, *inputs: np.ndarray
) -> None:
    """A library and its inputs, for the app."""
    library_of(model, board, folder / f"{name}.lib")
    np.savez(folder / f"{name}.npz", *inputs)


def outputs(
    folder: Path, out: Path, names: Sequence[str] = NAMES, begin: str = "", **variables: str
) -> dict[str, list[np.ndarray]]:
    """What an app, which begins by a script, gets from each."""
    out.mkdir()
    places = {"FOLDER": str(folder), "OUT": str(out), "NAMES": " ".join(names)}
    ran = run_python(begin + APP, **places, **variables)
    assert ran.returncode == 0, ran.stderr
    found = {}
    for name in names:
        with np.load(out / f"{name}.npz") as stored:
            found[name] = [stored[key] for key in stored.files]
    return found


def check(found: dict[str, list[np.ndarray]]) -> None:
    """Compare with the reference executor."""
    for name in NAMES:
        model = network(name)
        wanted = list(evaluate(model, data(model).take(range(1))))
        assert apart(found[name], wanted) < RATIOS[name.partition("-")[2]], name


def apart(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest difference, of the largest value."""
    pairs = list(zip(found, wanted, strict=True))
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)
