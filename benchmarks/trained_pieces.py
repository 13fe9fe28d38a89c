"""What training cells together buys: combinations that hold, and their mean, before and after.

The demo's network on disturbed digits, cut into pieces. Of every combination of cells, or of many
drawn by the seed, the share of right answers on the test part, which nothing was decided by: cells
as refitted on calibration samples, and trained as `compile --segments N --retrain` does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import report
import torch
from rich.console import Console
from rich.table import Table

from adaspring.cli.demo.data import DISTURBANCE, digits, hard_digits
from adaspring.cli.demo.network import example_input
from adaspring.cli.demo.train import train
from adaspring.cli.shared.bars import Bars
from adaspring.explore.cells.answers import Answers
from adaspring.explore.cells.cells import Pieces, compress_pieces, compressors_of
from adaspring.explore.cells.divide import divide
from adaspring.explore.plan import plan
from adaspring.explore.progress import Progress
from adaspring.explore.recipes import find_recipes
from adaspring.explore.request import Bounds, Request
from adaspring.explore.retrain.cells import retrain_cells
from adaspring.explore.variants import make_probe
from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.model import Model
from adaspring.targets import host
from adaspring.training.combinations import draw

RECIPES = (
    "pruned-quarter", "pruned-half", "factorized", "int8", "pruned-half-int8", "pruned-most-int8",
)  # fmt: skip
MAX_DROP = 0.01
COPIES = 4
CUTS = (2, 3)
DRAWN = 400
RETRAIN_S = 200.0
HEADINGS = (
    "pieces", "seed", "combinations", "dense", "hold a point", "mean", "worst", "minutes", "kept",
)  # fmt: skip


def main() -> None:
    """Train, cut, train the cells, count, print, write."""
    parser = report.arguments(__doc__, "one seed")
    asked = parser.parse_args()
    seeds = (0,) if asked.quick else (0, 1, 2)
    with Bars() as bars:
        results = [measure(seed, most, bars) for seed in seeds for most in CUTS]
    Console(width=140).print(table(results))
    settings = {
        "recipes": RECIPES,
        "max_drop": MAX_DROP,
        "copies": COPIES,
        "retrain_s": RETRAIN_S,
        "seeds": seeds,
    }
    report.write(
        asked.json, "trained_pieces", ("adaspring", "apache-tvm", "torch"), settings, results, {}
    )


def measure(seed: int, most: int, progress: Progress) -> dict[str, Any]:
    """Everything of one network in so many pieces."""
    made, training, held = network(seed), disturbed(seed), hard_digits(seed)[1]
    planned = plan(
        Request(
            model=made,
            data=Dataset(inputs=(held[0],), targets=held[1]),
            training=training,
            recipes=("dense",),
            segments=most,
            bounds=Bounds(max_drop=MAX_DROP),
            retrain_time_s=RETRAIN_S,
            seed=seed,
        ),
        progress,
    )
    assert planned.calibration is not None, "data are given"
    assert planned.splits is not None, "data are given"
    dense = divide(made, most)
    compressors = compressors_of(dense, planned.calibration)
    before = compress_pieces(dense, find_recipes(RECIPES), compressors, progress)
    probe = make_probe(made, planned.splits, planned.metric).first(1000)
    start = time.monotonic()
    after = retrain_cells(before, compressors, planned, probe, progress)
    spent = time.monotonic() - start
    said = [cell.training for cell in after.every if cell.training is not None]
    test = planned.splits.test
    return {
        "pieces": len(dense),
        "seed": seed,
        "cells": [len(cells) for cells in after.cells],
        "test_count": len(test),
        "minutes": spent / 60,
        "kept": said[0].action == "changed",
        "said": said[0].detail,
        "before": counted(before, test),
        "after": counted(after, test),
    }


@cache
def network(seed: int) -> Model:
    """The demo's network, trained as the demo does."""
    trained = train(*digits(seed)[0], host().core_count, lambda done, total: None, seed)
    return from_torch(trained, (example_input(),), name="digits")


def disturbed(seed: int) -> Dataset:
    """The training images, each several times as disturbed as those held out."""
    (x, y), _ = digits(seed)
    random = torch.Generator().manual_seed(1000 + seed)
    copies = [DISTURBANCE(torch.from_numpy(x), random).numpy() for _ in range(COPIES)]
    return Dataset(inputs=(np.concatenate(copies),), targets=np.tile(y, COPIES))


def counted(pieces: Pieces, test: Dataset) -> dict[str, Any]:
    """The share of right answers of combinations, all of them or as many as are drawn."""
    dense = (0,) * len(pieces.counts)
    answers = Answers(pieces, test.inputs)
    assert test.labels is not None, "digits are labelled"

    def right(cells: Sequence[int]) -> float:
        return float((answers(tuple(cells))[0].argmax(1) == test.labels).mean())

    chosen = sorted(draw(pieces.counts, DRAWN, np.random.default_rng(0), {dense}))
    base, values = right(dense), np.array([right(cells) for cells in chosen])
    return {
        "combinations": len(chosen),
        "dense": base,
        "held": int((base - values <= MAX_DROP + 1e-9).sum()),
        "mean": float(values.mean()),
        "worst": float(values.min()),
    }


def table(results: Sequence[dict[str, Any]]) -> Table:
    """A row for each network and cut."""
    made = Table(title="cells trained together, on test samples: refitted → trained")
    for heading in HEADINGS:
        made.add_column(heading, justify="right")
    for found in results:
        both = found["before"], found["after"]
        made.add_row(
            str(found["pieces"]),
            str(found["seed"]),
            str(both[0]["combinations"]),
            f"{100 * both[0]['dense']:.1f} %",
            " → ".join(str(each["held"]) for each in both),
            *(
                " → ".join(f"{100 * each[name]:.1f}" for each in both) + " %"
                for name in ("mean", "worst")
            ),
            f"{found['minutes']:.1f}",
            "trained" if found["kept"] else "refitted",
        )
    return made


if __name__ == "__main__":
    main()
