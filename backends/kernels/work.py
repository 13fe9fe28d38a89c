"""How much a kernel computes, as its own module reads it off its blocks."""

from __future__ import annotations

from dataclasses import dataclass

from tvm.s_tir import SBlock


@dataclass(frozen=True, kw_only=True)
class Work:
    """A kernel's name, its layer's multiply-adds, and those that it does."""

    kernel: str
    macs_count: int
    performed_macs_count: int


def extents(block: SBlock, kind: int | None = None) -> list[int]:
    """How often each of a block's axes runs, those of one kind."""
    axes = [axis for axis in block.iter_vars if kind is None or axis.iter_type == kind]
    return [int(axis.dom.extent) for axis in axes]
