"""A torch program, run by torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    OutputKind,
    OutputSpec,
    TensorArgument,
)

from ...errors import first_line
from ...ir.model import Model
from ..source import SourceFailure
from .importer import from_torch
from .program import layer_of, narrow_type


class TorchSource:
    """An exported program. Nodes that give no tensor cannot be ended at, so they are left out."""

    def __init__(self, program: ExportedProgram, name: str):
        self._program, self._name = program, name
        self._nodes = [node for node in program.graph.nodes if _is_operator(node)]

    @property
    def operators(self) -> Sequence[str]:
        """Operator and layer of each node."""
        return [f"{node.target} in {layer_of(node)}" for node in self._nodes]

    @property
    def narrow(self) -> str | None:
        """The narrowest type of float of 16 bits that the program computes in."""
        return narrow_type(self._program)

    def run(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Compute the outputs, without gradients."""
        signature = self._program.graph_signature
        given = dict(zip(signature.user_inputs, inputs, strict=True))
        held = {**self._program.state_dict, **self._program.constants}
        args = [
            torch.from_numpy(np.array(given[spec.arg.name]))
            if spec.arg.name in given
            else held[spec.target]
            for spec in signature.input_specs
        ]
        try:
            with torch.no_grad():
                results = fx.Interpreter(self._program.graph_module).run(
                    *args, enable_io_processing=False
                )
        except Exception as error:
            raise SourceFailure(first_line(error)) from error
        return tuple(value.detach().cpu().numpy() for value in results)

    def until(self, index: int) -> TorchSource:
        """Return the value of one node alone."""
        module = copy.deepcopy(self._program.graph_module)
        last = next(node for node in module.graph.nodes if node.name == self._nodes[index].name)
        output = next(node for node in module.graph.nodes if node.op == "output")
        output.args = ((last,),)
        held = {spec.arg.name for spec in self._program.graph_signature.input_specs}
        for node in reversed(list(module.graph.nodes)):
            if not node.users and node.op == "call_function" and node.name not in held:
                module.graph.erase_node(node)
        module.recompile()
        given = self._program.graph_signature
        outputs = [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(name=last.name), None)]
        signature = ExportGraphSignature(given.input_specs, outputs)
        program = ExportedProgram(
            root=module,
            graph=module.graph,
            graph_signature=signature,
            state_dict=self._program.state_dict,
            range_constraints={},
            module_call_graph=self._program.module_call_graph,
            constants=self._program.constants,
            verifiers=[self._program.verifier],
        )
        return TorchSource(program, self._name)

    def import_(self) -> Model:
        """Import it afresh."""
        return from_torch(self._program, name=self._name)


def _is_operator(node: fx.Node) -> bool:
    return node.op == "call_function" and isinstance(node.meta.get("val"), torch.Tensor)
