"""--shape and --pad: what they mean, and what they refuse."""

from __future__ import annotations

import pytest

from adaspring.cli.shared.parse import parse_pad, parse_shapes
from adaspring.errors import UsageError
from adaspring.frontend.shapes import MOST_SHAPES, check_shapes


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
