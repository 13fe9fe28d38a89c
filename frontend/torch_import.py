"""torch modules and exported programs, imported through TVM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from tvm.relax.frontend.torch import from_exported_program

from ..errors import ModelError
from . import constants
from .canonical import canonicalize
from .model import Model

_aten = torch.ops.aten
# Kept whole: torch would decompose them into reshapes and broadcasts that hide the layer.
_KEPT_WHOLE = (
    _aten.linear.default,
    _aten.matmul.default,
    _aten.scaled_dot_product_attention.default,
)


def from_torch(
    network: torch.nn.Module | ExportedProgram,
    example_inputs: Sequence[torch.Tensor] | None = None,
    *,
    name: str,
) -> Model:
    """Import a torch network; a module needs example inputs, which fix the shapes."""
    if isinstance(network, ExportedProgram):
        program = network
    elif example_inputs is None:
        raise ModelError(f"{name}: a torch module needs example inputs, which fix its input shapes")
    else:
        program = _export(network, tuple(example_inputs))
    return _imported(program, name)


def _export(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> ExportedProgram:
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        return torch.export.export(module, inputs)
    finally:
        for child, training in modes.items():
            child.training = training


def _imported(program: ExportedProgram, name: str) -> Model:
    table = torch.export.default_decompositions()
    for operator in _KEPT_WHOLE:
        table.pop(operator)
    program = program.run_decompositions(table)
    module = from_exported_program(
        program,
        keep_params_as_input=True,
        unwrap_unit_return_tuple=True,
        run_ep_decomposition=False,
    )
    signature = program.graph_signature
    weights = [
        (spec.target, _array(program.state_dict[spec.target]))
        for spec in signature.input_specs
        if spec.kind is InputKind.PARAMETER
    ]
    held = {**dict(program.named_buffers()), **program.constants}
    names = {constants.digest(_array(t)): key for key, t in held.items()}
    return canonicalize(
        module,
        weights,
        names,
        name=name,
        input_names=signature.user_inputs,
        output_names=signature.user_outputs,
    )


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy().copy()
