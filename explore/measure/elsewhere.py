"""What a board that is not at hand would compute: its lowering, run on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...backends.build import build_unscheduled
from ...ir.model import Model
from ...library.writer import write_library
from ...targets import null
from ..accuracy.rounding import Apart, apart
from ..assemble import library_parts, variant_parts
from ..board.code_jobs import CodeJob
from ..costs import make_cost
from ..progress import Progress
from ..variants import Probe, Variant
from .local import outputs_of


def agreement_elsewhere(
    model: Model,
    variants: Sequence[Variant],
    jobs: Sequence[CodeJob],
    probe: Probe,
    work: Path,
    progress: Progress,
) -> dict[str, Apart]:
    """Build each variant's lowering for a generic processor, and compare one call's outputs.

    Layouts, packed weights, fused functions and algorithms are the board's own; its schedules and
    its compiler's backend are not run.
    """
    board, found = null(), {}
    stage = f"check the lowering for {jobs[0].scheduled.board.name} here"
    inputs = [value[: model.inputs[0].shape[0]] for value in probe.inputs]
    for done, (variant, job) in enumerate(zip(variants, jobs, strict=True)):
        progress.step(stage, done, len(jobs), job.name)
        folder = work / "elsewhere"
        folder.mkdir(exist_ok=True)
        built = build_unscheduled(job.prepared, board, folder / f"{job.name}.so")
        parts = variant_parts(variant, built, make_cost(variant.model, built, board), None)
        library = folder / f"{job.name}-library"
        write_library(library, library_parts(model, board, (parts,), ()))
        (outputs,) = outputs_of(library, model, inputs, folder).values()
        found[job.name] = apart(model, variant, probe, outputs)
    progress.step(stage, len(jobs), len(jobs), "done")
    return found
