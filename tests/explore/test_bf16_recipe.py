"""The recipe bf16: for boards that multiply bfloat16, measured and gated like any other."""

from __future__ import annotations

import numpy as np
import pytest

from adaspring import targets
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.tuning.settings import Tuning
from adaspring.explore.compile import compile_libraries
from adaspring.explore.plan import plan
from adaspring.explore.recipes import find_recipe, find_recipes, why_skipped, why_unsuited
from adaspring.explore.request import Bounds, Request
from adaspring.frontend.data import Dataset, split
from adaspring.reference.executor import evaluate

from ..support import networks
from ..support.boards import NEOVERSE_V1
from ..support.passes import data, known

PI4 = targets.find("raspberry-pi-4")
DENSE, BF16 = find_recipes(("bf16",))


def request(folder, *boards, **changes) -> Request:
    model = known(networks.Mlp)
    inputs = data(model, 60).inputs
    labels = evaluate(model, Dataset(inputs=inputs))[0].argmax(1)
    settings = {
        "recipes": (DENSE, BF16),
        "bounds": Bounds(max_drop=1.0, front_only=False),
        "tuning": Tuning(trials=0),
        "logs": folder / "logs",
        "data": split(Dataset(inputs=inputs, targets=labels), seed=0),
    }
    return Request(model=model, boards=boards, output=folder / "lib", **(settings | changes))


@pytest.mark.usefixtures("aarch64_linker")
def test_of_two_boards_the_one_with_the_instruction_gets_the_variant(tmp_path):
    result = compile_libraries(plan(request(tmp_path, NEOVERSE_V1, PI4)))
    with_it, without = (board.manifest for board in result.boards)
    assert [variant.name for variant in with_it.variants] == ["dense", "bf16"]
    assert not with_it.dropped
    assert [variant.name for variant in without.variants] == ["dense"]
    (dropped,) = without.dropped
    assert dropped.reason == "raspberry-pi-4 has no instruction that multiplies bfloat16"
    dense, bf16 = with_it.variants
    assert {f.dtype for f in bf16.functions if f.macs_count} == {"bfloat16"}
    assert bf16.cost.size_bytes.value < dense.cost.size_bytes.value
    assert bf16.cost.metric.value > 0.9


def test_it_is_skipped_where_no_board_has_the_instruction(tmp_path):
    result = compile_libraries(plan(request(tmp_path, targets.null())))
    (skipped,) = result.skipped
    assert skipped.name == "bf16"
    assert skipped.reason == "null has no instruction that multiplies bfloat16"


def test_only_recipes_of_16_bits_ask_for_the_instruction():
    unsuited = {r.name for r in find_recipes(()) if why_unsuited(r, PI4) is not None}
    assert unsuited == {"bf16", "fp16"}
    for recipe in find_recipes(()):
        skipped = why_skipped(recipe, boards=(PI4, NEOVERSE_V1), has_data=True, named=False)
        assert (skipped is not None) == (recipe.name == "fp16")


def test_bfloat16_is_for_processors_and_float16_for_gpus():
    mali, orin = targets.find("rock-5b-mali"), targets.find("jetson-orin")
    fp16 = find_recipe("fp16")
    for gpu in (mali, orin):
        assert why_unsuited(BF16, gpu) is not None
        assert why_unsuited(fp16, gpu) is None


def test_on_this_machine_its_outputs_are_the_references(tmp_path):
    host = targets.host()
    if instruction_set(host).bfloat16 is None:
        pytest.skip("this processor does not multiply bfloat16")
    result = compile_libraries(plan(request(tmp_path, host)))
    (board,) = result.boards
    found = {variant.name: variant.agreement for variant in board.manifest.variants}
    # On so small a network it may measure slower than dense; wrong it must not be.
    assert all("not faster than dense" in each.reason for each in board.manifest.dropped)
    assert {*found, *(each.name for each in board.manifest.dropped)} == {"dense", "bf16"}
    for agreement in found.values():
        assert agreement.max_error_ratio <= agreement.tolerance_ratio
    assert np.isfinite(board.latency_ratios["bf16"])
