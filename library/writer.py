"""Writes a library so that a reader sees the whole of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .manifest import Agreement, BoardRecord, Cost, DecisionRecord, Dropped, Manifest, TensorSpec


@dataclass(frozen=True, kw_only=True)
class VariantParts:
    """One variant as the compiler hands it over.

    `code_path` is its shared library, anywhere on disk. `weights` are in the order in which the
    compiled `main` takes them; tensors equal in name, content, type and shape are stored once.
    """

    name: str
    recipe: str
    decisions: tuple[DecisionRecord, ...]
    code_path: Path
    weights: Mapping[str, np.ndarray]
    cost: Cost
    agreement: Agreement


@dataclass(frozen=True, kw_only=True)
class LibraryParts:
    """All that a library is made of. `runtime_path`: a libtvm_runtime to pack, for apps without."""

    name: str
    board: BoardRecord
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    plainest: str
    variants: tuple[VariantParts, ...]
    dropped: tuple[Dropped, ...]
    tvm_version: str
    created: str
    runtime_path: Path | None = None


def write_library(folder: Path, parts: LibraryParts) -> Manifest:
    """Write `parts` as the library `folder`, replacing a library that is there.

    Returns:
        The manifest as written.

    Raises:
        LibraryError: the folder is not a library and not empty, or the disk cannot hold it.
        ManifestError: the parts contradict each other (two variants of one name, …).
    """
    raise NotImplementedError
