"""torch modules and exported programs, imported operator by operator."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.export import ExportedProgram

from ...errors import ModelError
from ...ir.model import Model
from .. import constants
from ..canonical import canonicalize, note_of
from .program import array, check, check_outputs, decompose, export, narrow_type
from .quantized import Quantization
from .translate import Translation


def from_torch(
    network: torch.nn.Module | ExportedProgram,
    example_inputs: Sequence[torch.Tensor] | None = None,
    *,
    name: str,
) -> Model:
    """Import a torch network; a module needs example inputs, which fix the shapes."""
    with hide_torch_warnings():
        if isinstance(network, ExportedProgram):
            program = network
        elif example_inputs is None:
            raise ModelError(f"{name}: a torch module needs example inputs, which fix its shapes")
        else:
            program = export(network, tuple(example_inputs), name)
        check(program, name)
        program = decompose(program, name)
        check_outputs(program, name)
        return _import(program, name)


@contextmanager
def hide_torch_warnings() -> Iterator[None]:
    """Hide torch 2.13's complaints about its own use of LeafSpec, and its own recurrent layers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        warnings.filterwarnings("ignore", r"The tensor attributes? .*_flat_weights", UserWarning)
        yield


def _import(program: ExportedProgram, name: str) -> Model:
    quantization = Quantization(program)
    translation = Translation(program, name, quantization.converters)
    held = {**dict(program.named_buffers()), **program.constants}
    tensors = {key: array(t) for key, t in held.items() if isinstance(t, torch.Tensor)}
    names = {constants.digest(value): key for key, value in translation.constants}
    names |= {constants.digest(value): key for key, value in tensors.items()}
    signature, narrow = program.graph_signature, narrow_type(program)
    return canonicalize(
        translation.module,
        translation.weights,
        names | quantization.names,
        name=name,
        input_names=signature.user_inputs,
        output_names=_distinct(signature.user_outputs),
        notes=() if narrow is None else (note_of(narrow),),
    )


def _distinct(names: Sequence[str]) -> list[str]:
    """Name an output that is returned twice differently the second time."""
    seen: list[str] = []
    for name in names:
        count, free = 1, name
        while free in seen:
            free, count = f"{name}_{count}", count + 1
        seen.append(free)
    return seen
