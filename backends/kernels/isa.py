"""What a board's instruction set wants of a kernel: vector widths, registers, dot products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tvm.target import Target, codegen

from ...library.manifest import BoardRecord
from ...targets import Board
from . import intrinsics, tensor_cores
from .sixteen_bit import BITS


@dataclass(frozen=True, kw_only=True)
class Dot:
    """How this instruction set multiplies low-precision numbers into 32-bit sums.

    `depth` products are summed in each of `lanes` 32-bit lanes by one `intrinsic`; without one,
    the multiply-add is left to LLVM and `depth` is 1. Activations are stored as
    `activation_dtype`; bfloat16 as its bits, in uint16. Sums of int8 weights cannot overflow before
    65,000 products (255 × 127 each).
    """

    lanes: int
    depth: int
    activation_dtype: str
    intrinsic: str | None


@dataclass(frozen=True, kw_only=True)
class InstructionSet:
    """Vector facts of a CPU. `whole_rows` (GPUs) packs all output channels into one block.

    `tensor_cores` says whether there are those of NVIDIA's.
    `bfloat16` is None where no instruction multiplies it; `float16` says whether half the memory
    is worth that type.
    """

    float_lanes: int
    register_count: int
    int8: Dot
    bfloat16: Dot | None = None
    float16: bool = False
    whole_rows: bool = False
    tensor_cores: bool = False

    def multiplies(self, dtype: str) -> bool:
        """Whether an instruction reads values of that type: float32, int8 or one of 16 bits."""
        if dtype in ("bfloat16", "float16"):
            return self.float16 if dtype == "float16" else self.bfloat16 is not None
        return dtype == "float32" or (dtype == "int8" and self.int8.intrinsic is not None)

    def dot(self, dtype: str) -> Dot:
        """How weights that are stored as `dtype`, int8 or 16 bits, are multiplied and summed."""
        if dtype == "int8":
            return self.int8
        if dtype == BITS and self.bfloat16 is not None:
            return self.bfloat16
        return Dot(lanes=self.float_lanes, depth=1, activation_dtype=dtype, intrinsic=None)


VECTOR = 4
"""Values that a GPU's thread reads and sums side by side."""


def _gpu(dot: str) -> InstructionSet:
    """Of a GPU, where each value has a thread's register; a template says what a thread does."""
    int8 = Dot(lanes=VECTOR, depth=4, activation_dtype="int8", intrinsic=dot)
    return InstructionSet(float_lanes=1, register_count=0, int8=int8, float16=True, whole_rows=True)


_GPUS = {
    "opencl": _gpu(intrinsics.OPENCL_DOT),
    "cuda": replace(_gpu(intrinsics.DP4A), tensor_cores=True),
}


def instruction_set(board: Board | BoardRecord) -> InstructionSet:
    """The vector facts of a board's CPU, derived from its LLVM target, or those of any GPU."""
    isa = _cpu(board) if board.device == "cpu" else _GPUS[board.device]
    for dot in (isa.int8, isa.bfloat16):
        if dot is not None and dot.intrinsic is not None:
            intrinsics.register(dot.intrinsic)
    if isa.tensor_cores:
        tensor_cores.register()
    return isa


def _cpu(board: Board | BoardRecord) -> InstructionSet:
    target = Target(dict(board.target))

    def has(feature: str) -> bool:
        return bool(codegen.llvm_cpu_has_features([feature], target))

    if board.architecture == "x86_64":
        isa = _x86(has)
        pairs = _PAIRS_512 if has("avx512bf16") else None
    else:
        isa = _aarch64(has("dotprod"))
        pairs = _PAIRS_128 if has("bf16") else None
    return replace(isa, bfloat16=pairs)


_PAIRS_512 = Dot(lanes=16, depth=2, activation_dtype=BITS, intrinsic=intrinsics.VDPBF16PS_512)
_PAIRS_128 = Dot(lanes=4, depth=2, activation_dtype=BITS, intrinsic=intrinsics.BFDOT)


def _x86(has: Callable[[str], bool]) -> InstructionSet:
    lanes = 16 if has("avx512f") else 8 if has("avx") else 4

    def dot(lanes: int, depth: int, intrinsic: str | None) -> Dot:
        return Dot(lanes=lanes, depth=depth, activation_dtype="uint8", intrinsic=intrinsic)

    if has("avx512vnni") and has("avx512vl"):
        int8 = dot(16, 4, intrinsics.VPDPBUSD_512)
    elif has("avxvnni"):
        int8 = dot(8, 4, intrinsics.VPDPBUSD_256)
    elif has("avx512bw"):
        int8 = dot(16, 2, intrinsics.VPMADDWD_512)
    elif has("avx2"):
        int8 = dot(8, 2, intrinsics.VPMADDWD_256)
    else:
        int8 = dot(lanes, 1, None)
    registers = 32 if has("avx512f") else 16
    return InstructionSet(float_lanes=lanes, register_count=registers, int8=int8)


def _aarch64(dotprod: bool) -> InstructionSet:
    dot = (
        Dot(lanes=4, depth=4, activation_dtype="int8", intrinsic=intrinsics.SDOT)
        if dotprod
        else Dot(lanes=4, depth=1, activation_dtype="uint8", intrinsic=None)
    )
    return InstructionSet(float_lanes=4, register_count=32, int8=dot)
