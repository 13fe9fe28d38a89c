"""A variant's peak memory: modelled from the plan and the kernels' scratch, seen in the process."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from tvm import IRModule
from tvm.script import tirx as T

from adaspring import targets
from adaspring.backends import build
from adaspring.backends.report.scratch import scratch_bytes
from adaspring.backends.tuning.settings import Tuning
from adaspring.explore.compile import compile_libraries
from adaspring.explore.measure.local import measure
from adaspring.explore.plan import plan
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.explore.request import Bounds, Request
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.library.reader import read_manifest
from adaspring.library.writer import write_library
from adaspring.passes.prune.prune import Prune

from ...support.libraries import parts

pytestmark = pytest.mark.slow

MOST_OFF_RATIO, MOST_OFF_BYTES = 0.25, 2_000_000
WIDE = 96


class Wide(nn.Module):
    """Few weights, activations of megabytes, and kernels that pad them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, WIDE, 3, padding=1), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Conv2d(WIDE, WIDE, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return self.body(x).mean((2, 3))


@pytest.fixture(scope="module")
def model():
    return from_torch(Wide().eval(), (torch.zeros(1, 3, 96, 96),), name="wide")


@pytest.fixture(scope="module")
def direct(model):
    return build.prepare(model, targets.host())


def figure(model, folder, board, recipes=(DENSE,)):
    request = Request(
        model=model,
        boards=(board,),
        output=folder / "lib",
        recipes=recipes,
        bounds=Bounds(max_drop=1.0, front_only=False),
        tuning=Tuning(trials=0),
        logs=folder / "logs",
    )
    compile_libraries(plan(request))
    return read_manifest(folder / "lib").variants[0].cost.peak_memory_bytes


@pytest.mark.parametrize("board", [targets.host(), targets.null()], ids=lambda board: board.name)
def test_the_peak_that_is_modelled_is_the_peak_that_the_process_shows(model, tmp_path, board):
    found = figure(model, tmp_path, board)
    assert found.origin == "measured"
    modelled = int(re.search(r"modelled (\d+) bytes", found.how)[1])
    assert abs(found.value - modelled) < max(MOST_OFF_RATIO * modelled, MOST_OFF_BYTES)
    assert modelled > 8_000_000


@pytest.mark.usefixtures("aarch64_linker")
def test_the_peak_on_a_board_that_is_not_here_is_modelled(model, tmp_path):
    found = figure(model, tmp_path, targets.find("raspberry-pi-5"))
    assert found.origin == "modelled"
    assert "scratch" in found.how


def test_winograds_tiles_are_seen_in_the_process_and_modelled(model, direct, tmp_path):
    winograd = build.prepare(model, targets.host(), dict.fromkeys(direct.direct, 4))
    grown, modelled = [], []
    for index, prepared in enumerate((direct, winograd)):
        built = build.build(prepared, None, tmp_path / f"{index}.so")
        modelled.append(built.weight_bytes + built.activation_bytes + built.scratch_bytes)
        specs = [(model.inputs, "inputs"), (model.outputs, "outputs")]
        base = parts(built.code)
        named = {
            key: tuple(
                type(base.inputs[0])(name=s.name, shape=s.shape, dtype=s.dtype) for s in found
            )
            for found, key in specs
        }
        only = replace(base.variants[0], weights=built.weights)
        folder = tmp_path / f"{index}.lib"
        write_library(folder, replace(base, variants=(only,), dropped=(), **named))
        samples = [np.zeros((2, *spec.shape[1:]), np.float32) for spec in model.inputs]
        run = measure(folder, model, samples, tmp_path, seconds=0.1)["dense"]
        grown.append(run.peak_memory_bytes)
    more = modelled[1] - modelled[0]
    assert more > 4_000_000
    assert abs((grown[1] - grown[0]) - more) < max(MOST_OFF_RATIO * more, MOST_OFF_BYTES)


def test_a_switch_gives_the_activations_of_the_variant_before_back(model, tmp_path):
    """Else the process would hold those of every variant that ever ran."""
    narrower = Recipe(name="narrower", passes=(Prune(keep_ratio=0.75, multiple_of=4),))
    figure(model, tmp_path, targets.null(), (DENSE, narrower))
    np.savez(tmp_path / "probe.npz", x0=np.zeros((1, 1, 3, 96, 96), np.float32))

    def grown(*names: str) -> int:
        command = [
            sys.executable,
            "-m",
            "adaspring.explore.measure.memory_child",
            str(tmp_path / "lib"),
        ]
        command += [str(tmp_path / "probe.npz"), *names]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    together, alone = grown("dense", "narrower"), max(grown("dense"), grown("narrower"))
    assert together < alone + 0.5 * 2 * 4 * 0.75 * WIDE * 96 * 96


def test_activations_that_are_not_alive_together_share_their_memory(direct):
    one_bytes = 4 * WIDE * 96 * 96
    scheduled = build.schedule(direct, None)
    assert 2 * one_bytes <= scheduled.activation_bytes < 3 * one_bytes


def test_scratch_outside_of_parallel_loops_is_counted_once_and_sums_on_the_stack_not_at_all(direct):
    module = build.schedule(direct, None).module
    found = [scratch_bytes(module, direct.target, count) for count in (1, 2, 3)]
    padded_bytes = 4 * WIDE * 98 * 98
    assert padded_bytes <= found[0] < 2 * padded_bytes
    assert found == [found[0]] * 3


ROW = 4096  # of float32: more than is left on a stack


@T.prim_func(s_tir=True)
def reversed_rows(x: T.Buffer((8, ROW), "float32"), y: T.Buffer((8, ROW), "float32")):
    T.func_attr({"global_symbol": "reversed_rows"})
    for row in T.parallel(8):
        with T.sblock("row"):
            i = T.axis.spatial(8, row)
            scratch = T.sblock_alloc_buffer((ROW,), "float32")
            for k in range(ROW):
                with T.sblock("double"):
                    j = T.axis.spatial(ROW, k)
                    scratch[j] = x[i, j] * T.float32(2)
            for k in range(ROW):
                with T.sblock("reverse"):
                    j = T.axis.spatial(ROW, k)
                    y[i, j] = scratch[ROW - 1 - j]


def test_scratch_inside_of_parallel_loops_is_counted_for_each_thread(direct):
    module = IRModule({"reversed_rows": reversed_rows})
    found = [scratch_bytes(module, direct.target, count) for count in (1, 2, 3)]
    assert found == [4 * ROW, 2 * 4 * ROW, 3 * 4 * ROW]
