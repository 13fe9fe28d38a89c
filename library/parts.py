"""A library as the compiler hands it over to be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .manifest import (
    Agreement,
    BoardRecord,
    Cost,
    DecisionRecord,
    Dropped,
    FunctionRecord,
    Signature,
    StateRecord,
    TensorSpec,
)
from .pieces.composition import Combination, LatencyPrediction, Levels, MetricPrediction


@dataclass(frozen=True, kw_only=True)
class ExecutableParts:
    """A variant at one shape as the compiler hands it over.

    `code_path` is its shared library, anywhere on disk, `functions` are the calls that it makes, in
    order. `weights` are in the order in which the compiled `main` takes them; tensors equal in
    content, type and shape are stored once.
    """

    code_path: Path
    functions: tuple[FunctionRecord, ...]
    weights: Mapping[str, NDArray[np.generic]]
    cost: Cost
    agreement: Agreement | None = None


@dataclass(frozen=True, kw_only=True)
class FormParts(ExecutableParts):
    """A cell compiled again, to take or give levels; None: floats."""

    takes: Levels | None = None
    gives: Levels | None = None


@dataclass(frozen=True, kw_only=True)
class CellParts(ExecutableParts):
    """A compressed network, or one cell of a segment, with its further forms."""

    name: str
    recipe: str
    decisions: tuple[DecisionRecord, ...]
    forms: tuple[FormParts, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VariantParts(CellParts):
    """One variant: at the first shape, and at `further_shapes` in the library's order."""

    further_shapes: tuple[ExecutableParts, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CompositionParts:
    """A network in pieces: for each segment its layers and its cells, and what is known of them."""

    segments: tuple[tuple[tuple[str, ...], tuple[CellParts, ...]], ...]
    metric: MetricPrediction | None = None
    latency: LatencyPrediction | None = None
    combinations: tuple[Combination, ...] = ()
    uncut_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class LibraryParts:
    """All that a library is made of; `inputs` and `outputs` are those of the first shape.

    `padding`: the value that fills up an input to the next larger shape, by the input's name.
    `runtime_paths`: a libtvm_runtime to pack, for apps without, then its licence and notice; or
    none. `states` are what a stream keeps. `network_sha256`: as in a `Manifest`.
    """

    name: str
    board: BoardRecord
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    plainest: str
    variants: tuple[VariantParts, ...]
    dropped: tuple[Dropped, ...]
    tvm_version: str
    created: str
    runtime_paths: tuple[Path, ...] = ()
    further_shapes: tuple[Signature, ...] = ()
    padding: Mapping[str, float] = field(default_factory=dict)
    states: tuple[StateRecord, ...] = ()
    composition: CompositionParts | None = None
    network_sha256: str | None = None
