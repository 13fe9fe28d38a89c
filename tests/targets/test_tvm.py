"""TVM accepts every board's target, and sees the instructions that the board promises."""

from __future__ import annotations

import pytest
import tvm
from tvm.target import Target, codegen

from adaspring import targets
from adaspring.targets import x86

ALL = (*targets.BOARDS, targets.host(), targets.null())


@pytest.mark.parametrize("board", ALL, ids=lambda board: board.name)
def test_tvm_accepts_the_target_and_keeps_its_limits(board):
    target = Target(board.target)
    for key, value in board.target.items():
        if key in ("kind", "host"):
            continue
        kept = target.attrs[key]
        assert (list(kept) if isinstance(value, list) else kept) == value, key
    if board.device != "cpu":
        assert target.host.attrs["mtriple"].startswith(board.architecture)


@pytest.mark.parametrize(
    ("name", "features", "absent"),
    [
        ("raspberry-pi-4", ["neon"], ["dotprod", "fullfp16", "sve"]),
        ("raspberry-pi-5", ["neon", "dotprod", "fullfp16"], ["i8mm", "sve"]),
        ("rock-5b", ["neon", "dotprod", "fullfp16"], ["i8mm", "sve"]),
    ],
)
def test_llvm_sees_what_the_cores_have(name, features, absent):
    target = Target(targets.find(name).target)
    assert all(codegen.target_has_features(feature, target) for feature in features)
    assert not any(codegen.target_has_features(feature, target) for feature in absent)


def test_llvm_sees_every_extension_of_this_machine():
    board = targets.host()
    target = Target(board.target)
    for attribute in board.target.get("mattr", ()):
        assert codegen.target_has_features(attribute.removeprefix("+"), target)


@pytest.mark.parametrize("level", x86.LEVELS)
def test_llvm_uses_no_extension_that_a_level_does_not_promise(level):
    """What the level's flags do not cover must not be in LLVM's reading of it."""
    target = Target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": level})
    assert codegen.target_has_features("avx2", target) == ("avx2" in x86.LEVELS[level])
    assert codegen.target_has_features("avx512f", target) == ("avx512f" in x86.LEVELS[level])
    assert not codegen.target_has_features("avx512vnni", target)


def test_reductions_for_mali_have_no_barrier_inside_a_branch():
    """OpenCL leaves that undefined; TVM does it where a warp is wider than one thread."""
    from tvm import te
    from tvm.s_tir import dlight

    target = Target(targets.find("rock-5b-mali").target)
    a = te.placeholder((64, 1024), "float32")
    k = te.reduce_axis((0, 1024))
    b = te.compute((64,), lambda i: te.sum(a[i, k], axis=k))
    module = tvm.IRModule({"main": te.create_prim_func([a, b])})
    with target:
        module = dlight.ApplyDefaultSchedule(dlight.gpu.Reduction(), dlight.gpu.Fallback())(module)
    source = tvm.compile(module, target=target).mod.imports[0].inspect_source()
    depth, barriers = [], 0
    for line in source.splitlines():
        if line.strip().startswith("barrier("):
            barriers += 1
            assert not any("if (" in opened for opened in depth), line
        depth.extend([line] * line.count("{"))
        for _ in range(line.count("}")):
            depth.pop()
    assert barriers > 0
