"""A processor that LLVM does not know is named before anything is built for it."""

import msgspec
import pytest

from adaspring import targets
from adaspring.backends.codegen.processor import unknown_processor
from adaspring.explore.plan import find_obstacle

BOARD = targets.find("raspberry-pi-5")


def spelt(**changes):
    return msgspec.structs.replace(BOARD, target={**BOARD.target, **changes})


@pytest.mark.parametrize("board", targets.BOARDS, ids=lambda board: board.name)
def test_the_processors_of_the_known_boards_are_known(board):
    assert unknown_processor(board) is None


def test_a_misspelt_processor_is_named_with_one_that_is_like_it():
    said = unknown_processor(spelt(mcpu="cortex-a67"))
    assert "no processor 'cortex-a67' for aarch64-linux-gnu; did you mean cortex-a" in said
    assert find_obstacle(spelt(mcpu="cortex-a67")) == f"raspberry-pi-5: {said}"


def test_a_misspelt_feature_is_named():
    assert unknown_processor(spelt(mattr=["+dotprod"])) is None
    said = unknown_processor(spelt(mattr=["+dotprod", "+dotprodd"]))
    assert said == "LLVM knows no feature 'dotprodd' of cortex-a76"
