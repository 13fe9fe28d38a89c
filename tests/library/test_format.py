"""Libraries on disk: written whole or not at all, read only as they were written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

import adaspring
from adaspring.errors import LibraryError, ManifestError
from adaspring.files import replace as replacing
from adaspring.library import reader, writer
from adaspring.library.manifest import DIGEST_NAME, MANIFEST_NAME, FileRecord, Manifest
from adaspring.library.weights import ALIGNMENT_BYTES, TensorPool, aligned_copy, map_tensors

from ..support.libraries import WHEN, as_older, figure, forge, parts, with_variant
from ..support.requirements import require_tool


@pytest.fixture
def library(tmp_path: Path, code: Path) -> Path:
    folder = tmp_path / "a" / "tiny.lib"
    writer.write_library(folder, parts(code))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_written_is_read_back(library, code):
    manifest = reader.read_manifest(library)
    reader.verify_files(library, manifest)
    given = parts(code)
    assert manifest.inputs == given.inputs
    assert manifest.outputs == given.outputs
    assert manifest.board == given.board
    assert manifest.dropped == given.dropped
    for variant, wanted in zip(manifest.variants, given.variants, strict=True):
        assert variant.cost == wanted.cost
        assert variant.decisions == wanted.decisions
        assert (library / variant.code).read_bytes() == code.read_bytes()
        with (library / "weights/shared.safetensors").open("rb") as file:
            tensors = map_tensors(file)
        for key, array in zip(variant.weights, wanted.weights.values(), strict=True):
            np.testing.assert_array_equal(tensors[key], array)
            assert tensors[key].dtype == array.dtype
            assert tensors[key].ctypes.data % ALIGNMENT_BYTES == 0


def test_sha256sum_agrees_with_the_manifests_digest(library):
    require_tool("sha256sum", "coreutils")
    subprocess.run(["sha256sum", "-c", DIGEST_NAME], cwd=library, check=True, capture_output=True)


def test_tensors_that_are_the_same_are_stored_once(library):
    manifest = reader.read_manifest(library)
    dense, rank16, rank4 = (set(variant.weights) for variant in manifest.variants)
    assert len(dense & rank16 & rank4) == 2
    stored = (library / "weights/shared.safetensors").stat().st_size
    once = 4 * (48 * 64 + 64 + 64 * 10 + (48 + 64) * (16 + 4))
    assert once < stored < once + 2000


def test_equal_bytes_of_another_type_or_shape_are_another_tensor():
    pool = TensorPool()
    zeros = np.zeros((2, 3), np.float32)
    keys = {
        pool.add("w", zeros),
        pool.add("w", zeros.reshape(3, 2)),
        pool.add("w", zeros.view(np.int32)),
        pool.add("w", np.float32(0.0) * np.ones((), np.float32)),
    }
    assert len(keys) == 4
    assert pool.add("again", zeros.copy()) == pool.add("w", zeros)
    assert pool.add("t", np.arange(6).reshape(2, 3).T) == pool.add(
        "t", np.ascontiguousarray(np.arange(6).reshape(2, 3).T)
    )


@pytest.mark.parametrize("shape", [(), (1,), (3, 5)])
@pytest.mark.parametrize("dtype", ["int8", "float32", "float64", "bool"])
def test_an_aligned_copy_has_the_same_values(shape, dtype):
    value = np.ones(shape, dtype)
    copy = aligned_copy(value)
    assert copy.ctypes.data % ALIGNMENT_BYTES == 0
    np.testing.assert_array_equal(copy, value)
    assert copy.shape == value.shape


def test_a_byte_changed_in_any_file_is_found_and_the_file_is_named(library):
    for name, data in contents(library).items():
        for position in (0, len(data) // 2, len(data) - 1):
            changed = bytearray(data)
            changed[position] ^= 1
            (library / name).write_bytes(changed)
            with pytest.raises(LibraryError, match=r"manifest|" + name.split("/")[-1]):
                reader.verify_files(library, reader.read_manifest(library))
        (library / name).write_bytes(data)
    reader.verify_files(library, reader.read_manifest(library))


def test_a_missing_or_cut_file_is_found_and_named(library):
    for name, data in contents(library).items():
        (library / name).unlink()
        with pytest.raises(LibraryError, match=name.split("/")[-1]):
            reader.verify_files(library, reader.read_manifest(library))
        (library / name).write_bytes(data[:-1])
        with pytest.raises(LibraryError):
            reader.verify_files(library, reader.read_manifest(library))
        (library / name).write_bytes(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(colour="red"), "unknown field `colour`"),
        (lambda m: m["board"].update(colour="red"), r"unknown field `colour`.*board"),
        (lambda m: m["variants"][0]["cost"].update(latency_ms=1), "unknown field `latency_ms`"),
        (lambda m: m.pop("inputs"), "missing required field `inputs`"),
        (lambda m: m.update(schema_version=6), "schema 6, this reads 5; upgrade adaspring"),
        (lambda m: m.update(schema_version=1), "schema 1, this reads 5; rebuild"),
        (lambda m: m.pop("schema_version"), "missing required field `schema_version`"),
        (lambda m: m.update(schema_version="2"), "Expected `int`"),
        (lambda m: m.update(variants=[]), "length >= 1"),
        (lambda m: m["variants"].append(m["variants"][0]), "2 variants are named 'dense'"),
        (lambda m: m["inputs"].append(m["inputs"][0]), "2 inputs are named 'image'"),
        (lambda m: m["inputs"][0].update(shape=[2, 0]), ">= 1"),
        (lambda m: m["inputs"][0].update(dtype="float31"), "Invalid enum value 'float31'"),
        (lambda m: m.update(plainest="nobody"), "plainest is 'nobody'"),
        (lambda m: m["variants"][0].update(code="code/none.so"), "'code/none.so' is used but not"),
        (lambda m: m.update(runtime="runtime/none.so"), "'runtime/none.so' is used but not"),
        (lambda m: m["files"].append(m["files"][0]), "listed 2 times"),
        (lambda m: m["files"][0].update(path="../../x"), "leaves the library's folder"),
        (lambda m: m["files"][0].update(path="/etc/passwd"), "leaves the library's folder"),
        (lambda m: m["files"][0].update(path="code/../../x"), "leaves the library's folder"),
        (lambda m: m["files"][0].update(path="code\\x.so"), "leaves the library's folder"),
        (lambda m: m["files"][0].update(path="code/x.so\n"), "leaves the library's folder"),
        (lambda m: m["files"][0].update(path=".hidden"), "leaves the library's folder"),
        (lambda m: m["files"][0].update(sha256="0"), "regex"),
        (lambda m: m["files"][0].update(size_bytes=-1), ">= 0"),
        (lambda m: m["board"].update(thread_count=0), ">= 1"),
        (lambda m: m["board"].update(device="npu"), "Invalid enum value 'npu'"),
        (lambda m: metric_of(m).update(value=1.5), r"top1 1.5 is no share in \[0, 1\]"),
        (lambda m: metric_of(m).update(value=-0.1), r"top1 -0.1 is no share in \[0, 1\]"),
        (lambda m: metric_of(m).update(when="today"), "no ISO 8601 time"),
        (lambda m: metric_of(m).update(origin="guessed"), "'guessed'"),
        (lambda m: metric_of(m).update(direction="up"), "Invalid enum value 'up'"),
        (lambda m: metric_of(m).update(unit="%"), "Invalid enum value '%'"),
        (lambda m: metric_of(m).update(against="nobody"), "Invalid enum value 'nobody'"),
        (lambda m: metric_of(m).pop("name"), "missing required field `name`"),
        (lambda m: metric_of(m).update(name="mse"), "it has 2 metrics: .*mse.*top1"),
        (lambda m: metric_of(m).update(direction="lower"), "it has 2 metrics"),
        (lambda m: m["variants"][0]["cost"].update(accuracy=None), "unknown field `accuracy`"),
        (lambda m: m.update(created="2025-01-31T12:00:00"), "not an ISO 8601 time with a zone"),
        (lambda m: m["variants"][0].update(name="a b"), "is not letters, digits"),
    ],
)
def test_a_forged_manifest_is_refused_in_one_line_that_names_it(library, change, message):
    forge(library, change)
    with pytest.raises(ManifestError, match=message) as caught:
        reader.read_manifest(library)
    assert str(library / MANIFEST_NAME) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_a_torn_manifest_is_refused(library, data):
    (library / MANIFEST_NAME).write_bytes(data)
    (library / DIGEST_NAME).write_bytes(reader.digest_line(data))
    with pytest.raises(ManifestError):
        reader.read_manifest(library)


def test_every_cut_of_a_manifest_is_refused(library):
    data = (library / MANIFEST_NAME).read_bytes()
    for length in range(0, len(data), 97):
        with pytest.raises(ManifestError):
            reader.decode_manifest(data[:length], library / MANIFEST_NAME)


def test_a_huge_manifest_is_not_read_whole(library, monkeypatch):
    monkeypatch.setattr(reader, "MAX_MANIFEST_BYTES", 1000)
    with pytest.raises(ManifestError, match="larger than 1000 bytes"):
        reader.read_manifest(library)


@pytest.mark.parametrize("name", ["code/dense.so", "weights/shared.safetensors", "manifest.json"])
def test_a_symbolic_link_is_refused_even_to_the_same_bytes(library, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    (library / name).rename(elsewhere)
    (library / name).symlink_to(elsewhere)
    with pytest.raises(LibraryError, match="link"):
        reader.verify_files(library, reader.read_manifest(library))


def test_a_linked_folder_inside_is_refused_but_the_library_itself_may_be_linked(library, tmp_path):
    linked = tmp_path / "linked.lib"
    linked.symlink_to(library)
    reader.verify_files(linked, reader.read_manifest(linked))
    (library / "code").rename(tmp_path / "code")
    (library / "code").symlink_to(tmp_path / "code")
    with pytest.raises(LibraryError, match="link"):
        reader.verify_files(library, reader.read_manifest(library))


def test_a_file_record_for_a_folder_is_refused(library):
    record = FileRecord(path="code", sha256="0" * 64, size_bytes=0)
    with pytest.raises(LibraryError, match="is missing"):
        reader.LibraryFolder(library).verify((record,))


def test_no_library_says_how_to_make_one(tmp_path):
    with pytest.raises(LibraryError, match="not a library; make one with `adaspring compile`"):
        reader.read_manifest(tmp_path / "none")


def test_a_library_replaces_a_library_and_leaves_nothing_beside_it(library, code):
    writer.write_library(library, replace(parts(code), name="second"))
    assert reader.read_manifest(library).name == "second"
    assert [path.name for path in library.parent.iterdir()] == [library.name]


def test_an_empty_folder_is_filled(tmp_path, code):
    folder = tmp_path / "empty"
    folder.mkdir()
    writer.write_library(folder, parts(code))
    assert reader.read_manifest(folder).name == "tiny"


@pytest.mark.parametrize("name", ["thesis.tex", "manifest.json/../notes", ".git"])
def test_a_folder_with_anything_else_in_it_is_not_overwritten(library, code, name):
    (library / name).resolve().write_text("mine")
    before = contents(library)
    with pytest.raises(LibraryError, match="which no library has; choose another path"):
        writer.write_library(library, parts(code))
    assert contents(library) == before


def test_a_file_is_not_overwritten(tmp_path, code):
    with pytest.raises(LibraryError, match="is not a folder"):
        writer.write_library(code, parts(code))


@pytest.mark.parametrize("fail_at", ["copyfile", "fsync", "exchange", "save"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_library_and_nothing_else(
    library, code, monkeypatch, fail_at, error
):
    before = contents(library)
    calls = {"count": 0}

    def fail(*_args, **_kwargs):
        calls["count"] += 1
        raise error

    owner = {"copyfile": shutil, "fsync": os, "save": TensorPool, "exchange": replacing}
    monkeypatch.setattr(owner[fail_at], fail_at, fail)
    kind = LibraryError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(kind):
        writer.write_library(library, replace(parts(code), name="second"))
    assert calls["count"] > 0
    assert contents(library) == before
    assert [path.name for path in library.parent.iterdir()] == [library.name]


def test_a_disk_that_is_really_full_is_one_line_and_leaves_nothing(tmp_path, code):
    """The file-size limit of a process stands in for a full disk: writes fail in the kernel."""
    program = f"""
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(adaspring.__file__).parent)!r})
from tests.support import libraries
from adaspring.errors import LibraryError
from adaspring.library.writer import (write_library)
parts = libraries.parts(Path({str(code)!r}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
try:
    write_library(Path({str(tmp_path)!r}) / "new" / "tiny.lib", parts)
except LibraryError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "rank4"}, "'rank4' is taken"),
        ({"name": "a/b"}, "holds a slash"),
        ({"name": "a b"}, "not letters, digits"),
        ({"weights": {"w": np.zeros(3, np.complex64)}}, "weight 'w' has type complex64"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(tmp_path, code, changes, message):
    with pytest.raises(ManifestError, match=message):
        writer.write_library(tmp_path / "x", with_variant(parts(code), **changes))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_cost_that_is_no_number_never_reaches_the_disk(tmp_path, code, value):
    bad = msgspec.structs.replace(parts(code).variants[0].cost, macs_count=figure(value))
    with pytest.raises(ManifestError):
        writer.write_library(tmp_path / "x", with_variant(parts(code), cost=bad))
    assert not (tmp_path / "x").exists()


def test_missing_code_is_named(tmp_path):
    with pytest.raises(LibraryError, match=r"gone\.so"):
        writer.write_library(tmp_path / "x", parts(tmp_path / "gone.so"))


def test_a_runtime_is_packed_and_hashed(tmp_path, code):
    runtime = tmp_path / "libtvm_runtime.so"
    runtime.write_bytes(b"runtime")
    folder = tmp_path / "x"
    manifest = writer.write_library(folder, replace(parts(code), runtime_paths=(runtime,)))
    assert manifest.runtime == "runtime/libtvm_runtime.so"
    assert (folder / manifest.runtime).read_bytes() == b"runtime"
    assert manifest.runtime in {record.path for record in manifest.files}


def test_a_library_of_a_network_without_weights_is_written(tmp_path, code):
    base = parts(code)
    bare = tuple(replace(variant, weights={}) for variant in base.variants)
    manifest = writer.write_library(tmp_path / "x", replace(base, variants=bare))
    reader.verify_files(tmp_path / "x", manifest)


def test_the_format_has_a_json_schema():
    schema = msgspec.json.schema(Manifest)
    assert schema["$defs"]["Figure"]["additionalProperties"] is False
    assert WHEN  # the fixtures' time is one that the reader accepts


@pytest.mark.parametrize("schema", [2, 3])
def test_an_older_librarys_accuracy_is_read_as_the_metric_top1(library, schema):
    raw = json.loads((library / "manifest.json").read_bytes())
    older = as_older(raw, schema)
    found = reader.decode_manifest(json.dumps(older).encode(), library)
    assert [variant.name for variant in found.variants] == [v["name"] for v in raw["variants"]]
    for variant, before in zip(found.variants, older["variants"], strict=True):
        metric = variant.cost.metric
        assert (metric.name, metric.direction, metric.unit) == ("top1", "higher", "ratio")
        assert metric.value == before["cost"]["accuracy"]["value"]
        assert metric.interval == ((0.5, 0.9) if schema == 3 else None)
        assert variant.cost.latency_p90_ms.value == before["cost"]["latency_p90_ms"]["value"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cost: cost["accuracy"].update(value=-0.1), ">= 0"),
        (lambda cost: cost["accuracy"].update(value=1.5), "top1 1.5 is no share"),
        (lambda cost: cost["accuracy"].update(name="mse"), "unknown field `name`"),
        (lambda cost: cost.update(accuracy=3), "Expected `object | null`"),
        (lambda cost: cost.update(colour="red"), "Expected `object | null`"),
        (lambda cost: cost["latency_p90_ms"].update(interval=[0, 1]), "unknown field `interval`"),
    ],
)
def test_a_forged_manifest_of_schema_3_is_refused_too(library, change, message):
    older = as_older(json.loads((library / "manifest.json").read_bytes()), 3)
    change(older["variants"][0]["cost"])
    with pytest.raises(ManifestError, match=message):
        reader.decode_manifest(json.dumps(older).encode(), library)


@pytest.mark.parametrize("variants", [3, ["dense"], {}])
def test_variants_of_schema_3_that_are_none_are_refused(library, variants):
    older = as_older(json.loads((library / "manifest.json").read_bytes()), 3)
    with pytest.raises(ManifestError, match="Expected"):
        reader.decode_manifest(json.dumps({**older, "variants": variants}).encode(), library)


def metric_of(raw):
    return raw["variants"][0]["cost"]["metric"]
