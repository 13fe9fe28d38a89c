"""Into how many pieces a network is cut: as many as cost it hardly any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...backends.build import build
from ...backends.conv_algorithms import alternatives, fastest
from ...files.replace import TemporaryFolder
from ...ir.model import Model
from ...library.evolve.space import BETWEEN
from ...library.parts import CompositionParts, VariantParts
from ..assemble import cell_parts, library_parts
from ..board.logs import best_schedules, known_times, open_log
from ..board.site import Site
from ..costs import make_cost
from ..progress import Progress
from ..recipes import DENSE
from .divide import divide
from .measure import run_at

MOST_UNCUT_RATIO = 1.03
"""So much longer than the whole network may its dense pieces take together."""


def divide_affordably(
    model: Model, most: int, site: Site, sample: Sequence[np.ndarray], progress: Progress
) -> tuple[Model, ...]:
    """Cut a network into at most `most` pieces, fewer where they would cost more than 3 % of time.

    Measured on a board, with the schedules that are known before anything is tuned.

    Raises:
        BoardError: the board is gone.

    """
    pieces, stage = divide(model, most), "cut the network"
    while len(pieces) > 1:
        progress.step(stage, most - len(pieces), most, f"{len(pieces)} pieces")
        ratio = uncut_ratio(model, pieces, site, sample)
        if ratio <= MOST_UNCUT_RATIO:
            break
        progress.note(f"{len(pieces)} pieces take {ratio:.3f} of the time of the whole: fewer")
        pieces = divide(model, len(pieces) - 1)
    progress.step(stage, most, most, "done")
    return pieces


def uncut_ratio(
    model: Model, pieces: Sequence[Model], site: Site, sample: Sequence[np.ndarray]
) -> float:
    """The time of pieces one after the other over that of the whole network."""
    board, log = site.board, open_log(site)
    best, known = best_schedules(site, log), known_times(site, log)
    with TemporaryFolder("cut") as name:
        folder = Path(name)
        parts = []
        for index, each in enumerate((model, *pieces)):
            ready = fastest(alternatives(each, board), known)
            built = build(ready, best, folder / f"{index}.so")
            parts.append(cell_parts(DENSE, (), built, make_cost(each, built, board)))
        whole = VariantParts(**vars(parts[0]))
        composition = CompositionParts(segments=tuple(((DENSE.name,), (p,)) for p in parts[1:]))
        library = replace(library_parts(model, board, (whole,), ()), composition=composition)
        names = {(0,) * len(pieces): BETWEEN.join([DENSE.name] * len(pieces))}
        times = run_at(site, model, library, names, sample, folder).times
        assert times is not None, "the board is no emulated one"
        return times.uncut_ratio
