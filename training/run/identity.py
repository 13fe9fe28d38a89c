"""Tell one training run from another, so that a checkpoint is not taken up by a different one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import tvm_ffi

from ...frontend.data import Dataset
from ...ir.model import Model
from ...passes.decision import Decision


def identity(
    settings: object,
    networks: Sequence[Model],
    decisions: Sequence[Decision],
    data: Dataset,
    validation: Dataset,
) -> str:
    """Digest all that decides how a run goes, except how many processes share it."""
    digest = hashlib.sha256(repr(settings).encode())
    for decision in decisions:
        digest.update(decision.describe().encode())
    for network in networks:
        digest.update(str(tvm_ffi.structural_hash(network.module)).encode())
        for name, array in network.weights.items():
            digest.update(name.encode())
            _add(digest, array)
    for part in (data, validation):
        targets = part.targets if isinstance(part.targets, Mapping) else {"y": part.targets}
        for array in (*part.inputs, *targets.values()):
            if array is not None:
                _add(digest, array)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, array: np.ndarray) -> None:
    digest.update(f"{array.dtype}{array.shape}".encode())
    plain = array.dtype.kind != "O"
    digest.update(np.ascontiguousarray(array).data if plain else repr(list(array)).encode())
