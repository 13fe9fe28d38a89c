"""--shape and --pad: what they mean, and what they refuse."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from adaspring.cli.shared.parse import parse_pad, parse_shapes
from adaspring.cli.watch.session import Session
from adaspring.cli.watch.settings import Settings
from adaspring.errors import UsageError
from adaspring.frontend.shapes import MOST_SHAPES, check_shapes
from adaspring.library.loader import load
from adaspring.library.manifest import SCHEMA_VERSION

from ..support.cli import adaspring, answer, measure_briefly, refused
from ..support.free_shapes import masked_dense
from ..support.waiting import wait_until


@pytest.mark.parametrize(
    ("texts", "shapes"),
    [
        (None, ()),
        (["x=1,3,32,32"], ({"x": (1, 3, 32, 32)},)),
        (["x=1,3", "x=8,3"], ({"x": (1, 3)}, {"x": (8, 3)})),
        (["ids=1,{16,32}"], ({"ids": (1, 16)}, {"ids": (1, 32)})),
        (
            ["ids=1,{16,32}", "mask=1,{16,32}"],
            ({"ids": (1, 16), "mask": (1, 16)}, {"ids": (1, 32), "mask": (1, 32)}),
        ),
        (["ids=1,{4,8}", "w=2"], ({"ids": (1, 4), "w": (2,)}, {"ids": (1, 8), "w": (2,)})),
        (["x=1,{4,8}", "x=2,4"], ({"x": (1, 4)}, {"x": (1, 8)}, {"x": (2, 4)})),
        (["x={4}"], ({"x": (4,)},)),
    ],
)
def test_shapes_go_together_by_position(texts, shapes):
    assert parse_shapes(texts) == shapes


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["x"], "is not an input's name"),
        (["x="], "is not an input's name"),
        (["=1,3"], "is not an input's name"),
        (["x=1,a"], "is not an input's name"),
        (["x=1,{16,}"], "is not an input's name"),
        (["x=1,{}"], "is not an input's name"),
        (["x=1,{16,32"], "is not an input's name"),
        (["a=b=1,2"], "is not an input's name"),
        (["x=1;3"], "is not an input's name"),
        (["x={1,8},{16,32}"], "has 2 lists, which could go together or each with each"),
        (["a=1,{2,3}", "b=1,{2,3,4}"], "gives a 2 shapes and b 3; they go together"),
    ],
)
def test_what_is_no_shape_or_could_mean_two_things_is_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        parse_shapes(texts)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"x": (0, 3)}, "x=0,3 has an extent below 1"),
        ({"x": (-1, 3)}, "x=-1,3 has an extent below 1"),
        ({"x": (1.5, 3)}, "give whole numbers"),
        ({"x": 3}, "give whole numbers"),
        ([{"x": (1, 3)}, {"x": (1, 3)}], "x=1,3 is given twice"),
        ([{"x": (1, 3)}, {"y": (1, 3)}], "one shape names the inputs x, another y"),
        ([{"x": (n, 3)} for n in range(1, MOST_SHAPES + 2)], "at most 16"),
    ],
)
def test_shapes_that_no_library_could_hold_are_refused(shapes, message):
    with pytest.raises(UsageError, match=message) as caught:
        check_shapes(shapes)
    assert "\n" not in str(caught.value)


def test_one_shape_is_a_list_of_one():
    assert check_shapes(None) == (None,)
    assert check_shapes({}) == (None,)
    assert check_shapes({"x": [1, 3]}) == ({"x": (1, 3)},)
    assert check_shapes([{"x": (1, 3)}]) == ({"x": (1, 3)},)


def test_padding_is_a_number_for_each_input():
    assert parse_pad(["ids=0", "mask=-1e9"]) == {"ids": 0.0, "mask": -1e9}
    for text in ("ids", "=0", "ids=", "ids=none", "ids=nan", "ids=inf"):
        with pytest.raises(UsageError, match="is not an input and a number"):
            parse_pad([text])
    with pytest.raises(UsageError, match="gives ids twice"):
        parse_pad(["ids=0", "ids=1"])


@pytest.mark.slow
def test_compile_inspect_run_and_bench_show_every_shape(tmp_path, monkeypatch):
    measure_briefly(monkeypatch)
    masked_dense(tmp_path / "net.onnx")
    lib = tmp_path / "net.lib"
    found = answer(
        "compile", tmp_path / "net.onnx", "--shape", "x={2,4},8,4", "--pad", "x=0", "--pad",
        "mask=0", "--target", "null", "--trials", 0, "--logs", tmp_path / "logs", "-o", lib,
    )  # fmt: skip
    (dense,) = found["boards"][0]["variants"]
    (further,) = dense["further_shapes"]
    assert further["ratio_to_dense"] == dense["ratio_to_dense"] == 1
    assert further["cost"]["macs_count"]["value"] == 2 * dense["cost"]["macs_count"]["value"]

    held = answer("inspect", lib)
    assert held["schema_version"] == SCHEMA_VERSION
    assert held["inputs"][0]["shape"] == [2, 8, 4]
    assert held["further_shapes"][0]["inputs"][1] == {
        "name": "mask", "shape": [4, 8, 1], "dtype": "float32"
    }  # fmt: skip
    assert held["padding"] == {"x": 0.0, "mask": 0.0}
    shown = adaspring("inspect", lib).stdout
    assert "x float32 4x8x4, mask float32 4x8x1" in shown
    assert "x with 0, mask with 0, up to the next larger shape" in shown

    timed = answer("bench", lib, "--seconds", 0.1)["variants"]
    assert [entry["inputs"]["x"] for entry in timed] == [[2, 8, 4], [4, 8, 4]]

    assert answer("run", lib)["inputs"] == {"x": [2, 8, 4], "mask": [2, 8, 1]}
    whole = {"x": np.ones((4, 8, 4), np.float32), "mask": np.ones((4, 8, 1), np.float32)}
    np.savez(tmp_path / "whole.npz", **whole)
    ran = answer("run", lib, "--input", tmp_path / "whole.npz")
    assert ran["outputs"][0]["shape"] == [4, 8, 8]
    np.savez(tmp_path / "other.npz", **{name: value[:, :3] for name, value in whole.items()})
    refused(
        adaspring("run", lib, "--input", tmp_path / "other.npz"),
        "further shapes of the library: x 4x8x4, mask 4x8x1",
    )
    watch_at_the_second_shape(lib, tuple(whole.values()))


def watch_at_the_second_shape(lib, inputs):
    """It runs, and what the library does not record is None."""
    with load(lib) as library, closing(Session(library, [inputs], Settings(), shape=1)) as session:
        session.start()
        wait_until(lambda: session.state()["measured"]["calls_count"] > 0)
        assert session.failure is None
        assert session.state()["predicted"].metric is None
        assert session.facts["metric"] is session.facts["metric_range"] is None


def test_padding_that_is_not_asked_for_right_is_wrong_use(tmp_path):
    masked_dense(tmp_path / "net.onnx")
    command = ("compile", tmp_path / "net.onnx", "-o", tmp_path / "lib", "--target", "null")
    one = (*command, "--shape", "x=2,8,4", "--pad", "x=0")
    refused(adaspring(*one), "--pad: 'x' is padded, but is no input whose shapes differ", status=2)
    several = (*command, "--shape", "x={2,4},8,4", "--pad", "x=0")
    refused(adaspring(*several), "input 'mask' has several shapes, and no value", status=2)
    zero = (*command, "--shape", "x={0,4},8,4")
    refused(adaspring(*zero), "x=0,8,4 has an extent below 1", status=2)
