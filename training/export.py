"""Write a network as a .pt2 file, so that `adaspring compile` and torch read it again.

Weights keep their names, and so do inputs where these are Python names. What
`frontend/from_torch/pt2.py` reads from the file computes what the model did.
"""

from __future__ import annotations

import inspect
import io
import keyword
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import TrainingError
from ..frontend.from_torch.importer import hide_torch_warnings
from ..ir.model import Model
from .lift import TorchModel


def pt2_bytes(model: Model) -> bytes:
    """Export a float network by torch.export.

    Raises:
        TrainingError: the network holds integer weights; the frontend reads float ones alone.

    """
    integer = [name for name, value in model.weights.items() if value.dtype.kind != "f"]
    if integer:
        raise TrainingError(
            f"{model.name}: {integer[0]} is {model.weights[integer[0]].dtype}; a .pt2 holds the "
            "float network, which compile quantizes again"
        )
    lifted = _Named(model)
    examples = tuple(
        torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in model.inputs
    )
    with torch.no_grad(), hide_torch_warnings():
        lifted(*examples)  # brings the constants over before the export traces
        program = torch.export.export(lifted, examples)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


class _Named(TorchModel):
    """A network whose forward takes the inputs by name: torch.export reads them off it."""

    def __init__(self, model: Model):
        super().__init__(model)
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = _identifiers([spec.name for spec in model.inputs])

        def forward(*inputs: Tensor) -> tuple[Tensor, ...]:
            return TorchModel.forward(self, *inputs)

        signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
        forward.__signature__ = signature  # type: ignore[attr-defined]
        self.forward = forward  # type: ignore[method-assign]


def _identifiers(names: Sequence[str]) -> list[str]:
    """Make a Python name of each, all different."""
    found: list[str] = []
    for name in names:
        made = re.sub(r"\W|^(?=\d)", "_", name) or "_"
        while keyword.iskeyword(made) or made in found:
            made += "_"
        found.append(made)
    return found
