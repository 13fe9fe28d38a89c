"""Boards beside the package's own: processors that tests build for, and one written in TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from adaspring import targets
from adaspring.backends.kernels.isa import Dot, InstructionSet, instruction_set

HOST, NULL = targets.host(), targets.null()


def as_toml(board: Mapping[str, Any]) -> str:
    """A board's fields as its .toml file."""
    rows, tables = list[str](), list[str]()
    for key, value in board.items():
        if isinstance(value, Mapping):
            tables += _table(key, value)
        else:
            rows.append(f"{key} = {json.dumps(value)}")
    return "\n".join([*rows, *tables])


def _table(name: str, values: Mapping[str, Any]) -> list[str]:
    """A table, and after it those that it holds."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    rows = [f"[{name}]", *(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in plain.items())]
    for key in values.keys() - plain.keys():
        rows += _table(f"{name}.{key}", values[key])
    return rows


def x86(name: str, mcpu: str) -> targets.Board:
    """An x86 board of one core, with this processor's instructions."""
    target = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": mcpu}
    return msgspec.structs.replace(NULL, name=name, target=target, architecture="x86_64")


AVX2 = x86("avx2", "haswell")
SKYLAKE = x86("skylake", "skylake-avx512")
VNNI = x86("vnni", "cascadelake")
ZEN4 = x86("zen4", "znver4")
NEOVERSE_V1 = msgspec.structs.replace(
    targets.find("raspberry-pi-5"),
    name="neoverse-v1",
    cpu_features=(),  # under emulation /proc/cpuinfo is this machine's
    target={"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "neoverse-v1", "num-cores": 1},
)

# As an ARM core without its instruction: int8 activations, kept 128 below the network's uint8.
SIGNED = InstructionSet(
    float_lanes=4,
    register_count=16,
    int8=Dot(lanes=4, depth=1, activation_dtype="int8", intrinsic=None),
)
INT8_KERNELS = {
    "host": instruction_set(HOST),
    "null": instruction_set(NULL),
    "signed": SIGNED,
    "avx2": instruction_set(AVX2),
}
"""Instruction sets by which int8 layers are multiplied in different ways."""

BOARD_TOML = """
name = "my-board"
description = "a board of mine"
device = "cpu"
architecture = "aarch64"
core_count = 2
memory_bytes = 1073741824
l1_cache_bytes = 32768
l2_cache_bytes = 524288
rpc_key = "my-board"

[target]
kind = "llvm"
mtriple = "aarch64-linux-gnu"
mcpu = "cortex-a53"
num-cores = 2

[sources]
target = "datasheet"
core_count = "datasheet"
memory_bytes = "datasheet"
l1_cache_bytes = "datasheet"
l2_cache_bytes = "datasheet"
cpu_features = "none used"
"""
