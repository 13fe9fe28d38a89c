"""Profiles: what each function computes, how long it takes, and what cannot be profiled."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from adaspring import targets
from adaspring.backends.build import prepare
from adaspring.backends.report import peak
from adaspring.backends.report.functions import functions_of
from adaspring.errors import LibraryError, ManifestError, UsageError
from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.layers import layers, macs_count
from adaspring.library import reader, writer
from adaspring.library.loader import load
from adaspring.library.manifest import board_record
from adaspring.library.profile import check_profilable, profile
from adaspring.library.tensors import to_tensor
from adaspring.passes import Quantize, run

from ..support.boards import NEOVERSE_V1
from ..support.cli import adaspring, answer, exported, measure_briefly, refused
from ..support.libraries import forge, parts
from ..support.networks import ALL, SmallCnn, example_inputs

pytestmark = pytest.mark.slow


def records(model, board=None, winograd=None):
    prepared = prepare(model, board or targets.host(), winograd or {})
    return functions_of(prepared.module, tuple(prepared.weights))


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_the_functions_do_the_multiply_adds_that_the_network_has(make):
    network = make()
    model = from_torch(network, example_inputs(network), name="net")
    found = records(model)
    assert sum(function.macs_count for function in found) == macs_count(model)
    multiplied = {name for f in found if f.macs_count for name in f.layers}
    assert {layer.name for layer in layers(model)} <= multiplied


def test_winograds_filtering_does_fewer_multiply_adds_than_its_layer_has():
    network = SmallCnn()
    model = from_torch(network, example_inputs(network), name="net")
    direct = prepare(model, targets.host()).direct
    if not direct:
        pytest.skip("no layer of the network is as wide as this processor's vectors")
    found = records(model, winograd=dict.fromkeys(direct, 4))
    assert sum(function.macs_count for function in found) == macs_count(model)
    filtered = [f for f in found if f.kernel == "winograd F(4x4) fp32"]
    assert {f"{name}.weight" for f in filtered for name in f.layers} == set(direct)
    assert all(f.performed_macs_count < f.macs_count for f in filtered)


def test_the_zeros_between_merged_groups_are_no_multiply_adds_of_the_layer():
    network = nn.Conv2d(24, 48, 3, groups=12)
    model = from_torch(network, (torch.zeros(1, 24, 8, 8),), name="net")
    (found,) = (function for function in records(model) if function.dtype)
    assert found.macs_count == 36 * 48 * 9 * 2
    assert found.performed_macs_count > found.macs_count


def test_an_int8_layer_is_said_to_multiply_int8():
    network = SmallCnn()
    model = from_torch(network, example_inputs(network), name="net")
    x = np.random.default_rng(0).standard_normal((4, 3, 32, 32), dtype=np.float32)
    quantized = run(model, (Quantize(),), Dataset(inputs=(x,), targets=np.zeros(4, int))).model
    found = records(quantized)
    assert sum(function.macs_count for function in found) == macs_count(quantized)
    integer = {name for f in found if f.dtype == "int8" for name in f.layers}
    assert integer == {layer.name for layer in layers(quantized) if layer.quantized}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        measure_briefly(patch, seconds=0.01)
        answer(
            "compile", exported(SmallCnn, ".pt2"), "--trials", 0, "--recipe", "dense",
            "-o", folder / "cnn.lib",
        )  # fmt: skip
    return folder / "cnn.lib"


def test_a_profile_names_every_layer_and_adds_up(library):
    opened = load(library)
    x = np.zeros((1, 3, 32, 32), np.float32)
    found = profile(opened, "dense", (x,), 0.1)
    named = {name for timed in found.functions for name in timed.function.layers}
    assert {"conv1", "conv2", "fc1", "fc2"} <= named
    assert all(timed.p50_ms > 0 for timed in found.functions)
    assert found.calls_count >= 50
    assert found.sum_p50_ms == sum(timed.p50_ms for timed in found.functions)
    assert found.network_p50_ms > 0


def test_after_a_profile_the_variant_runs_as_before(library):
    executable = load(library).executable("dense")
    inputs = [to_tensor(np.ones((1, 3, 32, 32), np.float32))]
    (before,) = executable.run(inputs)
    assert executable.run_timed(inputs)
    (after,) = executable.run(inputs)
    np.testing.assert_array_equal(np.from_dlpack(before), np.from_dlpack(after))


def test_bench_shows_each_layers_share_of_the_peak(library):
    shown = answer("bench", library, "--profile", "--seconds", 0.2)
    assert shown["peak_obstacle"] is None
    assert set(shown["peak_gops"]) == set(peak.dtypes(board_record(targets.host())))
    (variant,) = shown["variants"]
    direct = [f for f in variant["functions"] if f["kernel"] == "direct conv fp32"]
    assert direct
    for function in direct:
        share = function["gops"] / shown["peak_gops"]["float32"]
        assert function["peak_ratio"] == pytest.approx(share)
    assert all(f["moved_bytes"] > 0 for f in variant["functions"])
    people = adaspring("bench", library, "--profile", "--seconds", 0.2).stdout
    assert "direct conv fp32" in people
    assert "the network by itself takes" in people


def test_without_the_compiler_the_profile_says_so(library, monkeypatch):
    monkeypatch.setattr("adaspring.cli.bench.profile.installed_tvm", lambda: None)
    shown = answer("bench", library, "--profile", "--seconds", 0.1)
    assert shown["peak_gops"] is None
    assert "the compiler is not installed" in shown["peak_obstacle"]


def test_a_profile_and_switches_are_not_measured_at_once(library):
    refused(adaspring("bench", library, "--profile", "--switch"), "give one", status=2)


def test_code_that_calls_other_functions_than_listed_is_refused(library, tmp_path):
    copied = tmp_path / "forged.lib"
    shutil.copytree(library, copied)
    forge(copied, lambda m: m["variants"][0]["functions"].pop())
    with pytest.raises(LibraryError, match="its manifest lists"):
        profile(load(copied), "dense", (np.zeros((1, 3, 32, 32), np.float32),), 0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"macs_count": -1}, ">= 0"),
        ({"macs_count": 2**70}, "macs_count"),
        ({"macs_count": 0}, "multiply-adds"),
        ({"dtype": None}, "multiply-adds"),
        ({"dtype": "float8"}, "Invalid enum value"),
        ({"time_ms": 1}, "unknown field `time_ms`"),
    ],
)
def test_a_hostile_record_of_a_function_is_refused(tmp_path, change, words):
    code = tmp_path / "code.so"
    code.write_bytes(b"not code")
    writer.write_library(tmp_path / "l", parts(code))
    forge(tmp_path / "l", lambda m: m["variants"][0]["functions"][0].update(change))
    with pytest.raises(ManifestError, match=re.escape(words)):
        reader.read_manifest(tmp_path / "l")


def test_cuda_and_emulated_processors_are_not_profiled(tmp_path):
    with pytest.raises(UsageError, match="cannot be profiled: CUDA's functions"):
        check_profilable(board_record(targets.find("jetson-orin")))
    kernel = tmp_path / "proc/sys/kernel/arch"
    kernel.parent.mkdir(parents=True)
    kernel.write_text("another\n")
    with pytest.raises(UsageError, match="emulated"):
        check_profilable(board_record(targets.null()), tmp_path)


def test_a_library_for_another_board_is_not_profiled(tmp_path):
    code = tmp_path / "code.so"
    code.write_bytes(b"not code")
    writer.write_library(tmp_path / "l", parts(code))
    other = "aarch64" if targets.host().architecture == "x86_64" else "x86_64"
    forge(tmp_path / "l", lambda m: m["board"].update(architecture=other))
    refused(adaspring("bench", tmp_path / "l", "--profile"), "rebuild")


@pytest.mark.parametrize(
    ("board", "dtype", "instruction"),
    [("raspberry-pi-4", "float32", "fmla"), ("raspberry-pi-4", "int8", "mla"),
     ("raspberry-pi-5", "int8", "sdot"), ("neoverse-v1", "bfloat16", "bfdot")],
)  # fmt: skip
def test_the_peak_loop_keeps_one_instruction_for_each_sum(board, dtype, instruction):
    known = NEOVERSE_V1 if board == NEOVERSE_V1.name else targets.find(board)
    loop = peak.peak_loop(board_record(known), dtype)
    assembly = loop.module.inspect_source("s")
    assert len(re.findall(rf"^\s+{instruction}\b", assembly, re.MULTILINE)) >= 28


def test_the_peak_is_measured_for_every_type_that_the_processor_multiplies():
    host = board_record(targets.host())
    found = peak.measure(host)
    assert tuple(found) == peak.dtypes(host)
    assert min(found.values()) > 1


def test_an_instruction_of_narrow_types_multiplies_more_of_them():
    host = board_record(targets.host())
    work = {dtype: peak.peak_loop(host, dtype).operations_count for dtype in peak.dtypes(host)}
    floats = work.pop("float32")
    assert min(work.values()) >= 2 * floats
