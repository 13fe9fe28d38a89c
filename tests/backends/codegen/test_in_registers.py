"""Sums stay in registers, and what is behind them is computed on whole vectors."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from torch import nn
from tvm import IRModule

from adaspring import targets
from adaspring.backends.build import prepare
from adaspring.backends.codegen import tir_pipeline
from adaspring.backends.schedule.default import schedule_cpu
from adaspring.ir.model import Model
from adaspring.passes import Quantize, SixteenBit, run

from ...support.boards import AVX2, VNNI
from ...support.passes import Small, data, imported

BOARDS = {"avx2": AVX2, "avx512": VNNI, "neon": targets.find("raspberry-pi-5")}
RECIPES = {"float32": (), "int8": (Quantize(),), "bfloat16": (SixteenBit(dtype="bfloat16"),)}


@cache
def network(recipe: str) -> Model:
    """A convolution, and dense layers with GELU between them, of widths that fill vectors."""
    plain = Small(
        lambda self, x: self.c(nn.functional.gelu(self.b(torch.relu(self.a(x)).mean((2, 3))))),
        a=nn.Conv2d(16, 32, 3), b=nn.Linear(32, 64), c=nn.Linear(64, 32),
    )  # fmt: skip
    model = imported(plain, (1, 16, 12, 12))
    return run(model, RECIPES[recipe], data(model)).model if RECIPES[recipe] else model


def lowered(recipe: str, board: str) -> str:
    """The functions of the network, as LLVM's code is generated from them."""
    prepared = prepare(network(recipe), BOARDS[board])
    scheduled = schedule_cpu(prepared.module, prepared.isa, None)
    functions = {
        var: function.with_attr("global_symbol", var.name_hint)
        for var, function in scheduled.functions_items()
        if var.name_hint != "main"
    }
    return tir_pipeline.lower(IRModule(functions), prepared.target).script()


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_no_local_buffer_is_taken_from_a_pool(recipe, board):
    lines = lowered(recipe, board).splitlines()
    assert [line for line in lines if "alloc_local" in line], "sums are kept somewhere"
    assert not [line for line in lines if "AllocWorkspace" in line and 'scope="local"' in line]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_rounding_and_erf_are_computed_on_vectors(recipe, board):
    text = lowered(recipe, board)
    assert '"float32", "llvm.nearbyint"' not in text
    assert "erf" not in text
    assert not [line for line in text.splitlines() if "for " in line and "_s in " in line]
    assert recipe != "int8" or re.search(r'"float32x\d+", "llvm.nearbyint"', text)
