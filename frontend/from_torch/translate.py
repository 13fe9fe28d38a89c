"""From a decomposed torch program to one Relax function, operator by operator.

What the program computes of its own constants (ranges, masks, positions) is computed here, by
torch. Each other result must have the type and shape that torch says it has.
"""

from __future__ import annotations

import operator as python
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from tvm import IRModule, relax

from ...errors import ModelError, UnsupportedOperator, first_line
from .operator_call import (
    NARROW_FLOATS,
    Entry,
    OperatorCall,
    bind,
    dtype_name,
    is_complex,
    own_name,
)
from .operators import COMPLEX, MADE_OF_CONSTANTS, OF_A_SHAPE, TABLE
from .program import array, layer_of

_TYPES = (
    *(torch.float32, *NARROW_FLOATS, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
_MOST_CONSTANT_BYTES = 2**30


class Translation:
    """The walk over one program; `constants` names the constants that it made, as the source does.

    `module`'s main takes the inputs, then `weights` in order. `own` gives converters of a node and
    this translation, for operators that belong to this one program.
    """

    def __init__(self, program: ExportedProgram, name: str, own: Mapping[str, Any]):
        self.builder = relax.BlockBuilder()
        self.env: dict[fx.Node, Any] = {}
        self.weights: list[tuple[str, np.ndarray]] = []
        self.constants: list[tuple[str, np.ndarray]] = []
        self._own, self._name, self._program = own, name, program
        self._known: dict[fx.Node, Any] = {}  # by torch, of constants alone
        self._source: dict[fx.Node, str] = {}  # the buffer that a constant was made of
        try:
            self.module = self._translate()
        except BaseException:
            self.builder._end_block()  # or TVM reports on stderr that one was left open
            raise

    def _translate(self) -> IRModule:
        nodes = list(self._program.graph.nodes)
        live = _live(nodes)
        params = self._params([node for node in nodes if node.op == "placeholder"])
        with self.builder.function("main", params):
            with self.builder.dataflow():
                self._widen_inputs()
                for node in nodes:
                    if node.op == "call_function" and node in live:
                        self._call(node)
                returned = [self._returned(arg) for arg in nodes[-1].args[0]]
                output = returned[0] if len(returned) == 1 else relax.Tuple(returned)
                output = self.builder.emit_output(output)
            self.builder.emit_func_output(output)
        return self.builder.get()

    def _params(self, placeholders: list[fx.Node]) -> list[relax.Var]:
        """Inputs in order, then the float32 parameters; what else is held is constant."""
        program, inputs, weights = self._program, [], []
        held = {**program.state_dict, **program.constants}
        specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        for node in placeholders:
            spec = specs[node.name]
            if spec.kind is InputKind.USER_INPUT:
                inputs.append(self._variable(node, own_name(node.meta["val"].dtype)))
            elif not isinstance(held.get(spec.target), Tensor):
                raise ModelError(f"{self._name} holds {spec.target}, which is not a tensor")
            elif spec.kind is InputKind.PARAMETER and _is_weight(held[spec.target]):
                weights.append(self._variable(node, "float32"))
                self.weights.append((spec.target, array(held[spec.target])))
            else:
                self._known[node] = held[spec.target].detach().cpu()
                self._source[node] = spec.target
        return inputs + weights

    def _variable(self, node: fx.Node, dtype: str) -> relax.Var:
        shape = tuple(node.meta["val"].shape)
        var = self.env[node] = relax.Var(node.name, relax.TensorType(shape, dtype))
        return var

    def _widen_inputs(self) -> None:
        """What comes in 16 bits is computed in float32."""
        for node, var in self.env.items():
            wanted = dtype_name(node.meta["val"].dtype)
            if str(var.ty.dtype) != wanted:
                self.env[node] = self.builder.emit(relax.op.astype(var, wanted))

    def read(self, node: fx.Node) -> Any:
        """Give a node's value as Relax expressions; constants are made when they are first read."""
        if node not in self.env:
            self.env[node] = self._constants(node)
        return self.env[node]

    def _constants(self, node: fx.Node) -> Any:
        value = self._known[node]
        if not isinstance(value, Tensor):
            return [self._constant(node, part) for part in value]
        return self._constant(node, value)

    def _constant(self, node: fx.Node, value: Tensor) -> relax.Expr:
        held = array(value)
        if node in self._source:
            self.constants.append((self._source[node], held))
        return relax.const(held, dtype_name(value.dtype))

    def _returned(self, node: fx.Node) -> relax.Expr:
        """An output in its own type; a constant is bound to a variable, as every output is."""
        value, own = self.read(node), own_name(node.meta["val"].dtype)
        if is_complex(node):
            raise ModelError(f"{self._name} returns complex numbers; return torch.view_as_real(…)")
        if str(value.ty.dtype) != own:
            return self.builder.emit(relax.op.astype(value, own))
        if isinstance(value, relax.Var):
            return value
        return self.builder.emit(relax.op.broadcast_to(value, value.ty.shape))

    def _call(self, node: fx.Node) -> None:
        try:
            self._convert(node)
        except Exception as error:
            raise UnsupportedOperator(
                f"{self._name}: operator {node.target} in {layer_of(node)} cannot be imported: "
                f"{first_line(error)}"
            ) from error

    def _convert(self, node: fx.Node) -> None:
        name = str(node.target)
        if node.target is python.getitem:
            self._item(node)
        elif name in self._own:
            self.env[node] = self._own[name](node, self)
        elif _is_empty(node):
            self._known[node] = torch.zeros(node.meta["val"].shape, dtype=node.meta["val"].dtype)
        else:
            of_pairs = is_complex(node) or any(map(is_complex, node.all_input_nodes))
            entry = _entry(node, name, COMPLEX if of_pairs else TABLE)
            known = all(arg in self._known for arg in node.all_input_nodes)
            if known or name in OF_A_SHAPE:
                self._compute(node)
            elif entry is None:
                raise ValueError("it can only be imported where it reads constants alone")
            else:
                call = OperatorCall(self.builder, node)
                _check_types(call, of_pairs)
                value = entry.convert(call, **bind(node, entry, self.read))
                self.env[node] = self._settled(call, value)

    def _item(self, node: fx.Node) -> None:
        source, index = cast(Any, node.args)
        if source in self._known:
            self._known[node] = self._known[source][index]
        elif self.env[source][index] is None:
            if node.users:
                raise ValueError(f"the result {index} of {source.target} is not computed")
        else:
            self.env[node] = self.env[source][index]

    def _compute(self, node: fx.Node) -> None:
        """Let torch compute what depends on constants alone."""
        sizes = [r.numel() * r.element_size() for r in OperatorCall(self.builder, node).results]
        if sum(sizes) > _MOST_CONSTANT_BYTES:
            raise ValueError(f"it makes a constant of {sum(sizes)} bytes")
        args, settings = fx.map_arg((node.args, node.kwargs), self._value)
        with torch.no_grad():
            self._known[node] = cast(Any, node.target)(*args, **settings)
        if str(node.target).startswith("aten.empty"):
            self._known[node] = torch.zeros_like(self._known[node])
        sources = {self._source[arg] for arg in node.all_input_nodes if arg in self._source}
        if len(sources) == 1:
            self._source[node] = sources.pop()

    def _value(self, node: fx.Node) -> Any:
        """Give a constant, or something of the shape of what is computed."""
        if node in self._known:
            return self._known[node]
        like = node.meta["val"]
        return torch.empty((), dtype=like.dtype).expand(like.shape)

    def _settled(self, call: OperatorCall, value: Any) -> Any:
        """Bind each result, and hold it against what torch says of it."""
        if isinstance(value, list | tuple):
            return [
                part if part is None else self._checked(part, result)
                for part, result in zip(value, call.results, strict=True)
            ]
        return self._checked(value, call.results[0])

    def _checked(self, value: relax.Expr, result: Tensor) -> relax.Expr:
        value = self.builder.normalize(value)
        if isinstance(value, relax.Call):
            value = self.builder.emit(value)
        found = (str(value.ty.dtype), tuple(int(extent) for extent in value.ty.shape))
        pair = (2,) if result.is_complex() else ()
        wanted = (dtype_name(result.dtype), (*result.shape, *pair))
        if found != wanted:
            raise ValueError(f"it came out as {found[0]} {found[1]}, not {wanted[0]} {wanted[1]}")
        return value


def _is_weight(value: Tensor) -> bool:
    return value.dtype in (torch.float32, *NARROW_FLOATS)


def _live(nodes: list[fx.Node]) -> set[fx.Node]:
    """Those that the outputs depend on."""
    live: set[fx.Node] = {nodes[-1]}
    for node in reversed(nodes):
        if node in live:
            live.update(node.all_input_nodes)
    return live


def _is_empty(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.numel() == 0


def _entry(node: fx.Node, name: str, table: Mapping[str, Entry]) -> Entry | None:
    if not isinstance(node.target, torch._ops.OpOverload):
        raise TypeError("it is no operator of ATen")
    if name in table:
        return table[name]
    if torch.Tag.nondeterministic_seeded in node.target.tags:
        raise ValueError("it is random; a network must give the same outputs for the same inputs")
    if name in MADE_OF_CONSTANTS:
        return None
    kind = " of complex numbers" if table is COMPLEX else ""
    raise ValueError(f"it has no translation{kind}")


def _check_types(call: OperatorCall, of_pairs: bool) -> None:
    known = (*_TYPES, torch.complex64) if of_pairs else _TYPES
    for result in call.results:
        if isinstance(result, Tensor) and result.dtype not in known:
            raise ValueError(
                f"it computes in {own_name(result.dtype)}; only float32, integers and booleans "
                "can be imported (convert with .float())"
            )
