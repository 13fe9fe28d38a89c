"""What an app sees of a library and a net beyond a call: names, lifetime, refusals."""

from __future__ import annotations

import copy
import os
import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import adaspring
from adaspring.errors import LibraryError, ManifestError, RuntimeMissing, UsageError
from adaspring.library import reader, runtime, writer
from adaspring.library.devices import cuda
from adaspring.library.manifest import FileRecord
from adaspring.library.weights import aligned_copy

from ..support import hostile
from ..support.libraries import INPUTS, OUTPUTS, expected, forge, parts, weights

ONES = np.ones((2, 48), np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("app") / "tiny.lib"
    writer.write_library(path, parts())
    return path


def assert_dense(outputs) -> None:
    for got, want in zip(outputs, expected(weights(None), ONES, ONES), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


def test_a_net_names_its_inputs_its_outputs_and_its_variants(folder):
    library = adaspring.load(folder)
    net = library.open()
    assert net.inputs == INPUTS
    assert net.outputs == OUTPUTS
    assert net.variants == library.variants == ("dense", "rank16", "rank4")


def test_a_library_and_a_net_show_what_they_are(folder):
    library = adaspring.load(folder)
    assert repr(library) == f"<Library tiny for null in {folder}: dense, rank16, rank4>"
    net = library.open("rank4")
    assert repr(net) == "<Net tiny: runs rank4, of dense, rank16, rank4>"
    net.close()
    assert repr(net) == "<Net tiny: closed, of dense, rank16, rank4>"


def test_a_relative_path_survives_a_change_of_the_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    library = adaspring.load(folder.name)
    net = library.open("rank4", preload=False)
    monkeypatch.chdir(tmp_path)
    net.use("dense")
    assert_dense(net(ONES, ONES))
    assert library.folder == folder


def test_a_closed_net_says_so_and_its_library_opens_another(folder):
    library = adaspring.load(folder)
    with library.open() as net:
        assert_dense(net(ONES, ONES))
    for use in (
        lambda: net(ONES, ONES),
        lambda: net.run_dlpack(aligned_copy(ONES), aligned_copy(ONES)),
        lambda: net.use("rank4"),
        lambda: net.adapt(adaspring.Context()),
        lambda: net.variant,
    ):
        with pytest.raises(UsageError, match=r"this net is closed; .*library\.open"):
            use()
    net.close()
    assert_dense(library.open()(ONES, ONES))


def test_a_closed_library_loads_no_more_and_what_is_loaded_goes_on(folder):
    with adaspring.load(folder) as library:
        loaded = library.open()
        lazy = library.open("rank4", preload=False)
    loaded.use("dense")
    assert_dense(loaded(ONES, ONES))
    for use in (library.open, lambda: lazy.use("dense")):
        with pytest.raises(UsageError, match=f"this library is closed; load {folder} again"):
            use()
    assert lazy.variant == "rank4"
    library.close()


def test_opening_and_closing_leaves_no_open_file(folder):
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    adaspring.load(folder).open().close()
    before = open_files()
    for _ in range(20):
        with adaspring.load(folder) as library:
            library.open().close()
    del library
    assert open_files() == before


@pytest.mark.parametrize("hand_on", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_is_pickled_or_copied_says_what_to_hand_on(folder, hand_on):
    library = adaspring.load(folder)
    with pytest.raises(UsageError, match=r"hand on its folder, and open it there with .*load\('"):
        hand_on(library)
    with pytest.raises(UsageError, match="hand on the library's folder, and open it there"):
        hand_on(library.open())


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, Fraction])
def test_a_context_takes_any_real_number(kind):
    context = adaspring.Context(battery_ratio=kind(0.5), load_ratio=kind(1))
    assert (context.battery_ratio, context.load_ratio) == (0.5, 1.0)
    assert type(context.battery_ratio) is float
    assert adaspring.Context(memory_budget_bytes=np.int64(5)).memory_budget_bytes == 5.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("load_ratio", 37),
        ("battery_ratio", 85),
        ("battery_ratio", True),
        ("battery_ratio", np.bool_(True)),
        ("battery_ratio", np.array([0.5])),
        ("battery_ratio", "0.5"),
        ("battery_ratio", 0.5j),
        ("load_ratio", np.float32("nan")),
        ("latency_budget_ms", np.float64("inf")),
        ("latency_budget_ms", 10**400),
        ("memory_budget_bytes", -1),
    ],
)
def test_what_is_no_number_in_the_range_is_refused_by_name(field, value):
    with pytest.raises(UsageError, match=f"{field} is .* must be in"):
        adaspring.Context(**{field: value})


def with_runtime(tmp_path: Path, board: str = "cuda") -> Path:
    """A library whose packed runtime and device runtime are no libraries at all."""
    lib = tmp_path / "libtvm_runtime.so"
    lib.write_bytes(b"not a library")
    folder = tmp_path / "packed.lib"
    writer.write_library(folder, replace(parts(), runtime_paths=(lib,)))
    forge(folder, lambda raw: raw["board"].update(device=board))
    return folder


@pytest.fixture
def a_gpu(monkeypatch):
    """As if one were here."""
    monkeypatch.setattr(cuda, "check_device", lambda target, board: None)
    monkeypatch.setattr(cuda, "load_cudart", lambda: None)


@pytest.mark.usefixtures("a_gpu")
def test_a_device_runtime_that_the_manifest_does_not_list_is_not_used(tmp_path, monkeypatch):
    folder = with_runtime(tmp_path)
    (folder / "runtime" / "libtvm_runtime_cuda.so").write_bytes(b"not listed")
    monkeypatch.setattr(runtime, "find_spec", lambda _: None)
    opened = reader.LibraryFolder(folder)
    with pytest.raises(RuntimeMissing, match=r"^libtvm_runtime_cuda\.so is neither in the library"):
        runtime.load_runtime(opened, opened.read_manifest())


@pytest.mark.usefixtures("a_gpu")
def test_a_device_runtime_that_is_listed_is_used_and_compared_first(tmp_path):
    folder = with_runtime(tmp_path)
    part = folder / "runtime" / "libtvm_runtime_cuda.so"
    part.write_bytes(b"listed")
    record = {"path": "runtime/libtvm_runtime_cuda.so", "sha256": "0" * 64, "size_bytes": 6}
    forge(folder, lambda raw: raw["files"].append(record))
    opened = reader.LibraryFolder(folder)
    with pytest.raises(LibraryError, match="SHA-256 is not the manifest's"):
        runtime.load_runtime(opened, opened.read_manifest())


@pytest.mark.parametrize("kind", hostile.KINDS)
@pytest.mark.parametrize(
    "name", ["manifest.json", "manifest.sha256", "code/dense.so", "weights/shared.safetensors"]
)
def test_what_is_no_plain_file_is_refused_at_once_wherever_it_lies(tmp_path, name, kind):
    folder = tmp_path / "tiny.lib"
    writer.write_library(folder, parts())
    hostile.put(folder / name, kind)
    with pytest.raises(LibraryError, match=name.split("/")[-1]) as caught:
        adaspring.load(folder)
    assert "\n" not in str(caught.value)


def test_a_file_of_holes_is_not_hashed_for_minutes_though_the_manifest_lists_its_size(tmp_path):
    folder = tmp_path / "tiny.lib"
    writer.write_library(folder, parts())
    with (folder / "weights" / "shared.safetensors").open("r+b") as file:
        file.truncate(2**40)
    forge(folder, lambda raw: raw["files"][-1].update(size_bytes=2**40))
    with pytest.raises(LibraryError, match=r"1099511627776 bytes, of which \d+ are on the disk"):
        adaspring.load(folder)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    """Root may read everything, so the system's answer is given by hand."""
    folder = tmp_path / "tiny.lib"
    writer.write_library(folder, parts())
    opened = os.open

    def forbidden(path, *rest, **named):
        if path == "dense.so":
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *rest, **named)

    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(LibraryError, match=r"dense\.so: .*Permission denied; fix its permissions"):
        adaspring.load(folder)


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "socket", "sparse"])
def test_what_is_no_folder_is_no_library(tmp_path, kind):
    hostile.put(tmp_path / "x.lib", kind)
    with pytest.raises(LibraryError, match=r"x\.lib"):
        adaspring.load(tmp_path / "x.lib")


@pytest.mark.parametrize("name", ["\0", "a" * 300, "\ud800"])
def test_a_name_that_no_file_can_have_is_no_library(name):
    with pytest.raises(LibraryError):
        adaspring.load(name)


@pytest.mark.parametrize("depth", [9, 900, 100_000])
def test_a_target_nested_without_end_is_refused(tmp_path, depth):
    folder = tmp_path / "tiny.lib"
    writer.write_library(folder, parts())
    forge(folder, lambda raw: raw["board"].update(target="HERE"))
    path = folder / "manifest.json"
    nested = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    data = path.read_bytes().replace(b'"HERE"', nested)
    with pytest.raises(ManifestError, match=r"nested|depth|recursion"):
        reader.decode_manifest(data, path)


def test_a_list_of_more_files_than_can_be_opened_is_refused(tmp_path):
    folder = tmp_path / "tiny.lib"
    writer.write_library(folder, parts())
    many = [
        FileRecord(path=f"code/f{index}.so", sha256="0" * 64, size_bytes=0)
        for index in range(100_000)
    ]
    for record in many[:2000]:
        (folder / record.path).touch()
    with pytest.raises(LibraryError, match=r"is missing|Too many open files|not the manifest's"):
        reader.LibraryFolder(folder).verify(many)
