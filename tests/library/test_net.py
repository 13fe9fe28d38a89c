"""Opening, running and switching, against NumPy in float64."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import adaspring
from adaspring.errors import InputError, LibraryError, RuntimeMissing, UsageError, WrongBoard
from adaspring.library import reader, runtime, writer
from adaspring.library.executable import Executable, Part
from adaspring.library.manifest import DIGEST_NAME, MANIFEST_NAME
from adaspring.library.net import Net, Switch
from adaspring.library.tensors import CPU, copy_to, to_tensor
from adaspring.library.weights import aligned_copy

from ..support.libraries import expected, parts, weights

RANKS = {"dense": None, "rank16": 16, "rank4": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("library") / "tiny.lib"
    writer.write_library(path, parts())
    return path


@pytest.fixture
def library(folder) -> adaspring.Library:
    return adaspring.load(folder)


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    image = rng.standard_normal((2, 48), dtype=np.float32)
    return image, (rng.random((2, 48)) > 0.5).astype(np.float32)


def assert_right(outputs, name, image, mask) -> None:
    for got, want in zip(outputs, expected(weights(RANKS[name]), image, mask), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def edited(folder: Path, tmp_path: Path, change) -> Path:
    """A copy of the library with a changed manifest, digests in order."""
    copy = tmp_path / "edited.lib"
    shutil.copytree(folder, copy)
    raw = json.loads((copy / MANIFEST_NAME).read_bytes())
    change(raw)
    data = json.dumps(raw).encode()
    (copy / MANIFEST_NAME).write_bytes(data)
    (copy / DIGEST_NAME).write_bytes(reader.digest_line(data))
    return copy


@pytest.mark.parametrize("name", RANKS)
@pytest.mark.parametrize("preload", [True, False])
def test_every_variant_computes_what_numpy_computes(library, arrays, name, preload):
    net = library.open(name, preload=preload)
    assert net.variant == name
    assert_right(net(*arrays), name, *arrays)


def test_a_library_written_anew_in_the_same_place_runs_its_new_code(tmp_path, arrays):
    folder = tmp_path / "tiny.lib"
    writer.write_library(folder, parts())
    old = adaspring.load(folder).open("dense")
    first, second, *_ = parts().variants
    swapped = replace(
        parts(),
        variants=(
            replace(first, code_path=second.code_path, weights=second.weights),
            replace(second, code_path=first.code_path, weights=first.weights),
        ),
    )
    writer.write_library(folder, swapped)
    assert_right(adaspring.load(folder).open("dense")(*arrays), "rank16", *arrays)
    assert_right(adaspring.load(folder).open("rank16")(*arrays), "dense", *arrays)
    assert_right(old(*arrays), "dense", *arrays)


def test_inputs_come_by_position_by_name_or_both(library, arrays):
    net = library.open()
    image, mask = arrays
    assert_right(net(mask=mask, image=image), "dense", image, mask)
    assert_right(net(image, mask=mask), "dense", image, mask)


def test_outputs_belong_to_the_caller(library, arrays):
    net = library.open()
    first, _ = net(*arrays)
    kept = first.copy()
    first += 1
    second, _ = net(*arrays)
    np.testing.assert_array_equal(second, kept)
    np.testing.assert_array_equal(first, kept + 1)


def test_a_variant_that_never_ran_may_be_used_at_once_and_unknown_ones_are_listed(library, arrays):
    net = library.open()
    net.use("rank4")
    assert_right(net(*arrays), "rank4", *arrays)
    with pytest.raises(UsageError, match=r"no variant 'rank5'.*dense, rank16, rank4"):
        net.use("rank5")
    assert net.variant == "rank4"
    with pytest.raises(UsageError, match="no variant 'rank5'"):
        library.open("rank5")


def test_inputs_that_are_strided_misaligned_or_read_only_run_all_the_same(library, arrays):
    net = library.open()
    image, mask = arrays
    bytes_ = np.empty(image.nbytes + 65, np.uint8)
    shift = (1 - bytes_.ctypes.data) % 64
    misaligned = bytes_[shift : shift + image.nbytes].view(np.float32).reshape(image.shape)
    misaligned[...] = image
    assert misaligned.ctypes.data % 64 == 1
    wide = np.repeat(image, 2, axis=1)[:, ::2]
    frozen = image.copy()
    frozen.flags.writeable = False
    for variant_of_image in (misaligned, wide, np.asfortranarray(image), frozen):
        assert_right(net(variant_of_image, mask), "dense", image, mask)
        np.testing.assert_array_equal(variant_of_image, image)


def test_not_a_number_passes_through(library, arrays):
    image, mask = arrays
    image[0, 0], mask[0, 0] = np.nan, 1
    logits, hidden = library.open()(image, mask)
    assert np.isfinite(logits[1]).all()
    assert np.isfinite(hidden[1]).all()


@pytest.mark.parametrize(
    ("args", "named", "message"),
    [
        (1, {}, "1 by position"),
        (3, {}, "3 by position"),
        (0, {"image": 0, "masque": 0}, "masque"),
        (2, {"mask": 0}, "2 by position"),
        (1, {"mask": 0, "extra": 0}, "extra"),
    ],
)
def test_a_wrong_count_or_name_says_what_the_network_takes(library, arrays, args, named, message):
    takes = r"the network takes image: float32 \(2, 48\), mask: float32 \(2, 48\)"
    values = [arrays[0]] * args
    with pytest.raises(InputError, match=takes) as caught:
        library.open()(*values, **dict.fromkeys(named, arrays[0]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, 47), np.float32), r"image is float32 \(2, 47\)"),
        (np.zeros((1, 48), np.float32), r"image is float32 \(1, 48\)"),
        (np.zeros(96, np.float32), r"image is float32 \(96,\)"),
        (np.zeros((2, 48), np.float64), r"image is float64 \(2, 48\)"),
        (np.zeros((2, 48), ">f4"), r"image is >f4"),
        (np.zeros((2, 48), object), "image is object"),
        ([[0.0] * 48] * 2, "image is a list, not an array"),
        (None, "image is a NoneType, not an array"),
    ],
)
def test_a_wrong_shape_or_type_says_what_the_network_takes(library, arrays, wrong, message):
    net = library.open()
    with pytest.raises(InputError, match=message + ".*the network takes image: float32"):
        net(wrong, arrays[1])


def test_values_of_another_type_are_not_scaled_behind_the_apps_back(library, arrays):
    with pytest.raises(InputError, match=r"scaled as for training: image\.astype\('float32'\)$"):
        library.open()(np.zeros((2, 48), np.uint8), arrays[1])


def test_dlpack_shares_memory_both_ways(library, arrays):
    net = library.open()
    aligned = [aligned_copy(array) for array in arrays]
    logits, hidden = net.run_dlpack(*aligned)
    assert_right((np.from_dlpack(logits), np.from_dlpack(hidden)), "dense", *arrays)
    again = net.run_dlpack(aligned[0], mask=aligned[1])
    assert_right(tuple(np.from_dlpack(output) for output in again), "dense", *arrays)


def test_dlpack_never_copies_in_silence(library, arrays):
    net = library.open()
    aligned = [aligned_copy(array) for array in arrays]
    with pytest.raises(InputError, match=r"image cannot be shared without a copy: .*contiguous"):
        net.run_dlpack(aligned_copy(np.repeat(arrays[0], 2, axis=1))[:, ::2], aligned[1])
    with pytest.raises(InputError, match=r"image cannot be shared .* 64 bytes"):
        net.run_dlpack(aligned_copy(np.zeros(97, np.float32))[1:].reshape(2, 48), aligned[1])
    with pytest.raises(InputError, match="image is float64"):
        net.run_dlpack(aligned_copy(arrays[0].astype(np.float64)), aligned[1])
    with pytest.raises(InputError, match="image cannot be shared"):
        net.run_dlpack([1.0], aligned[1])


def test_dlpack_takes_and_gives_torch_tensors(library, arrays):
    torch = pytest.importorskip("torch")
    net = library.open()
    tensors = [torch.from_numpy(array).clone() for array in arrays]
    logits, hidden = net.run_dlpack(*tensors)
    results = [torch.from_dlpack(value).numpy() for value in (logits, hidden)]
    assert_right(results, "dense", *arrays)


def test_a_tensor_is_copied_between_devices_with_its_values(library, arrays):
    """From host to host here; the same two runtime functions serve GPUs."""
    tensor = to_tensor(arrays[0])
    copy = copy_to(tensor, CPU)
    np.testing.assert_array_equal(np.from_dlpack(copy), arrays[0])
    assert not np.shares_memory(np.from_dlpack(copy), np.from_dlpack(tensor))


def test_weights_are_in_memory_once_for_all_variants_and_all_nets(library):
    floats = 48 * 64 + 64 + 64 * 10 + (48 + 64) * (16 + 4)
    library.open()
    assert library.weights_bytes == 4 * floats
    library.open("rank4")
    assert library.weights_bytes == 4 * floats


def test_without_preload_only_what_runs_is_loaded(library):
    net = library.open("rank4", preload=False)
    before = library.weights_bytes
    net.use("dense")
    assert before < library.weights_bytes == before + 4 * 48 * 64


def test_adapt_switches_and_records_it(library, arrays):
    net = library.open()
    switch = net.adapt(adaspring.Context(latency_budget_ms=5))
    assert isinstance(switch, Switch)
    assert (switch.from_variant, switch.to_variant, net.variant) == ("dense", "rank16", "rank16")
    assert switch.relaxed == ()
    assert switch.decide_us > 0
    assert switch.switch_ms >= 0
    assert_right(net(*arrays), "rank16", *arrays)
    same = net.adapt(adaspring.Context(latency_budget_ms=5))
    assert same.from_variant == same.to_variant == "rank16"


def test_a_switch_says_what_is_missed_by_how_much_and_what_a_call_will_take(library):
    switch = library.open().adapt(adaspring.Context(latency_budget_ms=1, load_ratio=0.5))
    assert (switch.to_variant, switch.relaxed) == ("rank4", ("latency",))
    (miss,) = switch.missed
    assert (miss.constraint, miss.amount, miss.unit, miss.ratio) == ("latency", 2.0, "ms", 2.0)
    found = switch.predicted
    assert (found.metric, found.latency_ms, found.energy_mj) == (0.90, 3.0, 8.0)
    assert found.memory_bytes == 5000


def test_a_net_does_not_flap_about_a_threshold(library):
    net, rng = library.open(), np.random.default_rng(0)
    switches = [
        net.adapt(adaspring.Context(latency_budget_ms=budget, battery_ratio=battery))
        for budget, battery in rng.normal((4, 0.32), (0.08, 0.01), (1000, 2)).tolist()
    ]
    assert sum(switch.from_variant != switch.to_variant for switch in switches) <= 5


@pytest.mark.parametrize(
    "policy", [adaspring.Balanced(), adaspring.Deadline(), adaspring.LambdaRule()], ids=repr
)
def test_a_net_is_opened_with_any_policy(library, policy):
    net = library.open(policy=policy)
    assert net.adapt(adaspring.Context(latency_budget_ms=3)).to_variant == "rank4"


def test_a_budget_makes_the_energy_last(library):
    net = library.open(policy=adaspring.Budget())
    context = adaspring.Context(energy_left_mj=25_000, time_left_s=100, calls_per_s=10)
    assert net.adapt(context).to_variant == "rank16"
    with pytest.raises(UsageError, match="give the context time_left_s"):
        net.adapt(adaspring.Context(energy_left_mj=25_000))
    assert net.variant == "rank16"


@pytest.mark.parametrize("policy", [adaspring.Deadline, "deadline", 0, lambda context: "dense"])
def test_what_is_no_policy_is_refused(library, policy):
    with pytest.raises(UsageError, match=r"the policy is .* for example adaspring\.Deadline\(\)"):
        library.open(policy=policy)


@pytest.mark.parametrize("context", [{}, {"battery_ratio": 0.2}, 0.2])
def test_a_net_is_opened_by_no_less_than_a_context(library, context):
    with pytest.raises(UsageError, match=r"the context is .*; give an adaspring\.Context"):
        library.open(context=context)


@pytest.mark.parametrize("context", [None, {}, {"battery_ratio": 0.2}, 0.2])
def test_what_is_no_context_is_refused_and_nothing_changes(library, context):
    net = library.open()
    with pytest.raises(UsageError, match=r"the context is .*; give an adaspring\.Context"):
        net.adapt(context)
    assert net.variant == "dense"


def test_a_context_chooses_the_first_variant(library):
    assert library.open(context=adaspring.Context(latency_budget_ms=3)).variant == "rank4"
    with pytest.raises(UsageError, match="not both"):
        library.open("dense", context=adaspring.Context())


def test_calls_and_switches_from_many_threads_give_each_thread_its_own_answers(library):
    net = library.open()
    wrong, counts, stop = [], [0] * 4, threading.Event()

    def run(seed):
        image, mask = np.random.default_rng(seed).random((2, 2, 48), dtype=np.float32)
        wanted = [expected(weights(rank), image, mask)[0] for rank in RANKS.values()]
        while not stop.is_set():
            logits, _ = net(image, mask)
            counts[seed] += 1
            if not any(np.allclose(logits, want, rtol=0, atol=1e-3) for want in wanted):
                wrong.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    turn = 0
    while min(counts) < 300 and not wrong:
        net.use(list(RANKS)[turn % 3])
        turn += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_calls_of_one_variant_take_turns_and_a_switch_waits_for_none(library, arrays):
    """A slow function stands in for compiled code, so that calls would overlap if they could."""
    inside, most, started, go_on = 0, 0, threading.Event(), threading.Event()

    def main(*_tensors):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        started.set()
        go_on.wait(10)
        inside -= 1
        return to_tensor(arrays[0])

    slow = Executable("dense", [Part({"main": main}, [])], "cpu", 1)
    fast = library.executable("rank4")
    net = Net((library.manifest,), {"dense": slow, "rank4": fast}.get, None, "dense")
    threads = [threading.Thread(target=net, args=arrays) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    net.use("rank4")
    assert_right(net(*arrays), "rank4", *arrays)
    assert inside == 1
    go_on.set()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_library_for_another_architecture_is_refused(folder, tmp_path):
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}

    def change(raw):
        raw["board"].update(name="pi", architecture=other[raw["board"]["architecture"]])

    with pytest.raises(WrongBoard, match=r"is for pi \(.*adaspring compile --target host"):
        adaspring.load(edited(folder, tmp_path, change))


def test_a_library_that_needs_more_of_the_processor_is_refused(folder, tmp_path):
    path = edited(folder, tmp_path, lambda raw: raw["board"].update(cpu_features=["warp_drive"]))
    with pytest.raises(WrongBoard, match="uses warp_drive, which this processor lacks; rebuild"):
        adaspring.load(path)


@pytest.mark.parametrize(
    ("device", "error", "words"),
    [
        ("cuda", "WrongBoard", "NVIDIA's driver (libcuda.so.1) is not installed"),
        ("opencl", "WrongBoard", "no OpenCL device is here"),
    ],
)
def test_a_gpu_library_without_its_driver_is_refused(folder, tmp_path, device, error, words):
    """In a process of its own: another test's may have loaded a driver, or a stand-in for one."""
    path = edited(folder, tmp_path, lambda raw: raw["board"].update(device=device))
    said = run_python(
        "import os, adaspring\n"
        f"os.environ['OCL_ICD_VENDORS'] = {str(tmp_path)!r}\n"  # where no driver is
        f"try:\n    adaspring.load({str(path)!r})\n"
        "except adaspring.AdaspringError as error:\n    print(type(error).__name__, error)\n"
        f"else:\n    print('a {device} runtime is here')\n"
    )
    if "runtime is here" in said:
        pytest.skip(f"this machine runs {device} code")
    assert words in said
    assert said.startswith(error)


def test_code_that_is_no_library_is_one_line(folder, tmp_path):
    base = parts(Path(__file__))
    writer.write_library(tmp_path / "bad.lib", base)
    with pytest.raises(LibraryError, match=r"dense\.so: cannot be loaded") as caught:
        adaspring.load(tmp_path / "bad.lib").open()
    assert "\n" not in str(caught.value)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_app_imports_neither_tvm_nor_torch(folder):
    code = f"""
import sys
import numpy as np
import adaspring
net = adaspring.load({str(folder)!r}).open()
net(np.ones((2, 48), np.float32), np.ones((2, 48), np.float32))
net.adapt(adaspring.Context(battery_ratio=0.2, latency_budget_ms=5))
print(sorted({{"tvm", "torch", "onnx", "typer", "rich"}} & set(sys.modules)))
import torch
print(torch.ones(2).sum().item())
"""
    assert run_python(code).splitlines() == ["[]", "2.0"]


def test_import_adaspring_alone_imports_almost_nothing():
    code = "import sys, adaspring; print({'numpy', 'msgspec', 'tvm_ffi'} & set(sys.modules))"
    assert run_python(code) == "set()"


def test_the_public_face_has_what_it_lists_and_nothing_else():
    assert all(hasattr(adaspring, name) for name in adaspring.__all__)
    assert set(adaspring.__all__) <= set(dir(adaspring))
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = adaspring.lode


def test_threads_are_the_boards_cores_whatever_tvm_would_take():
    code = """
from adaspring.library import runtime
from adaspring.library.native.pool import thread_count as get
import os, threading
cpu = type("B", (), {"device": "cpu"})
runtime.load_runtime(None, type("M", (), {"runtime": None, "tvm_version": "0.27.0", "board": cpu}))
before = os.sched_getaffinity(0)
for count in (1, 2, 1, 64):
    runtime.use_threads(count)
    print(get() == min(count, len(before)), os.sched_getaffinity(0) == before)
def other():
    runtime.use_threads(2)
    print(get() == min(2, len(before)))
thread = threading.Thread(target=other)
thread.start()
thread.join()
"""
    assert set(run_python(code).split()) == {"True"}


def test_a_runtime_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(runtime, "version", lambda _: "0.28.0")
    with pytest.raises(RuntimeMissing, match=r"built with TVM 0.27.0.post1, installed is 0.28.0"):
        runtime.runtime_path("0.27.0.post1")


def test_no_runtime_at_all_says_what_to_install(monkeypatch):
    monkeypatch.setattr(runtime, "find_spec", lambda _: None)
    with pytest.raises(RuntimeMissing, match=r"pip install apache-tvm==0.27.0.post1"):
        runtime.runtime_path("0.27.0.post1")


def test_a_packed_runtime_serves_where_tvm_is_not_installed(tmp_path):
    lib = Path(importlib.util.find_spec("tvm").origin).parent / "lib" / "libtvm_runtime.so"
    writer.write_library(tmp_path / "packed.lib", replace(parts(), runtime_paths=(lib,)))
    code = f"""
import numpy as np
import adaspring
from adaspring.library import runtime
runtime.find_spec = lambda name: None
net = adaspring.load({str(tmp_path / "packed.lib")!r}).open()
print(net(np.ones((2, 48), np.float32), np.ones((2, 48), np.float32))[0].shape)
print([line.split()[-1] for line in open("/proc/self/maps") if "libtvm_runtime" in line][0])
"""
    shape, mapped = run_python(code).splitlines()
    assert shape == "(2, 10)"
    assert mapped == str(tmp_path / "packed.lib" / "runtime" / "libtvm_runtime.so")
