"""Two tiny libraries of one network, as of a processor and a GPU; both compute on the processor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from adaspring.library import writer
from adaspring.library.parts import LibraryParts, VariantParts

from .libraries import cost, doubled, parts

CPU, GPU = "cpu-board", "gpu-board"
FIGURES = {
    "dense": {"metric": 0.97, "latency_p90_ms": 3, "peak_memory_bytes": 9000, "energy_mj": 90},
    "rank16": {"metric": 0.95, "latency_p90_ms": 1, "peak_memory_bytes": 6000, "energy_mj": 60},
}
"""Of the second library: faster, less accurate and hungrier than the first."""


def named(base: LibraryParts, board: str) -> LibraryParts:
    """The same library for a board of this name."""
    return replace(base, board=msgspec.structs.replace(base.board, name=board))


def gpu_parts() -> LibraryParts:
    """Two of the three variants, other answers (the dense one's weights are doubled)."""
    base = named(doubled(), GPU)

    def with_figures(variant: VariantParts) -> VariantParts:
        return replace(variant, cost=cost(**FIGURES[variant.name]))

    chosen = tuple(with_figures(each) for each in base.variants if each.name in FIGURES)
    return replace(base, variants=chosen)


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Write both; give their folders."""
    paths = folder / "cpu.lib", folder / "gpu.lib"
    for path, made in zip(paths, (named(parts(), CPU), gpu_parts()), strict=True):
        writer.write_library(path, made)
    return paths
