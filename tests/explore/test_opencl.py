"""A network compiled for an OpenCL device: run and measured there, opened by an app, clean."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

import adaspring
from adaspring.backends.rpc.protocol import Address
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import WrongBoard
from adaspring.explore import gate
from adaspring.explore.request import Bounds
from adaspring.frontend.data import Dataset
from adaspring.library.manifest import Manifest
from adaspring.library.profile import profile
from adaspring.targets import host_opencl

from ..support import rpc
from ..support.boards import as_toml
from ..support.lights import imported, lights, trained
from ..support.opencl import oclgrind, require_opencl, run_python
from ..support.told import Notes

pytestmark = [pytest.mark.slow, pytest.mark.board]
VARIANTS = ("dense", "pruned-half", "int8")
APP = """
import json, os, sys
import numpy as np
import adaspring
images = np.load(os.environ["IMAGES"])
with adaspring.load(os.environ["LIBRARY"]) as library:
    net, found = library.open(), {}
    for variant in library.variants:
        net.use(variant)
        found[variant] = np.concatenate([net(x[None]) for x in images]).tolist()
assert not {"tvm", "torch"} & set(sys.modules)
print(json.dumps(found))
"""


def compiled(folder: Path, **settings: Any) -> Manifest:
    x, y = lights(400, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "FASTER_RATIO", math.inf)  # what is slow on a CPU is right, too
        made = adaspring.compile(
            imported(),
            folder / "net.lib",
            data=Dataset(inputs=(x,), targets=y),
            bounds=Bounds(max_drop=0.05, front_only=False),
            tuning=Tuning(trials=0),
            logs=folder / "logs",
            **settings,
        )
    return made.boards[0].manifest


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    require_opencl()
    folder = tmp_path_factory.mktemp("opencl")
    compiled(folder, boards=("host-opencl",), recipes=VARIANTS[1:])
    return folder / "net.lib"


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, lights(4, 7)[0])
    return path


def answers(library: Path, images: Path, **variables: str) -> dict[str, np.ndarray]:
    """What an app in a process of its own gets from each variant."""
    ran = run_python(APP, LIBRARY=str(library), IMAGES=str(images), **variables)
    assert ran.returncode == 0, ran.stderr
    return {name: np.array(found) for name, found in json.loads(ran.stdout).items()}


def test_variants_are_measured_on_the_device_and_agree_with_the_reference(library):
    with adaspring.load(library) as opened:
        manifest = opened.manifest
    assert [variant.name for variant in manifest.variants] == list(VARIANTS)
    for variant in manifest.variants:
        assert variant.agreement.ran == "the variant itself, on its board"
        assert variant.agreement.max_error_ratio <= variant.agreement.tolerance_ratio
        assert variant.cost.latency_p50_ms.origin == "measured"
    assert manifest.variants[0].agreement.max_error_ratio < 1e-5


def test_an_app_without_tvm_gets_what_torch_gives(library, images):
    found = answers(library, images)
    with torch.inference_mode():
        wanted = trained()(torch.from_numpy(np.load(images))).numpy()
    assert list(found) == list(VARIANTS)
    assert np.allclose(found["dense"], wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    for scores in found.values():
        assert np.array_equal(scores.argmax(1), wanted.argmax(1))


def test_four_threads_call_while_variants_are_switched(library, images):
    found, x = answers(library, images), np.load(images)
    wrong, over = list[str](), threading.Event()
    with adaspring.load(library) as opened:
        net = opened.open()

        def call() -> None:
            while not over.is_set():
                scores = net(x[:1])[0]
                if not any(np.array_equal(scores, np.float32(each[0])) for each in found.values()):
                    wrong.append(str(scores))

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for step in range(100):
            net.use(VARIANTS[step % len(VARIANTS)])
        over.set()
        for thread in threads:
            thread.join(60)
    assert not wrong


def test_it_runs_beside_one_for_the_processor_that_was_compiled_apart(library, images, tmp_path):
    compiled(tmp_path, boards=("host",), recipes=("int8",))
    folders = {"host": tmp_path / "net.lib", "host-opencl": library}
    alone = {
        f"{board}:{name}": found
        for board, folder in folders.items()
        for name, found in answers(folder, images).items()
    }
    with adaspring.load(list(folders.values())) as both, both.open() as net:
        assert net.variants == tuple(alone)
        for name, found in alone.items():
            net.use(name)
            scores = np.concatenate([net(x[None]) for x in np.load(images)])
            np.testing.assert_array_equal(scores, np.float32(found))


def test_its_functions_are_timed_by_the_devices_clock(library, images):
    with adaspring.load(library) as opened:
        found = profile(opened, "dense", [np.load(images)[:1]], seconds=0.1)
        listed = opened.manifest.variant("dense").functions
    assert [timed.function for timed in found.functions] == list(listed)
    assert all(timed.p50_ms > 0 for timed in found.functions)
    assert found.sum_p50_ms < 1.5 * found.network_p50_ms


def test_a_machine_without_an_opencl_device_refuses_it(library, images, tmp_path):
    ran = run_python(APP, LIBRARY=str(library), IMAGES=str(images), OCL_ICD_VENDORS=str(tmp_path))
    assert f"{WrongBoard.__name__}: host-opencl computes through OpenCL" in ran.stderr


def test_oclgrind_finds_no_race_no_stray_access_and_no_divergent_barrier(library, images, tmp_path):
    simulated = oclgrind(tmp_path)
    found = answers(library, images, **simulated.variables)
    assert simulated.log.read_text() == ""
    for name, scores in answers(library, images).items():
        assert np.allclose(found[name], scores, rtol=1e-5)


def test_a_board_over_rpc_runs_and_times_it_on_its_device(tmp_path):
    require_opencl()
    box = msgspec.structs.replace(host_opencl(), name="lab-gpu", rpc_key="lab-gpu")
    declared = tmp_path / "lab-gpu.toml"
    declared.write_text(as_toml(msgspec.to_builtins(box)))
    with rpc.tracker() as where, rpc.board(where, str(declared)):
        manifest = compiled(
            tmp_path, boards=(box,), recipes=("int8",), tracker=Address.parse(where)
        )
    for variant in manifest.variants:
        assert variant.agreement.max_error_ratio <= variant.agreement.tolerance_ratio
        assert "over RPC by the clock of the board" in variant.cost.latency_p50_ms.how
    assert manifest.variants[0].agreement.max_error_ratio < 1e-5


def test_it_is_not_cut_into_pieces_and_that_is_said(tmp_path):
    require_opencl()
    told = Notes()
    made = compiled(tmp_path, boards=("host-opencl",), recipes=("int8",), segments=2, progress=told)
    assert made.composition is None
    assert any("stays whole on host-opencl: pieces are run" in note for note in told.notes)
