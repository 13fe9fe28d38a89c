"""A torch module or program, checked and decomposed before it is translated."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import fx
from torch._decomp import get_decompositions
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind, TensorArgument

from ...errors import ModelError, UnsupportedOperator, first_line
from ..shapes import Shapes
from .free_dimensions import check_inputs, describe_free, placeholders
from .operator_call import NARROW_FLOATS, own_name

_aten = torch.ops.aten
# Kept whole: torch would decompose them into reshapes and broadcasts that hide the layer.
_KEPT_WHOLE = (
    _aten.linear.default,
    _aten.matmul.default,
    _aten.scaled_dot_product_attention.default,
)
# So would it unroll these, unless a projection follows each step.
_LOOPS = tuple(getattr(_aten, name).input for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"))
# Decomposed though they belong to the core of ATen: by torch's own definitions.
_DECOMPOSED = (_aten.grid_sampler_2d.default,)
_INPUT_TYPES = (
    *(torch.float16, torch.float32, torch.float64, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
_EVAL = "export the network in eval mode (network.eval())"
DATA_DEPENDENT = (
    "has shapes that depend on its data (an index by a boolean mask, nonzero, item, …); "
    "use torch.where, or indices that are known"
)
UNBACKED = re.compile(r"\bu\d+\b")


def export(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], name: str) -> ExportedProgram:
    """Export a module in eval mode, and leave it in the mode that it was in."""
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        return torch.export.export(module, inputs)
    except Exception as error:
        raise ModelError(
            f"{name}: torch.export cannot trace this network: {first_line(error)}"
        ) from error
    finally:
        for child, training in modes.items():
            child.training = training


def with_shapes(
    program: ExportedProgram, inputs: tuple[torch.Tensor, ...], shapes: Shapes, name: str
) -> tuple[torch.Tensor, ...]:
    """Give example inputs of other shapes, zeros; `program` is the network exported with `inputs`.

    Raises:
        ModelError: no such input, or one with another number of axes.

    """
    names = program.graph_signature.user_inputs
    unknown = next((key for key in shapes if key not in names), None)
    if unknown is not None or len(names) != len(inputs):
        raise ModelError(f"{name} has no input {unknown!r}; it has {', '.join(map(str, names))}")
    for key, example in zip(names, inputs, strict=True):
        if key in shapes and len(shapes[key]) != example.dim():
            given = tuple(example.shape)
            raise ModelError(f"{name}: input {key} is {given}; {shapes[key]} does not fit it")
    return tuple(
        torch.zeros(shapes[key], dtype=example.dtype) if key in shapes else example
        for key, example in zip(names, inputs, strict=True)
    )


def check(program: ExportedProgram, name: str) -> None:
    """Refuse what cannot be imported, as the source wrote it."""
    if program.range_constraints:
        # torch calls u0, u1, … what data decides
        if UNBACKED.search(" ".join(map(str, program.range_constraints))):
            raise ModelError(f"{name} {DATA_DEPENDENT}")
        raise ModelError(f"{name} {describe_free(program)}, or export it without dynamic_shapes")
    for key, tensor in program.state_dict.items():
        if tensor.is_floating_point() and tensor.dtype not in (torch.float32, *NARROW_FLOATS):
            raise ModelError(f"{name}: {key} is {tensor.dtype}; convert the network with .float()")
    check_inputs(program, name)
    inputs = placeholders(program)
    if not inputs:
        raise ModelError(f"{name} has no inputs, so its outputs never change; export one that has")
    for node in inputs:
        _check_input(node, name)
    for node in program.graph.nodes:
        if node.op == "call_function":
            _check_mode(node, name)


def _check_input(node: fx.Node, name: str) -> None:
    value = node.meta["val"]
    if value.dtype not in _INPUT_TYPES:
        raise ModelError(
            f"{name}: input {node.name} is {value.dtype}; inputs can be float16, float32, float64, "
            "bool and integers; convert it inside the network"
        )
    if value.numel() == 0:
        raise ModelError(f"{name}: input {node.name} is empty, {tuple(value.shape)}")


def _check_mode(node: fx.Node, name: str) -> None:
    if node.target in (_aten.dropout.default, _aten.dropout_.default) and node.args[2]:
        raise ModelError(f"{name}: dropout in {layer_of(node)} is on; {_EVAL}")
    statistics = node.args[3] if len(node.args) > 5 else None
    if node.target is _aten.batch_norm.default and node.args[5] and statistics is not None:
        raise ModelError(f"{name}: batch norm in {layer_of(node)} is in training mode; {_EVAL}")


def check_outputs(program: ExportedProgram, name: str) -> None:
    """Refuse side effects, which show once the program is decomposed."""
    changed = {
        OutputKind.BUFFER_MUTATION: "its buffer",
        OutputKind.PARAMETER_MUTATION: "its parameter",
        OutputKind.USER_INPUT_MUTATION: "its input",
    }
    for spec in program.graph_signature.output_specs:
        if spec.kind in changed:
            raise ModelError(
                f"{name} modifies {changed[spec.kind]} {spec.target} as it runs; return the new "
                "value as an output, or change a copy (clone)"
            )
        if spec.kind is not OutputKind.USER_OUTPUT:
            raise UnsupportedOperator(f"{name}: {_effect(program)} cannot be imported")
        if not isinstance(spec.arg, TensorArgument):
            raise ModelError(f"{name} returns something that is not a tensor; return only tensors")
    if not program.graph_signature.output_specs:
        raise ModelError(f"{name} has no outputs; return a tensor")


def _effect(program: ExportedProgram) -> str:
    """Name the operator whose effect torch hands on as a token."""
    for node in program.graph.nodes:
        if node.target is torch.ops.higher_order.with_effects:
            return f"operator {node.args[1]} in {layer_of(node)}, which has side effects,"
    return "an operator with side effects"


def layer_of(node: fx.Node) -> str:
    """Name the innermost module that a node belongs to."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return f"layer {stack[-1][0]!r}" if stack and stack[-1][0] else "the network itself"


def decompose(program: ExportedProgram, name: str) -> ExportedProgram:
    """Break a program down to the operators that the table knows."""
    table = torch.export.default_decompositions()
    for operator in (*_KEPT_WHOLE, *_whole_loops(program)):
        table.pop(operator)
    table.update(get_decompositions(_DECOMPOSED))
    try:
        return program.run_decompositions(table)
    except Exception as error:
        raise ModelError(
            f"{name}: torch cannot decompose this network: {first_line(error)}"
        ) from error


def _whole_loops(program: ExportedProgram) -> set[Any]:
    """Recurrent layers that can be imported as loops: no layer of their kind is projected."""
    loops = [node for node in program.graph.nodes if node.target in _LOOPS]
    projected = {
        node.target for node in loops if len(node.args[2]) != _weight_count(*node.args[3:8])
    }
    return {node.target for node in loops} - projected


def _weight_count(
    has_biases: bool, layers: int, dropout: float, train: bool, bidirectional: bool
) -> int:
    """How many weights a stack of recurrent layers has where nothing is projected."""
    return (4 if has_biases else 2) * layers * (1 + bidirectional)


def array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Copy a tensor to NumPy; floats of 16 bits become float32, complex numbers pairs."""
    plain = tensor.detach().cpu().contiguous()
    plain = torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain
    return (plain.float() if plain.dtype in NARROW_FLOATS else plain).numpy().copy()


def narrow_type(program: ExportedProgram) -> str | None:
    """Name the narrowest type of float of 16 bits that a program computes in, if it does."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    values = [node.meta.get("val") for node in nodes]
    found = {value.dtype for value in values if isinstance(value, torch.Tensor)}
    return next((own_name(dtype) for dtype in reversed(NARROW_FLOATS) if dtype in found), None)
