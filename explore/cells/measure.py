"""Run and time cells and combinations where their board is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...ir.model import Model
from ...library.evolve.space import Cells
from ...library.parts import LibraryParts
from ...library.writer import write_library
from ..board.site import Site
from .local import Ran, run
from .remote import Asked, run_remote

Tell = Callable[[int, int, str], None]


def run_at(
    site: Site,
    model: Model,
    parts: LibraryParts,
    names: Mapping[Cells, str],
    inputs: Sequence[np.ndarray],
    work: Path,
    tell: Tell = lambda done, total, what: None,
) -> Ran:
    """Run combinations of the cells in `parts` on samples, and time them and all cells.

    `names` has the dense combination first. A board over RPC runs as many of the samples as take
    some seconds. `tell` hears how many steps of how many are done, and what comes now.

    Raises:
        BoardError, BuildError: the board is gone, or something does not run.

    """
    library = work / "pieces.lib"
    manifest = write_library(library, parts)
    if site.here:
        tell(0, 1, "cells and combinations in turn")
        return run(library, model, names, inputs, work)
    assert manifest.composition is not None, "there are cells to run"
    asked = Asked(
        model=model,
        composition=manifest.composition,
        parts=parts,
        combinations=tuple(names),
        inputs=inputs,
    )
    return run_remote(site, asked, work, tell)
