"""A recurrent layer's loop over time: an operator of our own, since Relax has none.

    y, c = adaspring.recurrent(projected, weight, h0, c0)      cell "lstm"
    y = adaspring.recurrent(projected, weight, h0)             "gru", "rnn_tanh", "rnn_relu"
    y = adaspring.recurrent(projected, weight, bias, h0)       "gru_reset_after"

projected (T, N, gates · H) is the input's share of the gates with every bias that is only added, a
dense layer over all steps at once; weight (gates · H, H); the states (N, H) are left out where
they are 0. y (T, N, H) is what each step gives, c (N, H) an LSTM's last cell state. A reversed loop
begins with the last step. Gates lie in torch's order: input, forget, cell, output; reset, update,
new. "gru" resets h before the product, as ONNX has it by default, "gru_reset_after" the product
with its bias (gates · H), as torch does.

Source  S. Hochreiter and J. Schmidhuber, Long Short-Term Memory, 1997; K. Cho et al., Learning
        Phrase Representations using RNN Encoder-Decoder, 2014
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import tvm_ffi
from tvm import ir, relax
from tvm.ir import Op
from tvm.ir.op import register_op_attr

NAME = "relax.adaspring.recurrent"
GATES: Mapping[str, int] = MappingProxyType(
    {"lstm": 4, "gru": 3, "gru_reset_after": 3, "rnn_tanh": 1, "rnn_relu": 1}
)
"""How many gates each cell has."""


def recurrent(
    projected: relax.Expr,
    weight: relax.Expr,
    states: Sequence[relax.Expr] = (),
    *,
    cell: str,
    is_reversed: bool = False,
    bias: relax.Expr | None = None,
) -> relax.Call:
    """Call the operator; `states` are all of the cell's, or none, which are 0."""
    args = [projected, weight, *([] if bias is None else [bias]), *states]
    attrs = ir.make_node("ir.DictAttrs", cell=cell, is_reversed=is_reversed)
    return relax.Call(Op.get(NAME), args, attrs)


def state_count(cell: str) -> int:
    """How many states a cell keeps between its steps."""
    return 2 if cell == "lstm" else 1


def split_arguments(cell: str, args: Sequence[object]) -> tuple[object | None, Sequence[object]]:
    """The bias and the states among a call's arguments behind the weight."""
    rest = list(args[2:])
    return (rest[0], rest[1:]) if cell == "gru_reset_after" else (None, rest)


def _infer_type(call: relax.Call, _builder: relax.BlockBuilder) -> ir.Type:
    """The types of the results; ValueError where the arguments do not fit one another."""
    cell, (projected, weight) = str(call.attrs["cell"]), call.args[:2]
    steps, samples, sums = _shape(projected)
    hidden = sums // GATES[cell]
    bias, states = split_arguments(cell, call.args)
    wanted: list[tuple[object, tuple[int, ...]]] = [(weight, (GATES[cell] * hidden, hidden))]
    wanted += [(state, (samples, hidden)) for state in states]
    if bias is not None:
        wanted.append((bias, (sums,)))
    if len(states) not in (0, state_count(cell)):
        raise ValueError(f"{NAME} of {cell} has {len(states)} states")
    for arg, shape in wanted:
        if _shape(arg) != shape:
            raise ValueError(f"{NAME} of {cell} reads {_shape(arg)} where {shape} belongs")
    y = relax.TensorType((steps, samples, hidden), "float32")
    if cell != "lstm":
        return y
    return relax.TupleType([y, relax.TensorType((samples, hidden), "float32")])


def _shape(value: object) -> tuple[int, ...]:
    return tuple(int(extent) for extent in value.ty.shape.values)  # type: ignore[attr-defined]


def _register() -> None:
    if NAME in Op.list_op_names():
        return
    tvm_ffi.get_global_func("ir.RegisterOp")(NAME, "a recurrent layer's loop over time")
    register_op_attr(NAME, "FInferType", _infer_type)
    register_op_attr(NAME, "FPurity", True)


_register()
