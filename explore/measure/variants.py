"""Run and time a board's variants where the board is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...backends.build import Built
from ...ir.model import Model
from ...library.writer import write_library
from ...targets import Board
from ..assemble import library_parts, variant_parts
from ..board.site import Site
from ..costs import make_cost
from ..progress import Progress
from ..variants import Probe, Variant
from .local import Measured, measure
from .remote import Asked, measure_remote


def measure_variants(
    site: Site,
    model: Model,
    variants: Sequence[Variant],
    built: Mapping[str, Built],
    probe: Probe,
    work: Path,
    progress: Progress,
) -> dict[str, Measured]:
    """Run and time every variant at `site`; nothing where that is nowhere."""
    stage = f"measure on {site.board.name}"
    if site.tracker is not None and site.remote is not None:
        asked = Asked(
            board=site.board,
            key=site.remote.key,
            model=model,
            built=built,
            plainest=variants[0].name,
            inputs=probe.inputs,
        )
        steps = len(variants) + 1
        measured = measure_remote(
            site.tracker, asked, work, lambda done, what: progress.step(stage, done, steps, what)
        )
        progress.step(stage, steps, steps, "done")
        return measured
    if not site.here:
        return {}
    progress.step(stage, 0, 1, "all variants in turn")
    library = _write_all(model, site.board, variants, built, work / "candidates")
    measured = measure(library, model, probe.inputs, work)
    progress.step(stage, 1, 1, "done")
    return measured


def _write_all(
    model: Model,
    board: Board,
    variants: Sequence[Variant],
    built: Mapping[str, Built],
    folder: Path,
) -> Path:
    """Write a library of all variants, so that what is timed is what ships."""
    parts = []
    for variant in variants:
        made = built[variant.name]
        cost = make_cost(variant.model, made, board)
        parts.append(variant_parts(variant, made, cost, None))
    write_library(folder, library_parts(model, board, tuple(parts), ()))
    return folder
