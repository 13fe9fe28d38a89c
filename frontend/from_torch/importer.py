"""torch modules and exported programs, imported through TVM."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from tvm import IRModule, relax
from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

from ...errors import ModelError, UnsupportedOperator
from ...ir.model import Model
from .. import constants
from ..canonical import canonicalize
from .operators import OWN
from .quantized import Quantization

_aten = torch.ops.aten
# Kept whole: torch would decompose them into reshapes and broadcasts that hide the layer.
_KEPT_WHOLE = (
    _aten.linear.default,
    _aten.matmul.default,
    _aten.scaled_dot_product_attention.default,
)
_INPUT_TYPES = (torch.float32, torch.int32, torch.int64)
Convert = Callable[[fx.Node, Any], Any]
_EVAL = "export the network in eval mode (network.eval())"


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
        _check(program, name)
        program = _decompose(program)
        _check_outputs(program, name)
        return _import(program, name)


@contextmanager
def hide_torch_warnings() -> Iterator[None]:
    """Hide torch 2.13's complaint about its own use of LeafSpec."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        yield


def export(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], name: str) -> ExportedProgram:
    """Trace a module in eval mode, and give it its modes back."""
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        return torch.export.export(module, inputs)
    except Exception as error:
        raise ModelError(
            f"{name}: torch.export cannot trace this network: {_first_line(error)}"
        ) from error
    finally:
        for child, training in modes.items():
            child.training = training


def _check(program: ExportedProgram, name: str) -> None:
    if program.range_constraints:
        raise ModelError(f"{name} has free dimensions; export it without dynamic_shapes")
    for key, tensor in program.state_dict.items():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ModelError(f"{name}: {key} is {tensor.dtype}; convert the network with .float()")
    wanted = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in wanted:
            _check_input(node, name)
        if node.op == "call_function":
            _check_mode(node, name)


def _check_outputs(program: ExportedProgram, name: str) -> None:
    """Refuse side effects, which show once the program is decomposed."""
    for spec in program.graph_signature.output_specs:
        if spec.kind is not OutputKind.USER_OUTPUT:
            raise ModelError(f"{name} modifies {spec.target} as it runs; {_EVAL}")
        if not isinstance(spec.arg, TensorArgument):
            raise ModelError(f"{name} returns something that is not a tensor; return only tensors")


def _check_input(node: fx.Node, name: str) -> None:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        raise ModelError(f"{name}: input {node.name} is not a tensor; fix it before exporting")
    if value.dtype not in _INPUT_TYPES:
        raise ModelError(
            f"{name}: input {node.name} is {value.dtype}; only float32 and integers work"
        )


def _check_mode(node: fx.Node, name: str) -> None:
    if node.target in (_aten.dropout.default, _aten.dropout_.default) and node.args[2]:
        raise ModelError(f"{name}: dropout in {_layer(node)} is on; {_EVAL}")
    if node.target is _aten.batch_norm.default and node.args[5]:
        raise ModelError(f"{name}: batch norm in {_layer(node)} is in training mode; {_EVAL}")


def _layer(node: fx.Node) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return f"layer {stack[-1][0]!r}" if stack and stack[-1][0] else "the network itself"


def _decompose(program: ExportedProgram) -> ExportedProgram:
    table = torch.export.default_decompositions()
    for operator in _KEPT_WHOLE:
        table.pop(operator)
    return program.run_decompositions(table)


def _import(program: ExportedProgram, name: str) -> Model:
    signature = program.graph_signature
    weights = [
        (spec.target, _array(program.state_dict[spec.target]))
        for spec in signature.input_specs
        if spec.kind is InputKind.PARAMETER
    ]
    held = {**dict(program.named_buffers()), **program.constants}
    names = {constants.digest(_array(t)): key for key, t in held.items()}
    quantization = Quantization(program)
    module = _translate(program, name, OWN | quantization.converters)
    return canonicalize(
        module,
        weights,
        names | quantization.names,
        name=name,
        input_names=signature.user_inputs,
        output_names=signature.user_outputs,
    )


def _translate(program: ExportedProgram, name: str, own: dict[str, Convert]) -> IRModule:
    importer = ExportedProgramImporter()
    known = {
        key: (lambda node, _, convert=convert: convert(node))
        for key, convert in importer.convert_map.items()
    } | own

    def convert(node: fx.Node, importer: ExportedProgramImporter) -> relax.Expr:
        try:
            return known[node.target.__name__](node, importer)
        except Exception as error:
            raise UnsupportedOperator(_refusal(node, name, _first_line(error))) from error

    for node in program.graph.nodes:
        if node.op == "call_function" and node.target.__name__ not in known:
            raise UnsupportedOperator(_refusal(node, name, "it has no translation"))
    try:
        return importer.from_exported_program(
            program, True, True, False, dict.fromkeys(known, convert)
        )
    except UnsupportedOperator:
        importer.block_builder._end_block()  # or TVM reports on stderr that one was left open
        raise
    except Exception as error:
        raise ModelError(f"{name} cannot be imported: {_first_line(error)}") from error


def _refusal(node: fx.Node, name: str, why: str) -> str:
    return f"{name}: operator {node.target} in {_layer(node)} cannot be imported: {why}"


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy().copy()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
