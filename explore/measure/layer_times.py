"""Milliseconds of single layers on this machine, so that none is split for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import tvm_ffi

from ...backends.build import build
from ...backends.conv_algorithms import Known, alternatives, fastest
from ...files.replace import TemporaryFolder
from ...ir.model import Model
from ...library.writer import write_library
from ..assemble import library_parts, variant_parts
from ..board.logs import Best, best_schedules, known_times, open_log
from ..board.site import Site
from ..costs import make_cost
from ..recipes import Recipe
from ..variants import Variant
from .local import times_ms

SECONDS = 0.5


class LayerTimes:
    """Builds small networks with the fastest schedules known, and times them as an app would.

    What was timed before is not timed again: layers of one shape take the same time.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._board = site, site.board
        self._done: dict[tuple[int, ...], tuple[float, ...]] = {}

    @cached_property
    def _schedules(self) -> tuple[Best, Known]:
        """The log is read when a layer is first timed: most recipes split none."""
        log = open_log(self._site)
        return best_schedules(self._site, log), known_times(self._site, log)

    def __call__(self, models: Sequence[Model]) -> tuple[float, ...]:
        """Median milliseconds of one call of each network, timed in turn."""
        key = tuple(tvm_ffi.structural_hash(model.module) for model in models)
        if key not in self._done:
            self._done[key] = self._timed(models)
        return self._done[key]

    def _timed(self, models: Sequence[Model]) -> tuple[float, ...]:
        with TemporaryFolder("layer") as folder:
            work, parts = Path(folder), []
            best, known = self._schedules
            for index, model in enumerate(models):
                ready = fastest(alternatives(model, self._board), known)
                built = build(ready, best, work / f"{index}.so")
                one = Variant(
                    recipe=Recipe(name=f"form{index}"),
                    model=model,
                    steps=(),
                    outputs=(),
                    validation_metric=None,
                )
                cost = make_cost(model, built, self._board)
                parts.append(variant_parts(one, built, cost, None))
            library = work / "layer.lib"
            write_library(library, library_parts(models[0], self._board, tuple(parts), ()))
            found = times_ms(library, models[0], _inputs(models[0]), work, SECONDS)
        return tuple(float(np.median(found[f"form{index}"])) for index in range(len(models)))


def _inputs(model: Model) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    return tuple(random.normal(size=s.shape).astype(s.dtype) for s in model.inputs)


def with_layer_times(recipes: Sequence[Recipe], sites: Sequence[Site]) -> tuple[Recipe, ...]:
    """The recipes, their layers split only where that is faster, if the one board is this machine.

    What is compressed for several boards is split by its MACs alone.
    """
    if len(sites) != 1 or not sites[0].here or sites[0].board.device != "cpu":
        return tuple(recipes)
    (site,) = sites
    timer = LayerTimes(site)
    return tuple(
        replace(recipe, passes=tuple(each.with_layer_timer(timer) for each in recipe.passes))
        for recipe in recipes
    )
