"""A network compiled for an OpenCL device: run and measured there, opened by an app, clean."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import adaspring
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import WrongBoard
from adaspring.explore import gate
from adaspring.explore.request import Bounds
from adaspring.frontend.data import Dataset
from adaspring.library.opencl import plugin

from ..support.lights import imported, lights, trained
from ..support.opencl import OCLGRIND, require_opencl, run_python
from ..support.requirements import missing

pytestmark = pytest.mark.slow
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


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    require_opencl()
    folder, (x, y) = tmp_path_factory.mktemp("opencl"), lights(400, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "_FASTER_RATIO", math.inf)  # what is slow on a CPU is right, too
        made = adaspring.compile(
            imported(),
            folder / "net.lib",
            boards=("host-opencl",),
            data=Dataset(inputs=(x,), targets=y),
            recipes=VARIANTS[1:],
            bounds=Bounds(max_drop=0.05, front_only=False),
            tuning=Tuning(trials=0),
            logs=folder / "logs",
        )
    assert not made.failures
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


def test_its_kernels_are_timed_one_by_one(library, images):
    with adaspring.load(library) as opened:
        net, x = opened.open(), np.load(images)[:1]
        times = plugin.kernel_times(lambda: net(x))
    names = [name for name, _ in times]
    assert len(names) == len(set(names)) > 3
    assert all(ms > 0 for _, ms in times)


def test_a_machine_without_an_opencl_device_refuses_it(library, images, tmp_path):
    ran = run_python(APP, LIBRARY=str(library), IMAGES=str(images), OCL_ICD_VENDORS=str(tmp_path))
    assert f"{WrongBoard.__name__}: host-opencl computes through OpenCL" in ran.stderr


def test_oclgrind_finds_no_race_no_stray_access_and_no_divergent_barrier(library, images, tmp_path):
    if not OCLGRIND.is_file():
        missing("oclgrind is not installed")
    (tmp_path / "oclgrind.icd").write_text(f"{OCLGRIND}\n")
    log = tmp_path / "log"
    found = answers(
        library,
        images,
        OCL_ICD_VENDORS=str(tmp_path),
        OCLGRIND_DATA_RACES="1",
        OCLGRIND_CHECK_API="1",
        OCLGRIND_LOG=str(log),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    assert log.read_text() == ""
    for name, scores in answers(library, images).items():
        assert np.allclose(found[name], scores, rtol=1e-5)
