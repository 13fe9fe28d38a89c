"""What a board's instruction set wants of a kernel: vector widths, registers, int8 dot products."""

from __future__ import annotations

from dataclasses import dataclass

from tvm.target import Target, codegen

from ..library.manifest import BoardRecord
from ..targets import Board
from .kernels import intrinsics


@dataclass(frozen=True, kw_only=True)
class Dot:
    """How this instruction set multiplies narrow numbers into 32-bit sums.

    `depth` products are summed in each of `lanes` 32-bit lanes by one `intrinsic`; without one,
    the multiply-add is left to LLVM and `depth` is 1. Weights are int8; activations are
    `activation_dtype`. Sums cannot overflow before 65,000 products (255 × 127 each).
    """

    lanes: int
    depth: int
    activation_dtype: str
    intrinsic: str | None


@dataclass(frozen=True, kw_only=True)
class InstructionSet:
    """Vector facts of a CPU. `whole_rows` (GPUs) packs all output channels into one block."""

    float_lanes: int
    register_count: int
    int8: Dot
    whole_rows: bool = False


_GPU = InstructionSet(
    float_lanes=1,
    register_count=0,
    int8=Dot(lanes=1, depth=1, activation_dtype="uint8", intrinsic=None),
    whole_rows=True,
)


def instruction_set(board: Board | BoardRecord) -> InstructionSet:
    """The vector facts of a board's CPU, derived from its LLVM target, or those of any GPU."""
    if board.device != "cpu":
        return _GPU
    target = Target(dict(board.target))

    def has(feature: str) -> bool:
        return bool(codegen.llvm_cpu_has_features([feature], target))

    if board.architecture == "x86_64":
        isa = _x86(
            has("avx512f"), has("avx512vnni") and has("avx512vl"), has("avxvnni"), has("avx")
        )
    else:
        isa = _aarch64(has("dotprod"))
    if isa.int8.intrinsic is not None:
        intrinsics.register(isa.int8.intrinsic)
    return isa


def _x86(avx512: bool, vnni512: bool, vnni256: bool, avx: bool) -> InstructionSet:
    lanes = 16 if avx512 else 8 if avx else 4
    plain = Dot(lanes=lanes, depth=1, activation_dtype="uint8", intrinsic=None)
    if vnni512:
        dot = Dot(lanes=16, depth=4, activation_dtype="uint8", intrinsic=intrinsics.VPDPBUSD_512)
    elif vnni256:
        dot = Dot(lanes=8, depth=4, activation_dtype="uint8", intrinsic=intrinsics.VPDPBUSD_256)
    else:
        dot = plain
    return InstructionSet(float_lanes=lanes, register_count=32 if avx512 else 16, int8=dot)


def _aarch64(dotprod: bool) -> InstructionSet:
    dot = (
        Dot(lanes=4, depth=4, activation_dtype="int8", intrinsic=intrinsics.SDOT)
        if dotprod
        else Dot(lanes=4, depth=1, activation_dtype="uint8", intrinsic=None)
    )
    return InstructionSet(float_lanes=4, register_count=32, int8=dot)
