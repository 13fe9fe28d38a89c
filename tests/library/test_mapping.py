"""Weights are mapped: laid out for it, never copied, valid whatever becomes of the folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import adaspring
from adaspring import targets
from adaspring.errors import LibraryError
from adaspring.library import writer
from adaspring.library.manifest import TensorSpec
from adaspring.library.weights import ALIGNMENT_BYTES, TensorPool, map_tensors

from ..support.libraries import doubled, parts, variant

WIDTH = 2048
ONES = [np.ones((2, 48), np.float32)] * 2


def odd_tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = [(), (1,), (3, 5), (16,), (0, 4), (7, 64), (63,), (2, 3, 11), (64, 64)]
    kinds = ["float32", "int8", "float64", "bool", "float16", "int64", "uint8"]
    return {
        f"{kind}{shape}": np.asarray(rng.integers(0, 2, shape)).astype(kind)
        for shape in shapes
        for kind in kinds
    }


def saved(folder: Path, tensors: dict[str, np.ndarray]) -> tuple[Path, dict[str, np.ndarray]]:
    pool = TensorPool()
    keys = {pool.add(name, value): value for name, value in tensors.items()}
    pool.save(folder / "w.safetensors")
    return folder / "w.safetensors", keys


def mapped(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        return map_tensors(file)


def test_safetensors_own_reader_reads_what_was_laid_out_for_mapping(tmp_path):
    path, wanted = saved(tmp_path, odd_tensors())
    theirs = load_file(path)
    for key, value in wanted.items():
        assert theirs[key].dtype == value.dtype
        assert theirs[key].shape == value.shape
        np.testing.assert_array_equal(theirs[key], value)
    extra = set(theirs) - set(wanted)
    assert sum(theirs[key].nbytes for key in extra) < ALIGNMENT_BYTES * len(wanted)


def test_every_tensor_is_mapped_on_a_boundary_with_its_values(tmp_path):
    path, wanted = saved(tmp_path, odd_tensors())
    found = mapped(path)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value)
        assert found[key].dtype == value.dtype
        assert found[key].shape == value.shape
        assert found[key].ctypes.data % ALIGNMENT_BYTES == 0


def test_tensors_that_fill_whole_boundaries_need_no_fillers(tmp_path):
    path, _ = saved(tmp_path, {f"w{i}": np.full((16, i), i, np.float32) for i in range(1, 9)})
    assert not any(key.startswith("_filler") for key in load_file(path))


def test_a_foreign_byte_order_is_stored_as_the_formats(tmp_path):
    value = np.arange(20, dtype=">f4")
    path, keys = saved(tmp_path, {"w": value})
    np.testing.assert_array_equal(load_file(path)[next(iter(keys))], value)


def test_what_is_mapped_may_be_written_to_without_the_file_changing(tmp_path):
    path, _ = saved(tmp_path, {"w": np.zeros(1024, np.float32)})
    before = path.read_bytes()
    (array,) = mapped(path).values()
    array[...] = 1
    assert path.read_bytes() == before


def test_a_file_of_another_writer_whose_tensors_lie_anywhere_is_refused(tmp_path):
    save_file({"a": np.ones(3, np.float32), "b": np.ones(3, np.float32)}, tmp_path / "w")
    with pytest.raises(LibraryError, match="not on a boundary of 64 bytes; rebuild") as caught:
        mapped(tmp_path / "w")
    assert str(tmp_path / "w") in str(caught.value)


def test_every_cut_of_a_weights_file_is_refused(tmp_path):
    path, _ = saved(tmp_path, {"w": np.ones(100, np.float32)})
    data = path.read_bytes()
    filler_bytes = -100 * 4 % ALIGNMENT_BYTES
    for length in range(len(data) - filler_bytes):
        path.write_bytes(data[:length])
        with pytest.raises(LibraryError, match="not a library's safetensors file"):
            mapped(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"F32"', b'"F31"'), (b"[100]", b"[101]"), (b"[100]", b"[ -4]"), (b'"shape"', b'"shade"')],
)
def test_a_header_that_is_wrong_is_refused(tmp_path, old, new):
    path, _ = saved(tmp_path, {"w": np.ones(100, np.float32)})
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(LibraryError, match="not a library's safetensors file"):
        mapped(path)


def run(net) -> np.ndarray:
    return net(*ONES)[0].copy()


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "a" / "tiny.lib"
    writer.write_library(path, parts())
    return path


def swapped():
    """The same library, the code and weights of `dense` and `rank16` under each other's names."""
    first, second, third = parts().variants
    return replace(
        parts(),
        variants=(
            replace(first, code_path=second.code_path, weights=second.weights),
            replace(second, code_path=first.code_path, weights=first.weights),
            third,
        ),
    )


def test_an_open_library_computes_the_same_after_its_folder_is_replaced_and_deleted(folder):
    net = adaspring.load(folder).open()
    before = run(net)
    writer.write_library(folder, doubled())
    np.testing.assert_array_equal(run(net), before)
    shutil.rmtree(folder)
    np.testing.assert_array_equal(run(net), before)
    net.use("rank4")
    assert np.isfinite(run(net)).all()


def test_weights_come_from_the_file_that_was_verified_even_when_first_used_later(folder):
    net = adaspring.load(folder).open("rank4", preload=False)
    fresh = adaspring.load(folder).open("dense")
    writer.write_library(folder, doubled())
    net.use("dense")
    np.testing.assert_array_equal(run(net), run(fresh))


def test_a_variant_that_is_loaded_after_the_library_was_replaced_and_deleted_is_the_old_one(folder):
    net = adaspring.load(folder).open("dense", preload=False)
    wanted = {name: run(adaspring.load(folder).open(name)) for name in ("rank4", "rank16")}
    other = replace(variant("rank4", None), name="rank4")
    first, second, _ = parts().variants
    writer.write_library(folder, replace(parts(), variants=(first, second, other)))
    net.use("rank4")
    np.testing.assert_array_equal(run(net), wanted["rank4"])
    shutil.rmtree(folder)
    net.use("rank16")
    np.testing.assert_array_equal(run(net), wanted["rank16"])


@pytest.mark.parametrize("change", ["overwrite", "cut", "append"])
def test_code_that_is_changed_in_its_place_before_it_is_loaded_is_refused(folder, change):
    net = adaspring.load(folder).open("dense", preload=False)
    code = folder / "code" / "rank4.so"
    size_bytes = code.stat().st_size
    with code.open("r+b") as file:
        if change == "overwrite":
            file.write((folder / "code" / "rank16.so").read_bytes()[:size_bytes])
        file.truncate(size_bytes + {"overwrite": 0, "cut": -1, "append": 1}[change])
    with pytest.raises(LibraryError, match=r"rank4\.so: .*not"):
        net.use("rank4")
    assert net.variant == "dense"


def test_code_that_is_overwritten_in_its_place_runs_as_the_manifest_of_each_opening_says(folder):
    """The inode stays the same, and the system's loader would take it for what it had."""
    old = adaspring.load(folder).open("dense", preload=False)
    before = run(old)
    other = folder.parent / "other.lib"
    writer.write_library(other, swapped())
    weights = folder / "weights" / "shared.safetensors"
    weights.unlink()  # what is mapped must not be overwritten
    for path in (path for path in other.rglob("*") if path.is_file()):
        (folder / path.relative_to(other)).write_bytes(path.read_bytes())
    new = adaspring.load(folder).open("dense")
    np.testing.assert_array_equal(run(new), run(adaspring.load(other).open("dense")))
    np.testing.assert_array_equal(run(old), before)


def wide_library(folder: Path) -> None:
    """One variant whose weights are 16 MiB."""
    import tvm
    from tvm import relax

    x = relax.Var("x", relax.TensorType((1, WIDTH), "float32"))
    w = relax.Var("w", relax.TensorType((WIDTH, WIDTH), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            out = builder.emit_output(relax.op.matmul(x, w))
        builder.emit_func_output(out)
    module = relax.transform.BundleModelParams()(builder.finalize())
    code = folder / "wide.so"
    tvm.compile(module, target=tvm.target.Target(targets.null().target)).export_library(str(code))
    weight = np.random.default_rng(0).standard_normal((WIDTH, WIDTH), dtype=np.float32)
    base = parts(code)
    wide = replace(base.variants[0], weights={"w": weight})
    specs = [TensorSpec(name=name, shape=(1, WIDTH), dtype="float32") for name in "xy"]
    whole = replace(base, inputs=(specs[0],), outputs=(specs[1],), variants=(wide,), dropped=())
    writer.write_library(folder / "wide.lib", whole)


WATCH = """
import re, sys
import numpy as np
import adaspring

def smaps():
    kinds, name = {}, ""
    for line in open("/proc/self/smaps"):
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            name = "weights" if "shared.safetensors" in line else "other"
        else:
            key, _, value = line.partition(":")
            if key in ("Rss", "Anonymous", "Private_Dirty"):
                kinds[name, key] = kinds.get((name, key), 0) + 1024 * int(value.split()[0])
    return kinds

x = np.ones((1, int(sys.argv[2])), np.float32)
library = adaspring.load(sys.argv[1])
before = smaps()
net = library.open()
net(x)
after = smaps()
print(after["other", "Anonymous"] - before["other", "Anonymous"])
print(after["weights", "Rss"], after["weights", "Anonymous"], after["weights", "Private_Dirty"])
"""


def test_weights_that_are_used_are_the_files_own_pages_and_no_anonymous_memory(tmp_path):
    wide_library(tmp_path)
    command = [sys.executable, "-c", WATCH, str(tmp_path / "wide.lib"), str(WIDTH)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, resident, anonymous, dirty = map(int, done.stdout.split())
    assert resident >= 4 * WIDTH * WIDTH
    assert anonymous == dirty == 0
    assert grown < 4 * WIDTH * WIDTH / 4
