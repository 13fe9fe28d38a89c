"""The character error rate: what is read by the best path, and edits over characters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaspring.metrics.text import CER, read_best_path

ALPHABET = "-abcdefghijklmnopqrstuvwxyz"
TEXTS = st.lists(st.integers(1, 3), max_size=5)


def numbers(text):
    return [ALPHABET.index(letter) for letter in text]


def scores(path):
    return np.eye(len(ALPHABET), dtype=np.float32)[numbers(path)]


def error_rate(ours, theirs):
    """Of one sample: what is read, with blanks between, and the target."""
    output = np.array([[number for each in ours for number in (each, 0)] or [0]])
    targets = np.empty(1, object)
    targets[0] = theirs
    return CER.value([output], targets)


@pytest.mark.parametrize(
    ("ours", "theirs", "edits"),
    [("kitten", "sitting", 3), ("saturday", "sunday", 3), ("", "abc", 3), ("abc", "abc", 0),
     ("rosettacode", "raisethysword", 8)],
)  # fmt: skip
def test_edits_are_the_well_known_ones(ours, theirs, edits):
    assert error_rate(numbers(ours), numbers(theirs)) == edits / len(theirs)


def plainly(ours, theirs):
    """The definition, by recursion."""
    if not ours or not theirs:
        return len(ours) + len(theirs)
    if ours[0] == theirs[0]:
        return plainly(ours[1:], theirs[1:])
    pairs = ((ours[1:], theirs), (ours, theirs[1:]), (ours[1:], theirs[1:]))
    return 1 + min(plainly(*pair) for pair in pairs)


@given(TEXTS, TEXTS.filter(bool))
def test_edits_are_the_fewest(ours, theirs):
    assert error_rate(ours, theirs) == plainly(ours, theirs) / len(theirs)


def test_repeats_are_one_character_and_blanks_part_them():
    assert read_best_path(scores("hh-e-ll-lll--o")) == numbers("hello")
    assert read_best_path(scores("----")) == []
    assert read_best_path(np.array(numbers("aa-a"))) == numbers("aa")


@pytest.mark.parametrize("form", ["padded", "lists"])
@pytest.mark.parametrize("layout", ["steps, classes", "steps, 1, classes", "class numbers"])
def test_all_edits_count_over_all_characters(form, layout):
    outputs = np.stack([scores("ca-t-"), scores("dd-og"), scores("-----")])
    if layout == "steps, 1, classes":
        outputs = outputs[:, :, None]
    if layout == "class numbers":
        outputs = outputs.argmax(axis=-1)
    texts = [numbers("cat"), numbers("fog"), numbers("owls")]
    targets = np.empty(3, object)
    targets[:] = texts
    if form == "padded":
        targets = np.full((3, 5), -1)
        for row, text in zip(targets, texts, strict=True):
            row[: len(text)] = text
    assert CER.value([outputs], targets) == pytest.approx((0 + 1 + 4) / 10)
    assert CER.direction == "lower"
