"""Models, data and images that are no plain files, or larger than they look: refused at once."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from adaspring.errors import DataError, ModelError
from adaspring.frontend import load_data, load_model
from adaspring.frontend.image_folder import MOST_PIXELS

from ..support import hostile

image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("kind", hostile.KINDS)
@pytest.mark.parametrize("name", ["net.onnx", "net.pt2", "net.pt"])
def test_a_model_that_is_no_plain_file_is_refused(tmp_path, name, kind):
    with pytest.raises(ModelError, match=name):
        load_model(hostile.put(tmp_path / name, kind))


@pytest.mark.parametrize("kind", [kind for kind in hostile.KINDS if kind != "folder"])
def test_data_that_are_no_plain_file_are_refused(tmp_path, kind):
    with pytest.raises(DataError, match=r"d\.npz"):
        load_data(hostile.put(tmp_path / "d.npz", kind))


@pytest.mark.parametrize("kind", hostile.KINDS)
@pytest.mark.parametrize("name", ["one.png", "one.jpg", "one.npy"])
def test_a_sample_that_is_no_plain_file_is_refused(tmp_path, name, kind):
    (tmp_path / "a").mkdir()
    hostile.put(tmp_path / "a" / name, kind)
    with pytest.raises(DataError, match=name):
        load_data(tmp_path)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "no/such/thing"])
def test_names_that_no_file_can_have_are_refused(name):
    with pytest.raises(ModelError):
        load_model(f"{name}.onnx")
    with pytest.raises(DataError):
        load_data(f"{name}.npz")


def test_missing_permissions_are_told(tmp_path, monkeypatch):
    """Root may read everything, so the system's answer is given by hand."""
    for name in ("net.onnx", "d.npz"):
        (tmp_path / name).write_bytes(b"x")
    opened = os.open

    def forbidden(path, *rest, **named):
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *rest, **named)

    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(ModelError, match=r"net\.onnx cannot be read: Permission denied"):
        load_model(tmp_path / "net.onnx")
    with pytest.raises(DataError, match=r"d\.npz cannot be read: Permission denied"):
        load_data(tmp_path / "d.npz")


def header_of(shape: tuple[int, ...]) -> bytes:
    held = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(held, header)
    return held.getvalue()


def test_an_array_larger_than_the_memory_is_refused_by_its_size(tmp_path):
    (tmp_path / "a").mkdir()
    with (tmp_path / "a" / "one.npy").open("wb") as file:
        file.write(header_of((2**38,)))
        file.truncate(2**40)
    with pytest.raises(DataError, match=r"one\.npy has \d+ bytes, more than"):
        load_data(tmp_path)


def test_an_archive_that_unpacks_to_more_than_the_memory_is_refused(tmp_path):
    """Its directory says so; what it says is all that is unpacked of it."""
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header_of((4,)) + bytes(16))
        archive.filelist[0].file_size = archive.filelist[0].compress_size = 2**44
    with pytest.raises(DataError, match=r"d\.npz holds 17592186044416 bytes of arrays, more than"):
        load_data(path)


def png(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    image.fromarray(pixels).save(path)


def test_a_grey_png_of_16_bits_keeps_its_values(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (5, 7), dtype=np.uint16)
    pixels[0, :2] = 0, 65535
    png(pixels, tmp_path / "a" / "one.png")
    (sample,) = load_data(tmp_path).inputs[0]
    assert sample.dtype == np.float32
    np.testing.assert_allclose(sample, pixels[np.newaxis] / np.float64(65535), atol=1e-7)
    assert np.unique(sample).size == np.unique(pixels).size


def test_eight_and_sixteen_bits_of_one_picture_are_the_same_samples(tmp_path):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    png(pixels, tmp_path / "a" / "deep.png")
    png(257 * pixels.astype(np.uint16), tmp_path / "b" / "deep.png")
    first, second = load_data(tmp_path).inputs[0]
    np.testing.assert_allclose(first, second, atol=1e-7)


def colour_png(path: Path, width: int, height: int, depth: int, colour: int, rows: bytes) -> None:
    """A PNG by its specification, since Pillow writes no colour of 16 bits."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + crc

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    head = chunk(b"IHDR", size + bytes([depth, colour, 0, 0, 0]))
    path.parent.mkdir(exist_ok=True)
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_a_png_of_16_bits_that_pillow_would_cut_is_refused(tmp_path, colour, channels):
    rows = (b"\0" + bytes(2 * channels * 2)) * 2
    colour_png(tmp_path / "a" / "one.png", 2, 2, 16, colour, rows)
    with pytest.raises(DataError, match=r"one\.png has 16 bits a channel .*\.npy"):
        load_data(tmp_path)


@pytest.mark.parametrize("side", [8193, 14_000, 40_000])
def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch, side):
    assert side * side > MOST_PIXELS
    colour_png(tmp_path / "a" / "one.png", side, side, 8, 0, b"")
    monkeypatch.setattr(image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(
        DataError, match=r"one\.png has .*more than 67108864( pixels)?; scale it down"
    ):
        load_data(tmp_path)


def test_a_postscript_file_under_an_images_name_is_not_run(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n")
    with pytest.raises(DataError, match=r"one\.png cannot be read"):
        load_data(tmp_path)


def with_external_data(path: Path, location: str) -> Path:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 2)) for n in ("x", "y")]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "graph", value[:1], value[1:], [weight])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_external_data_that_are_no_plain_file_are_refused(tmp_path, kind):
    hostile.put(tmp_path / "w.bin", kind)
    with pytest.raises(ModelError, match=r"w\.bin|'w'"):
        load_model(with_external_data(tmp_path / "net.onnx", "w.bin"))


@pytest.mark.parametrize("location", ["a\0b", "a" * 300, "", "."])
def test_external_data_at_no_path_are_refused(tmp_path, location):
    with pytest.raises(ModelError, match=r"net\.onnx"):
        load_model(with_external_data(tmp_path / "net.onnx", location))
